import { expect, test, vi } from "vitest";
import { COVERS, DUE_MS, exploreAll, type Name } from "../support/operations.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

const BESIDE: readonly Name[] = ["get", "move", "revokeAll", "list", "listOther", "aMinutePasses", "destroy"];

test("all invariants hold after every order of three operations that move a session and extend its indexes", {
  timeout: 600_000,
}, async () => {
  const names: readonly Name[] = [...COVERS, ...BESIDE];
  const triples = COVERS.flatMap((a) => names.flatMap((b, at) => names.slice(at).map((c) => [a, b, c])));
  const count = await exploreAll(triples, false, DUE_MS);
  console.log(`${count} schedules of ${triples.length} triples of moves and extensions`);
  expect(count).toBeGreaterThan(5000);
});
