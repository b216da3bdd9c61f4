import { vi } from "vitest";
import { hasRevocation, hasRotation, testTriples } from "../support/triples.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

testTriples("without a rotation and without revokeAll", (names) => !hasRotation(names) && !hasRevocation(names), false);
