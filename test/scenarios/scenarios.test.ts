import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { intercept } from "../support/backends.ts";
import { never } from "../support/gate.ts";
import { scenarios } from "../support/scenarios.ts";
import { stalls } from "../support/stalls.ts";

scenarios(() => ({ backend: memoryBackend(), now: manualClock().now }));

stalls(() => {
  let isStalled = false;
  return {
    backend: intercept(memoryBackend(), () => (isStalled ? never() : undefined)),
    now: manualClock().now,
    stall() {
      isStalled = true;
      return () => {
        isStalled = false;
      };
    },
  };
});
