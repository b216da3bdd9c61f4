import { randomUUID } from "node:crypto";
import { redisBackend } from "../../src/redis/index.ts";
import { policies } from "../support/policies.ts";
import { connect, ownPrefix } from "../support/redis.ts";

const client = await connect();
const prefix = await ownPrefix(client);

policies(() => ({ backend: redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }), now: Date.now }));
