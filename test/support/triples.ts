import { expect, test } from "vitest";
import { exploreAll, NAMES, type Name, pairs, ROTATES } from "./operations.ts";
import { onNode } from "./runtime.ts";

type Triple = readonly Name[];

const triples: readonly Triple[] = pairs.flatMap(([a, b]) => NAMES.slice(NAMES.indexOf(b!)).map((c) => [a!, b!, c]));

export const hasRotation = (names: Triple): boolean => names.some((name) => ROTATES.includes(name));
export const hasRevocation = (names: Triple): boolean => names.includes("revokeAll");

/**
 * Tries every three operations that are meant.
 *
 * @param faults Each with every single fault, too? There are minutes of these: once, on one runtime, is enough.
 */
export function testTriples(what: string, isMeant: (names: Triple) => boolean, faults = onNode): void {
  const how = faults ? ", with every single fault," : "";
  const title = `every order of every three operations with ${what}${how} keeps every promise`;
  test(title, { timeout: 1_200_000 }, async () => {
    const meant = triples.filter(isMeant);
    const count = await exploreAll(meant, faults);
    console.log(`${count} schedules of ${meant.length} triples with ${what}${how}`);
    expect(count).toBeGreaterThan(faults ? 100_000 : 5000);
  });
}
