import { randomUUID } from "node:crypto";
import { consume } from "../support/consume.ts";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";

const { client, prefix } = await ownBackend();

consume(() => redisWithClock(client, `${prefix}${randomUUID()}:`));
