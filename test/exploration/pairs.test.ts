import { expect, test, vi } from "vitest";
import { DUE_MS, exploreAll, FRESH_MS, pairs } from "../support/operations.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

for (const [session, age] of Object.entries({ "a fresh session": FRESH_MS, "one whose indexes are due": DUE_MS })) {
  test(`all invariants hold after every order of every two operations on ${session}, with every single fault`, {
    timeout: 300_000,
  }, async () => {
    const count = await exploreAll(pairs, true, age);
    console.log(`${count} schedules of ${pairs.length} pairs on ${session}, with faults`);
    expect(count).toBeGreaterThan(5000);
  });
}
