import { expect, test, vi } from "vitest";
import { DUE_MS, dueTwice, exploreAll, otherDuePairs } from "../support/operations.ts";
import { onNode } from "../support/runtime.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

// With faults this takes minutes.
const how = onNode ? ", with every single fault" : "";
test(`all invariants hold after every order of two operations on a session whose indexes are due, both by the present version${how}`, {
  timeout: 1_200_000,
}, async () => {
  const count = await exploreAll(otherDuePairs, onNode, DUE_MS);
  console.log(
    `${count} schedules of ${otherDuePairs.length} pairs on a session whose indexes are due, both by the present version${how}`,
  );
  expect(count).toBeGreaterThan(onNode ? 10_000 : 500);
});

test("all invariants hold after every order of two operations that both move a session or extend its indexes", {
  timeout: 300_000,
}, async () => {
  const count = await exploreAll(dueTwice, false, DUE_MS);
  console.log(`${count} schedules of ${dueTwice.length} pairs that both move a session or extend its indexes`);
  expect(count).toBeGreaterThan(500);
});
