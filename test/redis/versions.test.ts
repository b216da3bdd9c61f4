import { randomUUID } from "node:crypto";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";
import { versions } from "../support/versions.ts";

const { client, prefix } = await ownBackend();

versions(() => redisWithClock(client, `${prefix}${randomUUID()}:`));
