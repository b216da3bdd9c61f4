import { randomUUID } from "node:crypto";
import { devices } from "../support/devices.ts";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";

const { client, prefix } = await ownBackend();

devices(() => redisWithClock(client, `${prefix}${randomUUID()}:`));
