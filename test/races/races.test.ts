import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { races } from "../support/races.ts";

races(() => {
  const { now, advance } = manualClock();
  return { backend: memoryBackend(), now, expire: () => advance("1800001ms") };
});
