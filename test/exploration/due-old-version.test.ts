import { expect, test, vi } from "vitest";
import { DUE_MS, dueByOldVersion, exploreAll } from "../support/operations.ts";
import { onNode } from "../support/runtime.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

// With faults this takes minutes.
const how = onNode ? ", with every single fault" : "";
test(`all invariants hold after every order of two operations on a session whose indexes are due, one of them by a version without the index${how}`, {
  timeout: 1_200_000,
}, async () => {
  const count = await exploreAll(dueByOldVersion, onNode, DUE_MS);
  console.log(
    `${count} schedules of ${dueByOldVersion.length} pairs on a session whose indexes are due, one of them by a version without the index${how}`,
  );
  expect(count).toBeGreaterThan(onNode ? 10_000 : 500);
});
