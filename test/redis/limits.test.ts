import { limitedWays } from "../support/limited-ways.ts";
import { type Ground, limits } from "../support/limits.ts";
import { ownBackend } from "../support/redis.ts";

const { backend, client, prefix } = await ownBackend();

const ground: Ground = {
  backend,
  now: Date.now,
  expire: (id) => client.pExpire(prefix + id, -1),
  async minute(entry) {
    const key = `${prefix}index:${entry}`;
    const members = await client.zRangeWithScores(key, 0, -1);
    for (const { value, score } of members) await client.zAdd(key, { value, score: score - 61_000_000 });
  },
};

limits(() => ground);
limitedWays(() => ground);
