import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { concurrency } from "../support/concurrency.ts";

concurrency(() => ({ backend: memoryBackend(), clock: manualClock() }));
