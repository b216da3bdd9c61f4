import { randomUUID } from "node:crypto";
import { redisBackend } from "../../src/redis/index.ts";
import { races } from "../support/races.ts";
import { ownBackend } from "../support/redis.ts";

const { client, prefix } = await ownBackend();

races(() => {
  const own = `${prefix}${randomUUID()}:`;
  return {
    backend: redisBackend(client, { prefix: own }),
    now: Date.now,
    // As if Redis's expiry had passed.
    expire: (id) => client.pExpireAt(own + id, 1),
  };
});
