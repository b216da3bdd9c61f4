import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  createSessionStore,
  SessionBackendError,
  SessionDataError,
  type SessionEvent,
  type SessionStore,
  sessionMiddleware,
} from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { keysOf } from "../support/backends.ts";
import { onGrounds } from "../support/fault-grounds.ts";
import { request } from "../support/http.ts";
import { ownBackend } from "../support/redis.ts";

const { backend, client, prefix } = await ownBackend();

const schema = z.object({
  userId: z.string().default("nobody"),
  pageViews: z.int().default(0),
  cart: z.array(z.object({ sku: z.string(), n: z.number() })).default(() => []),
  extra: z.json().optional(),
  code: z.string().max(100).optional(),
});
type Data = z.output<typeof schema>;
type Store = SessionStore<Data, z.input<typeof schema>>;

const IDLE = 1800;
const ABSOLUTE = 7200;
const DAY_MS = 86_400_000;

function open(options: object = {}) {
  const events: SessionEvent[] = [];
  const store: Store = createSessionStore({
    schema,
    backend,
    idleTimeout: IDLE,
    absoluteTimeout: ABSOLUTE,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { store, events };
}

const idOf = (token: string): string => token.slice(0, 22);
const keyOf = (token: string): string => prefix + idOf(token);

/** A session, and then what this does to its key. */
async function planted(change: (key: string) => Promise<unknown>, { store } = open()): Promise<string> {
  const { token } = await store.create({ userId: "andrew", code: "123456" });
  await change(keyOf(token));
  return token;
}

/** A session with other text in its fields. */
const withFields = (fields: Record<string, string | Buffer>) => planted((key) => client.hSet(key, fields));

/** All there is to know of a key, but for what a touch moves. */
async function stateOf(key: string): Promise<unknown> {
  const type = await client.type(key);
  if (type !== "hash") return [type, await client.sendCommand(["DUMP", key])];
  const { last_accessed_at: _, ...hash } = await client.hGetAll(key);
  return [type, hash];
}

/** Every use of a session that leaves its data as it is. */
const looks: Readonly<Record<string, (store: Store, token: string) => Promise<unknown>>> = {
  get: (store, token) => store.get(token),
  peek: (store, token) => store.peek(token),
  "update by a function": (store, token) => store.update(token, () => ({ code: "x" })),
};

/** Every other use. */
const changes: typeof looks = {
  update: (store, token) => store.update(token, { code: "x" }),
  increment: (store, token) => store.increment(token, "pageViews"),
  take: (store, token) => store.take(token, "code"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, 60),
  rotate: (store, token) => store.rotate(token, { authenticated: true }),
};

/** What a request does that looks and changes: it is anonymous, is served, and no cookie goes out. */
async function expectAnonymous(store: Store, token: string): Promise<void> {
  const response = await sessionMiddleware(store)(request(`__Host-sid=${token}`), async (session) => {
    expect(await session.get()).toBeNull();
    expect(await session.update(() => ({ code: "x" }))).toBeNull();
    return new Response("served");
  });
  expect(response.status).toBe(200);
  expect(response.headers.getSetCookie()).toEqual([]);
}

/** The record cannot be read: who looks is told so, a request is anonymous, and it stays. */
async function expectUnreadable(token: string, path: readonly PropertyKey[], what = ""): Promise<void> {
  const { store, events } = open();
  const before = await stateOf(keyOf(token));
  for (const [use, act] of Object.entries(looks)) {
    const error = await act(store, token).then(
      (session) => new Error(`There is a session: ${JSON.stringify(session)}`),
      (reason: unknown) => reason,
    );
    expect(error, `${what} ${use}`).toBeInstanceOf(SessionDataError);
    expect(error, `${what} ${use}`).toMatchObject({ origin: "stored" });
    const [issue] = (error as SessionDataError).issues;
    expect(issue?.path.slice(0, path.length), `${what} ${use}`).toEqual(path);
    expect(events.at(-1), `${what} ${use}`).toMatchObject({ type: "invalid", id: idOf(token) });
  }
  await expectAnonymous(store, token);
  expect(await stateOf(keyOf(token)), what).toEqual(before);
}

/** There is no session for anybody, and nothing comes into being or changes. */
async function expectAbsent(token: string, what = ""): Promise<void> {
  const { store, events } = open();
  const before = await stateOf(keyOf(token));
  for (const [use, act] of Object.entries({ ...looks, ...changes })) {
    expect(await act(store, token), `${what} ${use}`).toBeNull();
  }
  await expectAnonymous(store, token);
  expect(await stateOf(keyOf(token)), what).toEqual(before);
  expect(
    events.filter(({ type }) => type !== "reused"),
    what,
  ).toEqual([]);
}

describe("what is under the key of a session", () => {
  const others: Readonly<Record<string, (key: string) => Promise<unknown>>> = {
    string: (key) => client.set(key, "text"),
    list: (key) => client.rPush(key, ["a", "b"]),
    set: (key) => client.sAdd(key, ["a", "b"]),
    "sorted set": (key) => client.zAdd(key, { score: 1, value: "a" }),
    stream: (key) => client.xAdd(key, "*", { name: "a" }),
  };
  for (const [type, write] of Object.entries(others)) {
    test(`S-01 if it is a ${type} cannot be read, is never written, and is not ended`, async () => {
      const token = await planted(async (key) => [await client.del(key), await write(key)]);
      const { store } = open();
      const before = await stateOf(keyOf(token));
      await expectUnreadable(token, []);
      for (const [use, act] of Object.entries(changes)) {
        await expect(act(store, token), use).rejects.toMatchObject({ name: "SessionDataError", origin: "stored" });
      }
      expect(await store.destroy(token)).toBe(false);
      expect(await store.revoke(idOf(token))).toBe(false);
      expect(await stateOf(keyOf(token))).toEqual(before);
      expect(await client.pTTL(keyOf(token))).toBe(-1);
    });
  }

  test("S-05 is no session without one of the three fields, or without the verifier; defaults do not fill these in", async () => {
    for (const field of ["created_at", "last_accessed_at", "session_ttl", "session_verifier"]) {
      await expectAbsent(await planted((key) => client.hDel(key, field)), field);
    }
  });

  test("S-19 S-20 opens to nobody whose secret it was not made for, wherever it was copied from", async () => {
    const { store } = open();
    const theirs = await store.create({ userId: "eve" });
    const token = await planted((key) => client.copy(prefix + theirs.session.id, key, { REPLACE: true }));
    await expectAbsent(token);
    const elsewhere = open({ backend: redisBackend(client, { prefix: `${prefix}other:` }) });
    const other = await elsewhere.store.create({ userId: "eve" });
    await expectAbsent(
      await planted((key) => client.copy(`${prefix}other:${other.session.id}`, key, { REPLACE: true })),
    );
    // With `plainIds` there is no verifier, as the guides' programs write none: whoever may write to Redis may do this.
  });

  test("S-24 if it is evicted while a request runs, the request goes on without a session and brings none back", async () => {
    const { store } = open();
    const { token } = await store.create({ userId: "andrew" });
    const response = await sessionMiddleware(store)(request(`__Host-sid=${token}`), async (session) => {
      expect(await session.get()).not.toBeNull();
      await client.unlink(keyOf(token));
      expect(await session.update({ code: "x" })).toBeNull();
      expect(await session.update(() => ({ code: "x" }))).toBeNull();
      expect(await session.increment("pageViews")).toBeNull();
      expect(await session.take("code")).toBeNull();
      expect(await session.setIdleTimeout(60)).toBeNull();
      expect(await session.rotate()).toBeNull();
      expect(await session.destroy()).toBe(false);
      return new Response();
    });
    expect(response.headers.getSetCookie()).toEqual([]);
    expect(await client.exists(keyOf(token))).toBe(0);
  });
});

describe("a field", () => {
  const wrong = ["", "null", "true", '"str"', "{}", " ", "undefined"];

  test("S-02 with JSON of another kind cannot be read", async () => {
    for (const text of [...wrong, "5", "[5]", "[{}]"])
      await expectUnreadable(await withFields({ cart: text }), ["cart"]);
    for (const text of [...wrong, "[]", '"5"', "5.5"]) {
      await expectUnreadable(await withFields({ pageViews: text }), ["pageViews"], text);
    }
  });

  test("S-03 with text that is not exactly one JSON text cannot be read", async () => {
    const texts = [
      '[{"sku":"a","n":1}',
      "[] x",
      "[][]",
      "\ufeff[]",
      "[{sku:'a',n:1}]",
      "[NaN]",
      "NaN",
      "[1,]",
      "//\n[]",
    ];
    for (const text of texts) await expectUnreadable(await withFields({ cart: text }), ["cart"], text);
  });

  test("S-04 with bytes that are no text cannot be read where JSON is due", async () => {
    const bytes = {
      "invalid UTF-8": Buffer.of(0x5b, 0xff, 0xfe, 0x5d),
      gzip: gzipSync("[]"),
      msgpack: Buffer.of(0x90),
      nul: Buffer.of(0),
    };
    for (const [what, field] of Object.entries(bytes)) {
      await expectUnreadable(await withFields({ cart: field }), ["cart"], what);
    }
  });

  test("S-04 with invalid UTF-8 where a string is due is read as well as can be, and stays as it is", async () => {
    const bytes = Buffer.of(0x61, 0xff, 0xfe);
    const token = await withFields({ userId: bytes });
    const { store } = open();
    expect((await store.get(token))?.data.userId).toBe("a\ufffd\ufffd");
    await store.update(token, { code: "x" });
    await store.update(token, ({ pageViews }) => ({ pageViews: pageViews + 1 })).catch(() => {});
    expect(await client.sendCommand(["HSTRLEN", keyOf(token), "userId"])).toBe(bytes.length);
  });

  test("S-09 that does not fit the schema any more makes a request anonymous, and the record stays", async () => {
    const token = await withFields({ code: "x".repeat(101) });
    await expectUnreadable(token, ["code"]);
    expect(await open().store.destroy(token)).toBe(true);
  });

  test("S-16 of megabytes is refused by a schema with bounds, quickly", async () => {
    const since = performance.now();
    for (const megabytes of [1, 32]) {
      await expectUnreadable(await withFields({ code: "x".repeat(megabytes * 2 ** 20) }), ["code"]);
    }
    expect(performance.now() - since).toBeLessThan(10_000);
    // The library has no bound of its own; 512 MB is more than Redis takes in one field (proto-max-bulk-len).
  });

  test("S-17 with JSON two hundred thousand deep cannot be read, and ends nobody's process", async () => {
    const deep = "[".repeat(200_000) + "]".repeat(200_000);
    for (const field of ["extra", "cart", "pageViews"]) {
      await expectUnreadable(await withFields({ [field]: deep }), [field], field);
    }
  });

  test("S-18 named or filled like a prototype is inert", async () => {
    const polluting = '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}';
    const token = await withFields({ extra: polluting, __proto__: polluting, constructor: "x", toString: "x" });
    await client.hSet(keyOf(token), "__proto__", polluting);
    const session = await open().store.get(token);
    expect(({} as Record<string, unknown>)["admin"]).toBeUndefined();
    expect(session).not.toHaveProperty("data.admin");
    expect(session).not.toHaveProperty("data.extra.admin");
    expect(session?.data).not.toHaveProperty("toString", "x");
    expect(session?.data.userId).toBe("andrew");
  });

  test("S-18 with the same key twice is read as JSON has it, and with numbers that no number holds not at all", async () => {
    const { store } = open();
    const twice = await withFields({ cart: '[{"sku":"a","sku":"b","n":1}]' });
    expect((await store.get(twice))?.data.cart).toEqual([{ sku: "b", n: 1 }]);
    for (const text of ["1e400", "-1e400", "12345678901234567890"]) {
      await expectUnreadable(await withFields({ pageViews: text }), ["pageViews"], text);
    }
  });

  test("S-26 that is missing is not found in a polluted Object.prototype", async () => {
    const strict = createSessionStore({ schema: z.object({ owner: z.string() }), backend });
    const { token } = await strict.create({ owner: "andrew" });
    await client.hDel(keyOf(token), "owner");
    Object.defineProperty(Object.prototype, "owner", { value: "eve", configurable: true, enumerable: false });
    try {
      for (const read of [strict.get(token), strict.peek(token)]) {
        await expect(read).rejects.toMatchObject({ name: "SessionDataError", issues: [{ path: ["owner"] }] });
      }
    } finally {
      Reflect.deleteProperty(Object.prototype, "owner");
    }
  });
});

describe("a reserved field", () => {
  test("S-06 S-18 with a deadline that is no time makes the session unreadable, not eternal", async () => {
    const texts = ["", "abc", "-1", "NaN", "1e15", "1.5", " 1", "1 ", "0x10", "12345678901234567890", "\ufffd", "null"];
    for (const text of [...texts, "9".repeat(16)]) {
      const token = await withFields({ session_deadline: text });
      await expectUnreadable(token, [], text);
      const { store } = open();
      for (const [use, act] of Object.entries(changes)) {
        await expect(act(store, token), `${text} ${use}`).rejects.toMatchObject({ name: "SessionDataError" });
      }
      expect(await store.destroy(token), text).toBe(true);
    }
  });

  test("S-06 with a deadline before its creation has ended; far in the future it is still bound to be idle", async () => {
    const { store } = open();
    const past = await withFields({ session_deadline: String(Date.now() - DAY_MS) });
    expect(await store.peek(past)).toBeNull();
    expect(await store.get(past)).toBeNull();
    const far = await withFields({ session_deadline: "9".repeat(15) });
    expect(await store.get(far)).not.toBeNull();
    expect(await client.pTTL(keyOf(far))).toBeLessThanOrEqual(IDLE * 1000);
  });

  test("S-06 with an idle timeout that is none gets what its key has left; with times that are none they are unknown", async () => {
    const { store } = open();
    for (const text of ["", "abc", "-5", "0", "1e3", "1.5", "NaN", "Infinity", "99999999999", "\ufffd"]) {
      const token = await withFields({ session_ttl: text, created_at: text, last_accessed_at: text });
      await client.pExpire(keyOf(token), 99_500);
      const session = await store.get(token);
      expect(session, text).toMatchObject({ idleTimeout: 100 });
      expect(await client.pTTL(keyOf(token)), text).toBeLessThanOrEqual(100_000);
      expect(await client.pTTL(keyOf(token)), text).toBeGreaterThan(90_000);
    }
  });

  test("S-07 S-11 of a newer version is left alone, and data that only that one reads makes a request anonymous", async () => {
    const newer = { session_format: "2", session_future: '{"a":1}' };
    const readable = await withFields(newer);
    const { store } = open();
    expect(await store.get(readable)).not.toBeNull();
    await store.update(readable, { code: "x" });
    await store.update(readable, () => ({ code: "y" }));
    await store.increment(readable, "pageViews");
    const { token } = (await store.rotate(readable)) as { token: string };
    expect(await client.hGetAll(keyOf(token))).toMatchObject(newer);
    await expectUnreadable(await withFields({ ...newer, cart: "cart-of-version-2" }), ["cart"]);
  });

  test("S-25 S-22 with a grace that cannot be read, or a rotation onto itself, opens to no old token", async () => {
    const { store, events } = open();
    for (const grace of ["abc", "", "-1", "NaN", "1e15", "9".repeat(20)]) {
      const { token } = await store.create({});
      await store.rotate(token, { grace: 60 });
      await client.hSet(keyOf(token), "session_grace", grace);
      expect(await store.get(token), grace).toBeNull();
      expect(events.at(-1), grace).toMatchObject({ type: "reused", id: idOf(token) });
    }
    const { token } = await store.create({});
    const verifier = (await client.hGet(keyOf(token), "session_verifier")) as string;
    await client.hSet(keyOf(token), { session_previous: verifier, session_grace: "1" });
    expect(await store.get(token)).not.toBeNull();
    // Two hops there are not: what lies before the previous secret is nowhere.
    const second = await store.rotate(token, { grace: 60 });
    await store.rotate(second?.token as string, { grace: 60 });
    expect(await store.get(token)).toBeNull();
  });

  // There are no epochs (S-22), and no record points to another one (S-25): a tombstone and a previous secret come nearest.
  test("S-22 of a tombstone is no session, whatever else is there, and is not made one", async () => {
    const token = await planted(async (key) => [await client.del(key), await client.hSet(key, "session_revoked", "x")]);
    await expectAbsent(token);
    expect(await open().store.destroy(token)).toBe(false);
    expect(await client.hGetAll(keyOf(token))).toEqual({ session_revoked: "x" });
  });
});

describe("two versions of an application", () => {
  const older = z.object({ userId: z.string(), pageViews: z.int().default(0) });
  const newer = older.extend({ theme: z.string().default("light"), tags: z.array(z.string()).default(() => []) });

  test("S-10 lose none of each other's fields, however they take turns", async () => {
    const [old, now] = [createSessionStore({ schema: older, backend }), createSessionStore({ schema: newer, backend })];
    const { token } = await now.create({ userId: "andrew", theme: "dark", tags: ["a"] });
    const turns = [
      () => old.update(token, { pageViews: 1 }),
      () => now.update(token, ({ tags }) => ({ tags: [...tags, "b"] })),
      () => old.update(token, ({ pageViews }) => ({ pageViews: pageViews + 1 })),
      () => old.increment(token, "pageViews"),
      () => now.update(token, { theme: "blue" }),
      () => old.setIdleTimeout(token, 60),
      () => old.get(token),
    ];
    for (const turn of turns) expect(await turn()).not.toBeNull();
    const rotated = (await old.rotate(token)) as { token: string };
    const all = { userId: "andrew", pageViews: 3, theme: "blue", tags: ["a", "b"] };
    expect((await now.get(rotated.token))?.data).toEqual(all);
  });

  test("S-08 S-09 with a migration read what the older one wrote, and write it back once", async () => {
    const renamed = z.object({ user: z.object({ name: z.string() }) });
    const migrate = (stored: Readonly<Record<string, unknown>>) => ({ user: { name: String(stored["userId"]) } });
    const old = createSessionStore({ schema: older, backend });
    for (const read of ["get", "peek"] as const) {
      const { token } = await old.create({ userId: "andrew" });
      let migrations = 0;
      const now = createSessionStore({
        schema: renamed,
        backend,
        migrate: (stored) => {
          migrations++;
          return migrate(stored);
        },
      });
      for (let time = 0; time < 3; time++) expect((await now[read](token))?.data).toEqual({ user: { name: "andrew" } });
      expect(migrations).toBe(1);
      expect(await client.hGetAll(keyOf(token))).toMatchObject({ user: '{"name":"andrew"}', userId: "andrew" });
    }
  });

  test("S-09 with a migration that does not help leave the record as it was", async () => {
    const old = createSessionStore({ schema: older, backend });
    const { token } = await old.create({ userId: "andrew" });
    const before = await stateOf(keyOf(token));
    for (const migrate of [
      () => ({ user: 5 }),
      () => null,
      () => {
        throw new Error("no");
      },
    ]) {
      const now = createSessionStore({ schema: z.object({ user: z.string() }), backend, migrate: migrate as never });
      await expect(now.get(token)).rejects.toMatchObject({ name: "SessionDataError", origin: "stored" });
    }
    expect(await stateOf(keyOf(token))).toEqual(before);
  });
});

describe("the expiry of a key", () => {
  const left = (token: string): Promise<number> => client.pTTL(keyOf(token));

  test("S-12 that was taken away comes back with the next touch", async () => {
    const { store } = open();
    const token = await planted((key) => client.persist(key));
    expect(await store.peek(token)).not.toBeNull();
    expect(await left(token)).toBe(-1);
    expect(await store.get(token)).not.toBeNull();
    expect(await left(token)).toBeGreaterThan(0);
    expect(await left(token)).toBeLessThanOrEqual(IDLE * 1000);
  });

  test("S-13 that was taken away does not keep a session whose deadline has passed", async () => {
    for (const [use, act] of Object.entries({ ...looks, ...changes })) {
      const { store } = open();
      const token = await planted(async (key) => {
        await client.hSet(key, "session_deadline", String(Date.now() - 1));
        await client.persist(key);
      });
      expect(await act(store, token), use).toBeNull();
    }
    const token = await planted(async (key) => {
      await client.hSet(key, "session_deadline", String(Date.now() - 1));
      await client.persist(key);
    });
    expect(await open().store.get(token)).toBeNull();
    expect(await client.exists(keyOf(token))).toBe(0);
  });

  test("S-14 that is longer than the deadline leaves is shortened by the next touch", async () => {
    const { store } = open();
    const token = await withFields({ session_deadline: String(Date.now() + 90_000) });
    await client.pExpire(keyOf(token), 10 * DAY_MS);
    expect((await store.get(token))?.expiresAt.getTime()).toBeLessThanOrEqual(Date.now() + 90_000);
    expect(await left(token)).toBeLessThanOrEqual(90_000);
  });

  test("S-15 that somebody made shorter is not put off by a look, nor beyond the idle timeout by a touch", async () => {
    const { store } = open();
    const token = await planted((key) => client.pExpire(key, 5000));
    await store.peek(token);
    expect(await left(token)).toBeLessThanOrEqual(5000);
    await store.get(token);
    expect(await left(token)).toBeLessThanOrEqual(IDLE * 1000);
  });
});

describe("an index", () => {
  const by = { user: "42" };
  const listed = () => {
    const own = `${prefix}${crypto.randomUUID()}:`;
    const on = redisBackend(client, { prefix: own });
    return {
      own,
      on,
      index: `${own}index:user:42`,
      store: createSessionStore({ schema, backend: on, indexes: { user: "userId" } }),
    };
  };

  test("S-21 of another type fails whoever asks it, and never counts as empty", async () => {
    const { store, index, on } = listed();
    const { token } = await store.create({ userId: "42" });
    await client.del(index);
    await client.set(index, "text");
    const uses = {
      list: () => store.list(by),
      count: () => store.count(by),
      revokeAll: () => store.revokeAll(by),
      updateAll: () => store.updateAll(by, { code: "x" }),
      create: () => store.create({ userId: "42" }),
    };
    for (const [use, act] of Object.entries(uses)) {
      await expect(act(), use).rejects.toBeInstanceOf(SessionBackendError);
      await expect(act(), use).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    }
    expect(await client.get(index)).toBe("text");
    expect(await keysOf(on)).toEqual([idOf(token)]);
    expect(await store.get(token)).not.toBeNull();
  });

  test("S-21 with thousands of dead members, members that are no ids and sessions of others lists only its own", async () => {
    const { store, index } = listed();
    const { session } = await store.create({ userId: "42" });
    const foreign = await store.create({ userId: "43" });
    const old = (Date.now() - DAY_MS) * 1000;
    const dead = Array.from({ length: 3000 }, (_, at) => ({ score: old + at, value: `dead-${at}` }));
    await client.zAdd(index, [...dead, { score: old - 1, value: foreign.session.id }, { score: old - 2, value: "" }]);
    expect((await store.list(by)).map(({ id }) => id)).toEqual([session.id]);
    await expect.poll(() => client.zCard(index), { timeout: 10_000 }).toBeLessThan(5);
    expect(await store.count(by)).toBe(1);
    expect(await store.revokeAll(by)).toBe(1);
    expect(await store.peek(foreign.token)).not.toBeNull();
    // That one misses a live session cannot come about: a key enters before its session is written, and every step says so.
  });

  test("S-21 named by a session in a way that cannot be read neither lists nor ends it", async () => {
    const { store, own } = listed();
    for (const text of ["", "null", "5", "{}", '["user:42"', "\ufffd", '[["user:42"]]']) {
      const { token, session } = await store.create({ userId: "42" });
      await client.hSet(own + session.id, "session_index", text);
      expect(await store.list(by), text).toEqual([]);
      expect(await store.revokeAll(by), text).toBe(0);
      expect(await store.get(token), text).not.toBeNull();
      expect(await store.destroy(token), text).toBe(true);
    }
  });

  test("S-23 nothing but it and the sessions' keys is touched, and a request neither lists nor scans keys", async () => {
    await onGrounds({}, async ({ admin, client: own }) => {
      const on = redisBackend(own, { prefix: "s:" });
      const store = createSessionStore({ schema, backend: on, indexes: { user: "userId" } });
      const foreign = ["s:bar", `s:${"x".repeat(22)}`];
      await admin.set("s:foo", "text");
      for (const key of foreign) await admin.hSet(key, "name", "x");
      await admin.configResetStat();
      const { token, session } = await store.create({ userId: "42" });
      for (const act of Object.values({ ...looks, ...changes })) await act(store as never, token);
      await store.list(by);
      await store.count(by);
      await store.revoke(session.id);
      await store.revokeAll(by);
      const stats = String(await admin.info("commandstats"));
      expect(stats).toContain("cmdstat_evalsha");
      expect(stats).not.toMatch(/cmdstat_(keys|scan|flushall|flushdb)/);
      expect(await admin.get("s:foo")).toBe("text");
      for (const key of foreign) expect(await admin.hGetAll(key)).toEqual({ name: "x" });
    });
  });
});
