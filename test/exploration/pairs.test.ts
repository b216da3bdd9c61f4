import { expect, test, vi } from "vitest";
import { DUE_MS, duePairs, exploreAll, FRESH_MS, pairs } from "../support/operations.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

const sessions = { "a session": [pairs, FRESH_MS], "a session whose indexes are due": [duePairs, DUE_MS] } as const;

for (const [session, [meant, age]] of Object.entries(sessions)) {
  test(`all invariants hold after every order of every two operations on ${session}, with every single fault`, {
    timeout: 900_000,
  }, async () => {
    const count = await exploreAll(meant, true, age);
    console.log(`${count} schedules of ${meant.length} pairs on ${session}, with faults`);
    expect(count).toBeGreaterThan(5000);
  });
}
