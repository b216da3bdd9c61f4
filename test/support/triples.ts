import { expect, test } from "vitest";
import { COVERS, exploreAll, NAMES, type Name, pairs, ROTATES } from "./operations.ts";
import { onNode } from "./runtime.ts";

type Triple = readonly Name[];

const triples: readonly Triple[] = pairs
  .flatMap(([a, b]) => NAMES.slice(NAMES.indexOf(b!)).map((c) => [a!, b!, c] as const))
  .filter((names) => !names.some((name) => COVERS.includes(name)));

export const hasRotation = (names: Triple): boolean => names.some((name) => ROTATES.includes(name));
export const hasRevocation = (names: Triple): boolean => names.includes("revokeAll");

/**
 * Defines a test that explores all triples of operations for which `isMeant` is true.
 *
 * @param what Describes these triples in the test title.
 * @param faults Whether to inject every single fault, too. This takes minutes, so by default only on Node.
 */
export function testTriples(what: string, isMeant: (names: Triple) => boolean, faults = onNode): void {
  const how = faults ? ", with every single fault" : "";
  const title = `all invariants hold after every order of every three operations ${what}${how}`;
  test(title, { timeout: 1_200_000 }, async () => {
    const meant = triples.filter(isMeant);
    const count = await exploreAll(meant, faults);
    console.log(`${count} schedules of ${meant.length} triples ${what}${how}`);
    expect(count).toBeGreaterThan(faults ? 100_000 : 5000);
  });
}
