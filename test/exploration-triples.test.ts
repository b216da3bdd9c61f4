import { expect, test } from "vitest";
import { exploreAll, NAMES, pairs, ROTATES } from "./support/operations.ts";

const triples = pairs
  .flatMap(([a, b]) => NAMES.slice(NAMES.indexOf(b!)).map((c) => [a!, b!, c]))
  .filter((names) => names.some((name) => name === "revokeAll" || ROTATES.includes(name)));

// With faults there are three hundred thousand, which takes minutes: once, on one runtime, is enough of these.
const faults = !("Bun" in globalThis || "Deno" in globalThis);
const what = faults ? ", with every single fault," : "";

test(`every order of every three operations with a rotation or a revocation of all${what} keeps every promise`, {
  timeout: 1_200_000,
}, async () => {
  const count = await exploreAll(triples, faults);
  console.log(`${count} schedules of ${triples.length} triples${what}`);
  expect(count).toBeGreaterThan(faults ? 200_000 : 10_000);
});
