import { randomUUID } from "node:crypto";
import { redisBackend } from "../../src/redis/index.ts";
import { manySessions } from "../support/many-sessions.ts";
import { policies } from "../support/policies.ts";
import { connect, ownPrefix } from "../support/redis.ts";
import { userFunctions } from "../support/user-functions.ts";

const client = await connect();
const prefix = await ownPrefix(client);

const open = () => ({ backend: redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }), now: Date.now });

policies(open);
manySessions(open);
userFunctions(open);
