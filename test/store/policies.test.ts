import { memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { authentications } from "../support/authentications.ts";
import { loweredTimeouts } from "../support/lowered-timeouts.ts";
import { manySessions } from "../support/many-sessions.ts";
import { policies } from "../support/policies.ts";
import { replacements } from "../support/replacements.ts";
import { userFunctions } from "../support/user-functions.ts";

const open = () => ({ backend: memoryBackend(), now: manualClock().now });

policies(open);
authentications(open);
loweredTimeouts(open);
replacements(open);
manySessions(open);
userFunctions(open);
