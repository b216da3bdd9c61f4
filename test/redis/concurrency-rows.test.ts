import { randomUUID } from "node:crypto";
import { concurrency } from "../support/concurrency.ts";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";

const { client, prefix } = await ownBackend();

concurrency(() => redisWithClock(client, `${prefix}${randomUUID()}:`));
