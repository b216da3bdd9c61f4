import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { devices } from "../support/devices.ts";

devices(() => ({ backend: memoryBackend(), clock: manualClock() }));
