import { expect, test, vi } from "vitest";
import { exploreAll, FRESH_MS, type Name } from "../support/operations.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

const BESIDE: readonly Name[] = ["get", "move", "revokeAll", "aMinutePasses"];

test("all invariants hold after every order of three operations, one of which is by a version without the index", {
  timeout: 600_000,
}, async () => {
  const triples = BESIDE.flatMap((a, at) => BESIDE.slice(at).map((b) => ["moveByOldVersion", a, b] as const));
  const count = await exploreAll(triples, false, FRESH_MS);
  console.log(`${count} schedules of ${triples.length} triples with two versions`);
  expect(count).toBeGreaterThan(1000);
});
