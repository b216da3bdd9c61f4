import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { redisBackend } from "../../src/redis/index.ts";
import { intercept } from "../support/backends.ts";
import { allListed, idsOf, memberStore } from "../support/members.ts";
import { ownBackend } from "../support/redis.ts";
import { startServer } from "../support/redis-server.ts";

const { backend, client, prefix } = await ownBackend();
const { store } = memberStore(backend, Date.now);
const DAY_MS = 86_400_000;
/** The tolerance for two clocks on one machine and the duration of a test. */
const NEAR_MS = 5000;

const keyOf = (entry: string, below = prefix): string => `${below}index:${entry.replace(/[%{}]/g, encodeURIComponent)}`;
const membersOf = (entry: string) => client.zRange(keyOf(entry), 0, -1);

/** Lowers the scores of index members, as if they had been added earlier. */
async function age(entry: string, milliseconds: number, ids?: readonly string[]): Promise<void> {
  for (const { value, score } of await client.zRangeWithScores(keyOf(entry), 0, -1)) {
    if (ids?.includes(value) ?? true) await client.zAdd(keyOf(entry), { value, score: score - milliseconds * 1000 });
  }
}

/** Keys with the prefix that have no expiry. */
async function eternal(): Promise<string[]> {
  const found: string[] = [];
  for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
    for (const key of keys) if ((await client.pTTL(key)) === -1) found.push(key);
  }
  return found;
}

describe("indexes as stored in Redis", () => {
  test("a session lists its index values in session_index as a sorted JSON array, and has no such field without values", async () => {
    const cart = [{ sku: "b" }, { sku: "a" }, { sku: "b" }];
    const { session } = await store.create({ userId: "andrew", cart });
    const text = await client.hGet(prefix + session.id, "session_index");
    expect(text).toBe('["product:a","product:b","user:andrew"]');
    const { session: none } = await store.create({});
    expect(await client.hExists(prefix + none.id, "session_index")).toBe(0);
  });

  test("an index is a sorted set of session IDs with increasing scores in microseconds of Redis's clock", async () => {
    const userId = crypto.randomUUID();
    const [seconds, micros] = (await client.sendCommand(["TIME"])) as unknown as [string, string];
    const before = Number(seconds) * 1_000_000 + Number(micros);
    const all = await Promise.all(Array.from({ length: 20 }, () => store.create({ userId })));
    expect(await client.type(keyOf(`user:${userId}`))).toBe("zset");
    const members = await client.zRangeWithScores(keyOf(`user:${userId}`), 0, -1);
    expect(members.map(({ value }) => value)).toEqual(all.map(({ session }) => session.id));
    const scores = members.map(({ score }) => score);
    expect(new Set(scores).size).toBe(20);
    for (const score of scores) {
      expect(Number.isSafeInteger(score)).toBe(true);
      expect(score).toBeGreaterThanOrEqual(before);
      expect(score).toBeLessThan(before + NEAR_MS * 1000);
    }
  });

  test("any text works as an index value", async () => {
    for (const value of ["a:b", "*", "?[x]", "{a}", "ü💥", " ", "\n", '"', "\\"]) {
      const userId = value + crypto.randomUUID();
      const { session } = await store.create({ userId });
      expect(await membersOf(`user:${userId}`)).toEqual([session.id]);
      expect(await allListed(store, { user: userId })).toEqual([session]);
      expect(await store.revokeAll({ user: userId })).toBe(1);
    }
  });

  test("an update that changes an index value also updates session_index", async () => {
    const [from, to] = [crypto.randomUUID(), crypto.randomUUID()];
    const { token, session } = await store.create({ userId: from, tenant: from });
    await store.update(token, { userId: to });
    const moved = JSON.stringify([`tenant:${from}`, `user:${to}`]);
    expect(await client.hGet(prefix + session.id, "session_index")).toBe(moved);
    await store.update(token, { userId: undefined, tenant: null });
    expect(await client.hGet(prefix + session.id, "session_index")).toBe("[]");
    expect(await store.count({ user: to })).toBe(0);
  });
});

describe("an index key", () => {
  /** How long an index key lives after a session with this idle timeout entered it or extended it, in milliseconds. */
  const covers = (idleSeconds: number): number => idleSeconds * 1500 + 60_000;
  const expectLeft = async (entry: string, milliseconds: number): Promise<void> => {
    const left = await client.pTTL(keyOf(entry));
    expect(left).toBeLessThanOrEqual(milliseconds);
    expect(left).toBeGreaterThan(milliseconds - NEAR_MS);
  };

  test("an index key lives one and a half idle timeouts and a minute, by the session that needs it longest", async () => {
    const userId = crypto.randomUUID();
    await store.create({ userId }, { absoluteTimeout: "1d" });
    await expectLeft(`user:${userId}`, covers(1800));
    await store.create({ userId }, { idleTimeout: 7200 });
    await expectLeft(`user:${userId}`, covers(7200));
    await store.create({ userId }, { idleTimeout: 60 });
    await expectLeft(`user:${userId}`, covers(7200));
  });

  test("an index key that a session moves into lives by the idle timeout of the session", async () => {
    const userId = crypto.randomUUID();
    const { token } = await store.create({}, { idleTimeout: 600 });
    await store.update(token, { userId });
    await expectLeft(`user:${userId}`, covers(600));
  });

  test("no key lacks an expiry after any operation of the store", async () => {
    const limited = memberStore(backend, Date.now, { limits: { user: { max: 1, whenFull: "evict-oldest" } } }).store;
    const userId = crypto.randomUUID();
    const one = await store.create({ userId, code: "1", cart: [{ sku: "hat" }] });
    await store.update(one.token, { userId: `${userId}b` });
    await store.increment(one.token, "level");
    await store.take(one.token, "code");
    await store.rotate(one.token, { patch: { userId } });
    await limited.create({ userId });
    await limited.create({ userId });
    await store.updateAll({ user: userId }, { tenant: userId });
    await allListed(store, { user: userId });
    await store.count({ tenant: userId });
    await store.revokeAll({ tenant: userId });
    await store.revokeAll({ user: userId });
    const two = await store.create({ userId });
    await store.revoke(two.session.id);
    const plain = await backend.enter(`user:${userId}`, "x".repeat(22), 60_000, 0, Date.now());
    expect(plain.size).toBeGreaterThan(0);
    await store.revokeAll({ user: userId });
    expect(await client.exists(`${prefix}${"x".repeat(22)}`)).toBe(1);
    expect(await eternal()).toEqual([]);
  });

  test("index values with braces do not choose the slot of their key in a cluster, and do not collide", async () => {
    const values = ["{a}", "%7Ba%7D", "{", "}", "%7B", "%257B", "a{b}c", "{}", "{1", "%", "a b"];
    for (const value of values) await store.create({ userId: value });
    for (const value of values) {
      const sessions = await allListed(store, { user: value });
      expect(sessions.map(({ data }) => data.userId)).toEqual([value]);
      const id = sessions[0]?.id ?? "";
      expect(await client.hGet(prefix + id, "session_index")).toBe(JSON.stringify([`user:${value}`]));
    }
    const keys: string[] = [];
    for await (const page of client.scanIterator({ MATCH: `${prefix}index:user:*`, COUNT: 1000 })) keys.push(...page);
    expect(keys.filter((key) => /[{}]/.test(key))).toEqual([]);
    expect(keys).toContain(`${prefix}index:user:%7Ba%7D`);
    for (const value of values) expect(await store.revokeAll({ user: value })).toBe(1);
  });

  test("list and count remove members whose session has ended, if they are more than a minute old", async () => {
    const userId = crypto.randomUUID();
    const entry = `user:${userId}`;
    const all = await Promise.all(Array.from({ length: 4 }, () => store.create({ userId })));
    const [old, young, lives, moved] = all.map(({ session }) => session.id) as [string, string, string, string];
    await client.del([prefix + old, prefix + young]);
    await store.update(all[3]?.token ?? "", { userId: `${userId}b` });
    await age(entry, 59_000, [young]);
    await age(entry, 61_000, [old, lives, moved]);
    expect(idsOf(await allListed(store, { user: userId }))).toEqual([lives]);
    await expect.poll(async () => (await membersOf(entry)).sort()).toEqual([young, lives].sort());
    await age(entry, 61_000);
    expect(await store.count({ user: userId })).toBe(1);
    await expect.poll(() => membersOf(entry)).toEqual([lives]);
  });

  test("an index that nobody lists does not accumulate ended sessions", async () => {
    const userId = crypto.randomUUID();
    const lasting = await Promise.all(Array.from({ length: 3 }, () => store.create({ userId })));
    await age(`user:${userId}`, 120_000);
    for (let login = 0; login < 300; login++) {
      const { session } = await store.create({ userId });
      await client.pExpire(prefix + session.id, -1);
      await age(`user:${userId}`, 61_000, [session.id]);
    }
    expect((await membersOf(`user:${userId}`)).length).toBeLessThan(60);
    expect(await store.count({ user: userId })).toBe(lasting.length);
  });

  test("list returns every session even if others are added or removed between its pages", async () => {
    const userId = crypto.randomUUID();
    const all = await Promise.all(Array.from({ length: 1100 }, () => store.create({ userId })));
    const ids = all.map(({ session }) => session.id);
    let pages = 0;
    const late: string[] = [];
    const moving = intercept(backend, async (method) => {
      if (method !== "page" || ++pages === 1) return;
      // Ranks shift: some of the earliest leave, others enter.
      await backend.leave(
        `user:${userId}`,
        ids.slice(0, 300).map((key) => ({ key, score: null })),
        Date.now(),
      );
      late.push((await store.create({ userId })).session.id);
    });
    const { store: other } = memberStore(moving, Date.now);
    expect(idsOf(await allListed(other, { user: userId }, { limit: 400 }))).toEqual([...ids, ...late].sort());
    expect(pages).toBe(3);
    await store.revokeAll({ user: userId });
  });
});

describe("an index with many sessions", () => {
  const COUNT = 100_000;
  const MANY = 2000;
  /** A busy machine may delay any command by many milliseconds. */
  const SLOW_MICROSECONDS = 250_000;
  const STATS = /^cmdstat_([^:]+):calls=(\d+)/gm;

  /** Stores sessions and members as the store would have an hour ago. */
  async function fill(on: Awaited<ReturnType<typeof own>>["client"], userId: string, count: number): Promise<void> {
    const now = Date.now();
    const at = new Date(now - 3_600_000).toISOString();
    const first = (now - 3_600_000) * 1000;
    for (let from = 0; from < count; from += 5000) {
      const batch = on.multi();
      for (let member = from; member < Math.min(from + 5000, count); member++) {
        const id = `m${member}`.padStart(22, "x");
        batch.zAdd(`large:index:user:${userId}`, { value: id, score: first + member });
        batch.hSet(`large:${id}`, {
          userId,
          theme: "light",
          created_at: at,
          last_accessed_at: at,
          session_ttl: "86400",
          session_deadline: String(now + DAY_MS),
          session_verifier: "v".repeat(43),
          session_index: JSON.stringify([`user:${userId}`]),
        });
        batch.pExpire(`large:${id}`, DAY_MS);
      }
      batch.pExpire(`large:index:user:${userId}`, DAY_MS);
      await batch.execAsPipeline();
    }
  }

  /** Its own server, so that the slow log has no commands of other tests. */
  async function own() {
    const server = await startServer();
    const large = await createClient({ url: server.url }).connect();
    const beside = await createClient({ url: server.url }).connect();
    const { store: members } = memberStore(redisBackend(large, { prefix: "large:" }), Date.now, {
      operationTimeout: "30s",
    });
    return { server, client: large, beside, members };
  }

  let ground: Awaited<ReturnType<typeof own>>;
  beforeAll(async () => {
    ground = await own();
    await fill(ground.client, "crowd", COUNT);
  });
  afterAll(async () => {
    await ground.client.close();
    await ground.beside.close();
    await ground.server.stop();
  });

  /** Runs `act` and returns the slow commands and the number of calls of each command. */
  async function watch(act: () => Promise<unknown>) {
    const { beside } = ground;
    await beside.sendCommand(["CONFIG", "RESETSTAT"]);
    await beside.sendCommand(["CONFIG", "SET", "slowlog-log-slower-than", String(SLOW_MICROSECONDS)]);
    await beside.sendCommand(["SLOWLOG", "RESET"]);
    await act();
    const slow = await beside.sendCommand(["SLOWLOG", "GET", "10"]);
    const stats = String(await beside.sendCommand(["INFO", "commandstats"]));
    const calls = Object.fromEntries([...stats.matchAll(STATS)].map(([, name, count]) => [name, Number(count)]));
    return { slow, calls };
  }

  const forbidden = ["keys", "smembers", "zscan", "scan"];

  // A busy machine may make a command look slow once; retries tell that apart from a command that is always slow.
  test("counting and listing 100,000 sessions runs no slow command", { timeout: 120_000, retry: 3 }, async () => {
    const { members } = ground;
    const counted = await watch(async () => expect(await members.count({ user: "crowd" })).toBe(COUNT));
    const listed = await watch(async () => expect(await allListed(members, { user: "crowd" })).toHaveLength(COUNT));
    for (const [pages, { slow, calls }] of [[COUNT / 500 + 1, counted] as const, [COUNT / 1000, listed] as const]) {
      expect(slow).toEqual([]);
      expect(calls).toMatchObject({ hmget: COUNT, zrangebyscore: pages });
      for (const command of forbidden) expect(calls).not.toHaveProperty(command);
    }
  });

  test("adding a session to an index of 100,000, or removing one, runs no slow command", { retry: 3 }, async () => {
    const { members } = ground;
    const { slow, calls } = await watch(async () => {
      const { token } = await members.create({ userId: "crowd" });
      await members.destroy(token);
      await expect.poll(() => ground.beside.zCard("large:index:user:crowd")).toBe(COUNT);
    });
    expect(slow).toEqual([]);
    for (const command of [...forbidden, "zrangebyscore"]) expect(calls).not.toHaveProperty(command);
  });

  test("revokeAll ends all of 2,000 sessions with one delete for each, and no slow command", { retry: 3 }, async () => {
    const { client: on, members } = ground;
    await on.flushDb();
    await fill(on, "many", MANY);
    const other = await members.create({ userId: "other" });
    const { slow, calls } = await watch(async () => {
      expect(await members.revokeAll({ user: "many" })).toBe(MANY);
    });
    expect(slow).toEqual([]);
    expect(calls).toMatchObject({ del: MANY });
    for (const command of forbidden) expect(calls).not.toHaveProperty(command);
    expect(await members.count({ user: "many" })).toBe(0);
    expect(await on.dbSize()).toBe(2);
    expect(await members.peek(other.token)).toEqual(other.session);
  });
});
