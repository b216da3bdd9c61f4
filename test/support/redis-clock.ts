import { randomUUID } from "node:crypto";
import { type RedisClient, redisBackend } from "../../src/redis/index.ts";
import { followed } from "./backends.ts";
import type { connect } from "./redis.ts";

type Client = Awaited<ReturnType<typeof connect>>;

const SHORTEN = /* lua */ `
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', key) - ARGV[2]
  if left > 0 then redis.call('PEXPIRE', key, left) elseif redis.call('PTTL', key) >= 0 then redis.call('DEL', key) end
end
`;

/**
 * A Redis backend whose server clock moves only when it is told to. The scripts of the backend run on the real server; only
 * their question for the time is replaced. The times to live of keys are real: advancing the clock shortens them all.
 *
 * @param start The first time, in Unix milliseconds.
 */
export async function redisWithClock(client: Client, prefix: string, start: number = Date.now()) {
  const clockKey = `zession-clock:${randomUUID()}`;
  let time = start;
  const setClock = async (): Promise<void> => {
    const micros = String(Math.floor((time % 1000) * 1000));
    await client.hSet(clockKey, { seconds: String(Math.floor(time / 1000)), micros });
    await client.expire(clockKey, 3600);
  };
  await setClock();
  const replaced = `redis.call('HMGET', '${clockKey}', 'seconds', 'micros')`;
  const methods: Partial<RedisClient> = {
    // The backend then sends the text.
    evalSha: () => Promise.reject(new Error("NOSCRIPT The clock of this script must be replaced")),
    eval: (text, options) => client.eval(text.replaceAll("redis.call('TIME')", replaced), options),
  };
  const clocked: RedisClient = new Proxy(client as RedisClient, {
    get(target, name) {
      const method: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name);
      return typeof method === "function" && !(name in methods) ? method.bind(target) : method;
    },
  });
  const { backend, quiet } = followed(redisBackend(clocked, { prefix }));
  return {
    backend,
    prefix,
    clock: {
      now: () => time,
      async advance(seconds: number): Promise<void> {
        // What is still under way behind an answer must not take as long as the clock advances.
        await quiet();
        const milliseconds = Math.round(seconds * 1000);
        time += milliseconds;
        await setClock();
        await client.eval(SHORTEN, { keys: [], arguments: [prefix, String(milliseconds)] });
      },
    },
  };
}
