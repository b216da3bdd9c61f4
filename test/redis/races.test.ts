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
    // What Redis does when the time has come.
    expire: (id) => client.pExpireAt(own + id, 1),
  };
});
