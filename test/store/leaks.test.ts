import { vi } from "vitest";
import { memoryBackend } from "../../src/index.ts";
import { leaks } from "../support/leaks.ts";

vi.mock(import("node:timers"), async (original) => {
  const { countTimers } = await import("../support/counted-timers.ts");
  return countTimers(await original());
});

leaks(memoryBackend, 50);
