import { vi } from "vitest";
import { hasRotation, testTriples } from "../support/triples.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

testTriples("that include a rotation", hasRotation);
