import { expect, test, vi } from "vitest";
import { exploreAll, FRESH_MS, pairs } from "../support/operations.ts";

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
