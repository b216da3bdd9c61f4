import { createClient, createClientPool } from "redis";
import { afterAll, describe, expect, inject, test } from "vitest";
import { type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { type RedisClient, redisBackend } from "../../src/redis/index.ts";
import { backendContract } from "../../src/testing/index.ts";
import { ownBackend } from "../support/redis.ts";
import { startServer } from "../support/redis-server.ts";
import { onOldestRedis } from "../support/runtime.ts";
import { insertRecord } from "../support/stored.ts";

const { backend, client, prefix } = await ownBackend();
const wait = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

const DESTROYED = { id: "i".repeat(22), cause: "destroyed" } as const;
const look = { fields: null, accepts: () => true };
const bound = { field: "views", by: 1, from: 0, min: 0, max: 100 };
const change = { set: { name: "barbara" }, remove: ["views"], fields: null };

/** Every operation on a session except removal. */
const uses: Record<string, (backend: SessionBackend, key: string) => Promise<unknown>> = {
  peek: (on, key) => on.read(key, access(), { fields: null }),
  "peek that reads some fields": (on, key) => on.read(key, access(), { fields: ["name"] }),
  touch: (on, key) => on.touch(key, access()),
  write: (on, key) => on.write(key, access(), change),
  "compare-and-set": (on, key) => on.write(key, access(), { ...change, expect: { name: "andrew", other: null } }),
  "write without changes": (on, key) => on.write(key, access(), { set: {}, remove: [], fields: [] }),
  increment: (on, key) => on.increment(key, access(), bound),
};

const viewsOf = (answer: unknown): number => Number((answer as Record<string, string>)["views"]);
const moving = Object.entries(uses).filter(([use]) => !use.startsWith("peek"));

function access() {
  return { verifier: null, previous: false, now: Date.now() };
}

function record(fields: Record<string, string> = {}): Record<string, string> {
  const at = new Date().toISOString();
  return { name: "andrew", views: "1", created_at: at, last_accessed_at: at, session_ttl: "1800", ...fields };
}

async function insert(fields?: Record<string, string>): Promise<string> {
  const key = crypto.randomUUID();
  await insertRecord(backend, key, record(fields), Date.now());
  return key;
}

describe("the backend contract on Redis", () => {
  backendContract(test.concurrent, () => backend, { now: Date.now, advance: (seconds) => wait(seconds * 1000) });
});

describe("the expiry of a key", () => {
  /** Allows for the duration of the step, and for the rounding of Redis. */
  async function expectLeft(key: string, milliseconds: number, since: number): Promise<void> {
    const left = await client.pTTL(prefix + key);
    expect(left).toBeLessThanOrEqual(milliseconds);
    expect(left).toBeGreaterThanOrEqual(milliseconds - (Date.now() - since) - 2);
  }

  test("a new session's key expires after the idle timeout", async () => {
    const since = Date.now();
    await expectLeft(await insert(), 1_800_000, since);
  });

  for (const [use, run] of moving) {
    test(`a ${use} restarts the key's expiry at the idle timeout`, async () => {
      const key = await insert();
      await client.pExpire(prefix + key, 500_000);
      const since = Date.now();
      await run(backend, key);
      await expectLeft(key, 1_800_000, since);
    });

    test(`a ${use} sets the key's expiry to the deadline if that is sooner than the idle timeout`, async () => {
      const since = Date.now();
      const key = await insert({ session_deadline: String(since + 90_000) });
      await expectLeft(key, 90_000, since);
      await client.pExpire(prefix + key, 500_000);
      await run(backend, key);
      await expectLeft(key, 90_000, since);
    });

    test(`a ${use} gives the key an expiry again if it was removed`, async () => {
      const key = await insert();
      await client.persist(prefix + key);
      const since = Date.now();
      await run(backend, key);
      await expectLeft(key, 1_800_000, since);
    });

    test(`a ${use} sets the key's expiry to 1800 s if it has none and session_ttl is unreadable`, async () => {
      const key = await insert({ session_ttl: "soon" });
      await client.persist(prefix + key);
      const since = Date.now();
      await run(backend, key);
      await expectLeft(key, 1_800_000, since);
      expect(await client.hGet(prefix + key, "session_ttl")).toBe("1800");
    });

    test(`a ${use} replaces an unreadable session_ttl by the key's remaining time, in whole seconds`, async () => {
      const key = await insert({ session_ttl: "1e3" });
      await client.pExpire(prefix + key, 99_500);
      const since = Date.now();
      await run(backend, key);
      expect(await client.hGet(prefix + key, "session_ttl")).toBe("100");
      await expectLeft(key, 100_000, since);
    });
  }

  test("a new idle timeout becomes the key's expiry, whether longer or shorter", async () => {
    const key = await insert();
    for (const seconds of [7200, 60, 2_147_483_647]) {
      const since = Date.now();
      await backend.write(key, access(), { set: { session_ttl: String(seconds) }, remove: [], fields: [] });
      await expectLeft(key, seconds * 1000, since);
    }
  });

  test("a peek, a rejected change and a wrong token leave the key's expiry unchanged", async () => {
    const key = await insert({ session_verifier: "v" });
    const expiry = Date.now() + 500_000;
    await client.pExpireAt(prefix + key, expiry);
    const wrong = { ...access(), verifier: "w" };
    await uses["peek"]?.(backend, key);
    await backend.touch(key, wrong);
    await backend.write(key, wrong, change);
    await backend.write(key, access(), { ...change, expect: { name: "eve" } });
    await backend.increment(key, access(), { ...bound, max: 1 });
    await backend.increment(key, access(), { ...bound, field: "name" });
    await backend.remove(key, wrong, DESTROYED, []);
    await backend.insert(key, record(), {}, Date.now());
    const left = await client.pTTL(prefix + key);
    expect(Math.abs(Date.now() + left - expiry)).toBeLessThan(10_000);
  });

  test("a caller whose clock is slow cannot extend a key beyond the session's deadline", async () => {
    const key = await insert({ session_deadline: String(Date.now() + 90_000) });
    for (const method of ["read", "touch"] as const) {
      await backend[method](key, { ...access(), now: Date.now() - 3_600_000 }, { fields: null });
      expect(await client.pTTL(prefix + key)).toBeLessThanOrEqual(90_000);
    }
  });

  test("the proof of a device is compared with the server's clock, whatever the clock of the caller", async () => {
    const proof = "p".repeat(43);
    const verifier = "v".repeat(43);
    const boundUntil = (end: number) => insert({ session_verifier: verifier, session_bound: `!${proof}.${end}` });
    const [expired, valid] = [await boundUntil(Date.now() - 1000), await boundUntil(Date.now() + 60_000)];
    const by = { verifier, previous: false, proof };
    for (const method of ["read", "touch"] as const) {
      const use = (key: string, now: number) => backend[method](key, { ...by, now }, look);
      expect(await use(expired, 0)).toBe("unproven");
      expect(await use(valid, Date.now() + 3_600_000)).toMatchObject({ session_ttl: "1800" });
    }
  });

  test("a caller whose clock is fast can use the session, whose deadline is compared with the server's clock", async () => {
    const key = await insert({ session_deadline: String(Date.now() + 90_000) });
    const fast = { ...access(), now: Date.now() + 3_600_000 };
    expect(await backend.read(key, fast, { fields: null })).toMatchObject({ name: "andrew" });
    expect(await backend.touch(key, fast)).toMatchObject({ session_ttl: "1800" });
    expect(await backend.write(key, fast, change)).toMatchObject({ before: { name: "andrew" } });
    expect(await backend.increment(key, fast, bound)).toMatchObject({ views: "1" });
  });
});

describe("keys that are not sessions", () => {
  test("a key of another Redis type is invalid for every operation and stays unchanged", async () => {
    const key = crypto.randomUUID();
    await client.set(prefix + key, "text");
    for (const [use, run] of Object.entries(uses)) expect(await run(backend, key), use).toBe("invalid");
    expect(await backend.remove(key, access(), DESTROYED, [])).toBeNull();
    expect(await backend.revoke(key, "user:42", { ...DESTROYED, cause: "revoked" }, 60_000, Date.now())).toBe("other");
    expect(await backend.insert(key, record(), {}, Date.now())).toBe("taken");
    expect(await client.get(prefix + key)).toBe("text");
    expect(await client.pTTL(prefix + key)).toBe(-1);
  });

  const strangers: Record<string, Record<string, string>> = {
    "a hash that is not a session": { name: "andrew", views: "1", last_accessed_at: "then" },
    "a session whose deadline cannot be read": record({ session_deadline: "never" }),
  };
  for (const [what, hash] of Object.entries(strangers)) {
    test(`${what} stays unchanged by every operation`, async () => {
      const key = crypto.randomUUID();
      await client.hSet(prefix + key, hash);
      for (const [use, run] of Object.entries(uses)) {
        expect(await run(backend, key), use).toBe("created_at" in hash ? "invalid" : null);
        expect(await client.hGetAll(prefix + key), use).toEqual(hash);
        expect(await client.pTTL(prefix + key), use).toBe(-1);
      }
    });
  }

  test("keys() lists only hashes with the backend's prefix", async () => {
    const key = await insert();
    await client.zAdd(`${prefix}index:user:42`, { score: 1, value: key });
    await client.set(`${prefix}text`, "text");
    await client.hSet(`other-${prefix}${key}`, "name", "andrew");
    const listed: string[] = [];
    for await (const page of backend.keys()) listed.push(...page);
    expect(listed).toContain(key);
    expect(listed).not.toContain("index:user:42");
    expect(listed).not.toContain("text");
    expect(listed.filter((one) => one.includes(prefix))).toEqual([]);
    expect(await client.zCard(`${prefix}index:user:42`)).toBe(1);
    expect(await client.get(`${prefix}text`)).toBe("text");
    await client.del(`other-${prefix}${key}`);
  });
});

test("scripts are sent again after the server has lost them", async () => {
  const server = await startServer();
  const own = createClient({ url: server.url });
  const on = redisBackend(own);
  await own.connect();
  try {
    for (let round = 0; round < 2; round++) {
      const forgotten = <R>(call: () => Promise<R>) => own.scriptFlush().then(call);
      const key = crypto.randomUUID();
      expect(await forgotten(() => on.insert(key, record(), {}, Date.now()))).toBeTypeOf("object");
      for (const [use, run] of Object.entries(uses)) expect(await forgotten(() => run(on, key)), use).not.toBeNull();
      expect(await forgotten(() => on.remove(key, access(), DESTROYED, []))).not.toBeNull();
    }
  } finally {
    await own.close();
    await server.stop();
  }
});

describe("other kinds of client", () => {
  test("every operation works on a client pool", async () => {
    const pool = createClientPool({ url: inject("redisUrl") }, { minimum: 2, maximum: 5 });
    const on = redisBackend(pool, { prefix });
    await pool.connect();
    afterAll(() => pool.close());
    const keys = Array.from({ length: 20 }, () => crypto.randomUUID());
    await Promise.all(keys.map((key) => on.insert(key, record(), {}, Date.now())));
    for (const [use, run] of Object.entries(uses)) {
      const answers = await Promise.all(keys.map((key) => run(on, key)));
      expect(answers, use).not.toContain(null);
    }
    const sums = await Promise.all(keys.map(() => on.increment(keys[0] as string, access(), bound)));
    expect(Math.max(...sums.map(viewsOf)) - Math.min(...sums.map(viewsOf))).toBe(19);
    const listed: string[] = [];
    for await (const page of on.keys()) listed.push(...page);
    expect(listed).toEqual(expect.arrayContaining(keys));
    expect(await Promise.all(keys.map((key) => on.remove(key, access(), DESTROYED, [])))).not.toContain(null);
  });

  const offline: Record<string, () => Promise<RedisClient>> = {
    "a client that was closed": async () => {
      const own = await createClient({ url: inject("redisUrl") }).connect();
      await own.close();
      return own;
    },
    "a client that was never connected": async () => createClient({ url: inject("redisUrl") }),
    "a pool that was closed": async () => {
      const own = createClientPool({ url: inject("redisUrl") });
      await own.connect();
      await own.close();
      return own;
    },
  };
  for (const [what, make] of Object.entries(offline)) {
    // The oldest node-redis says of a pool that was closed that it is open.
    test.skipIf(onOldestRedis && what.startsWith("a pool"))(
      `calls on ${what} are rejected at once and change nothing`,
      async () => {
        const on = redisBackend(await make(), { prefix });
        const key = await insert();
        const all: typeof uses = {
          ...uses,
          insert: () => on.insert(crypto.randomUUID(), record(), {}, Date.now()),
          remove: () => on.remove(key, access(), DESTROYED, []),
          keys: () => on.keys()[Symbol.asyncIterator]().next(),
        };
        const since = Date.now();
        for (const [use, run] of Object.entries(all)) {
          const failed = run(on, key);
          await expect(failed, use).rejects.toThrow(SessionBackendError);
          await expect(failed, use).rejects.toMatchObject({
            message: expect.stringContaining("client is closed: connect it before use"),
            reason: "rejected",
            outcome: "not-applied",
          });
        }
        expect(Date.now() - since).toBeLessThan(1000);
        expect(await client.hGet(prefix + key, "name")).toBe("andrew");
      },
    );
  }
});

test("calls while the client reconnects reject and are not sent later", async () => {
  const server = await startServer();
  const own = createClient({ url: server.url, socket: { reconnectStrategy: 20 } });
  const on = redisBackend(own);
  await own.connect();
  const lost = new Promise<void>((done) => own.once("reconnecting", done));
  await server.stop();
  await lost;
  const key = crypto.randomUUID();
  for (const run of [() => on.insert(key, record(), {}, Date.now()), () => on.remove(key, access(), DESTROYED, [])]) {
    await expect(run()).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
  }
  const back = new Promise<void>((done) => own.once("ready", done));
  const again = await startServer("--port", `${server.port}`);
  try {
    await back;
    expect(await on.touch(key, access())).toBeNull();
    expect(await on.insert(key, record(), {}, Date.now())).toBeTypeOf("object");
  } finally {
    await own.close();
    await again.stop();
  }
});

describe("invalid arguments of redisBackend", () => {
  const clients: Record<string, unknown> = {
    null: null,
    "an empty object": {},
    "a client of another library": { get() {}, set() {}, evalsha() {}, hgetall() {}, on() {} },
    "a client without events": { evalSha() {}, eval() {}, hGetAll() {}, hmGet() {} },
  };
  for (const [what, wrong] of Object.entries(clients)) {
    test(`redisBackend rejects a client that is ${what}`, () => {
      expect(() => redisBackend(wrong as RedisClient)).toThrow(TypeError);
      expect(() => redisBackend(wrong as RedisClient)).toThrow("client must be a node-redis client");
    });
  }

  const prefixes = [
    "",
    " ",
    "a b:",
    "a\t",
    "a\n",
    "\na",
    "s*",
    "s?",
    "[s]",
    "a\\",
    "{a}:",
    "}",
    "é:",
    "a\0",
    "'",
    "x".repeat(129),
    "x".repeat(1024),
  ];
  for (const wrong of [...prefixes, null, 1, {}, ["session:"]]) {
    test(`redisBackend rejects the prefix ${JSON.stringify(wrong).slice(0, 20)}`, () => {
      expect(() => redisBackend(client, { prefix: wrong as string })).toThrow(TypeError);
    });
  }

  test("redisBackend accepts a prefix of letters, digits and _ - . : /", () => {
    for (const right of ["s", "session:", "app/v1.2:session-store_A:", "x".repeat(128)]) {
      expect(() => redisBackend(client, { prefix: right })).not.toThrow();
    }
  });

  test("redisBackend rejects an unknown option and names it", () => {
    expect(() => redisBackend(client, { prefx: "s:" } as never)).toThrow('no option "prefx"');
    expect(() => redisBackend(client, null as never)).toThrow(TypeError);
  });

  test("a client gets one error listener for any number of backends", () => {
    const own = createClient({ url: inject("redisUrl") });
    for (const name of ["a:", "b:", "c:"]) redisBackend(own, { prefix: name });
    expect(own.listenerCount("error")).toBe(1);
  });
});
