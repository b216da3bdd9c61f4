import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { reindex } from "../support/reindex.ts";

reindex(() => ({ backend: memoryBackend(), clock: manualClock() }));
