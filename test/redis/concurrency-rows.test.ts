import { randomUUID } from "node:crypto";
import { redisBackend } from "../../src/redis/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { concurrency } from "../support/concurrency.ts";
import { ownBackend } from "../support/redis.ts";

const { client, prefix } = await ownBackend();

concurrency(() => ({
  backend: redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }),
  clock: manualClock(new Date()),
}));
