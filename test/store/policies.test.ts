import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { policies } from "../support/policies.ts";

policies(() => ({ backend: memoryBackend(), now: manualClock().now }));
