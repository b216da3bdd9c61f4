import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { consume } from "../support/consume.ts";

consume(() => ({ backend: memoryBackend(), clock: manualClock() }));
