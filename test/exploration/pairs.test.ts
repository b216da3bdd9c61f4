import { expect, test, vi } from "vitest";
import { DUE_MS, duePairs, exploreAll, FRESH_MS, pairs } from "../support/operations.ts";
import { onNode } from "../support/runtime.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

test("all invariants hold after every order of every two operations, with every single fault", {
  timeout: 300_000,
}, async () => {
  const count = await exploreAll(pairs, true, FRESH_MS);
  console.log(`${count} schedules of ${pairs.length} pairs, with faults`);
  expect(count).toBeGreaterThan(5000);
});

// With faults this takes minutes.
const how = onNode ? ", with every single fault" : "";
test(`all invariants hold after every order of every two operations that extend indexes or depend on it${how}`, {
  timeout: 900_000,
}, async () => {
  const count = await exploreAll(duePairs, onNode, DUE_MS);
  console.log(`${count} schedules of ${duePairs.length} pairs on a session whose indexes are due${how}`);
  expect(count).toBeGreaterThan(onNode ? 100_000 : 1000);
});
