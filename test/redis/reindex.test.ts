import { randomUUID } from "node:crypto";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";
import { reindex } from "../support/reindex.ts";

const { client, prefix } = await ownBackend();

reindex(() => redisWithClock(client, `${prefix}${randomUUID()}:`));
