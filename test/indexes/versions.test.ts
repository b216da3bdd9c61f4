import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { versions } from "../support/versions.ts";

versions(() => ({ backend: memoryBackend(), clock: manualClock() }));
