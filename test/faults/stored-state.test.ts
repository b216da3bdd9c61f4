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
import { allListed } from "../support/members.ts";
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

/** Creates a session and applies a change to its key. */
async function planted(change: (key: string) => Promise<unknown>, { store } = open()): Promise<string> {
  const { token } = await store.create({ userId: "andrew", code: "123456" });
  await change(keyOf(token));
  return token;
}

/** Creates a session and overwrites some of its stored fields. */
const withFields = (fields: Record<string, string | Buffer>) => planted((key) => client.hSet(key, fields));

/** The type and the content of a key, without what a touch changes. */
async function stateOf(key: string): Promise<unknown> {
  const type = await client.type(key);
  if (type !== "hash") return [type, await client.sendCommand(["DUMP", key])];
  const { last_accessed_at: _, ...hash } = await client.hGetAll(key);
  return [type, hash];
}

/** Every operation that reads and validates the data first. */
const looks: Readonly<Record<string, (store: Store, token: string) => Promise<unknown>>> = {
  get: (store, token) => store.get(token),
  peek: (store, token) => store.peek(token),
  "update by a function": (store, token) => store.update(token, () => ({ code: "x" })),
};

/** Every other operation. */
const changes: typeof looks = {
  update: (store, token) => store.update(token, { code: "x" }),
  increment: (store, token) => store.increment(token, "pageViews"),
  take: (store, token) => store.take(token, "code"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, 60),
  rotate: (store, token) => store.rotate(token, { authenticated: true }),
};

/** Checks that a request that reads and changes the session is anonymous, succeeds and sets no cookie. */
async function expectAnonymous(store: Store, token: string): Promise<void> {
  const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${token}`), async (session) => {
    expect(await session.get()).toBeNull();
    expect(await session.update(() => ({ code: "x" }))).toBeNull();
    return new Response("served");
  });
  expect(response.status).toBe(200);
  expect(response.headers.getSetCookie()).toEqual([]);
}

/** Checks that a read reports the record as invalid, that a request is anonymous, and that the record stays. */
async function expectUnreadable(
  token: string,
  path: readonly PropertyKey[],
  what = "",
  options: object = {},
): Promise<void> {
  const { store, events } = open(options);
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

/** Checks that no session exists for any operation, and that nothing is created or changed. */
async function expectAbsent(token: string, what = ""): Promise<void> {
  const { store, events } = open();
  const before = await stateOf(keyOf(token));
  for (const [use, act] of Object.entries({ ...looks, ...changes })) {
    expect(await act(store, token), `${what} ${use}`).toBeNull();
  }
  await expectAnonymous(store, token);
  expect(await stateOf(keyOf(token)), what).toEqual(before);
  expect(
    events.filter(({ type }) => type !== "reused" && type !== "wrong-secret"),
    what,
  ).toEqual([]);
}

describe("the key of a session", () => {
  const others: Readonly<Record<string, (key: string) => Promise<unknown>>> = {
    string: (key) => client.set(key, "text"),
    list: (key) => client.rPush(key, ["a", "b"]),
    set: (key) => client.sAdd(key, ["a", "b"]),
    "sorted set": (key) => client.zAdd(key, { score: 1, value: "a" }),
    stream: (key) => client.xAdd(key, "*", { name: "a" }),
  };
  for (const [type, write] of Object.entries(others)) {
    test(`S-01 a key of the type ${type} is reported as invalid, never written and never deleted`, async () => {
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

  test("S-05 a hash without a required field or the token hash is not a session, and defaults do not fill these in", async () => {
    for (const field of ["created_at", "last_accessed_at", "session_ttl", "session_verifier"]) {
      await expectAbsent(await planted((key) => client.hDel(key, field)), field);
    }
  });

  test("S-19 S-20 a record that was copied to another key is invalid for the token of that key", async () => {
    const { store } = open();
    const theirs = await store.create({ userId: "eve" });
    const token = await planted((key) => client.copy(prefix + theirs.session.id, key, { REPLACE: true }));
    await expectAbsent(token);
    const elsewhere = open({ backend: redisBackend(client, { prefix: `${prefix}other:` }) });
    const other = await elsewhere.store.create({ userId: "eve" });
    await expectAbsent(
      await planted((key) => client.copy(`${prefix}other:${other.session.id}`, key, { REPLACE: true })),
    );
    // Not so with `plainIds`, where no token hash is stored: whoever can write to Redis can copy sessions.
  });

  test("S-24 a session that Redis evicts during a request is absent for the rest of it and is not created again", async () => {
    const { store } = open();
    const { token } = await store.create({ userId: "andrew" });
    const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${token}`), async (session) => {
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

describe("a stored field that cannot be read", () => {
  const wrong = ["", "null", "true", '"str"', "{}", " ", "undefined"];

  test("S-02 a field that holds JSON of another type than the schema's is reported as invalid", async () => {
    for (const text of [...wrong, "5", "[5]", "[{}]"])
      await expectUnreadable(await withFields({ cart: text }), ["cart"]);
    for (const text of [...wrong, "[]", '"5"', "5.5"]) {
      await expectUnreadable(await withFields({ pageViews: text }), ["pageViews"], text);
    }
  });

  test("S-03 a field that does not hold exactly one JSON text is reported as invalid", async () => {
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

  test("S-04 a JSON field that holds bytes other than UTF-8 is reported as invalid", async () => {
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

  test("S-04 a string field with invalid UTF-8 is read with replacement characters, and its bytes stay unchanged", async () => {
    const bytes = Buffer.of(0x61, 0xff, 0xfe);
    const token = await withFields({ userId: bytes });
    const { store } = open();
    expect((await store.get(token))?.data.userId).toBe("a\ufffd\ufffd");
    await store.update(token, { code: "x" });
    await store.update(token, ({ pageViews }) => ({ pageViews: pageViews + 1 })).catch(() => {});
    expect(await client.sendCommand(["HSTRLEN", keyOf(token), "userId"])).toBe(bytes.length);
  });

  test("S-09 a session that no longer fits the schema makes a request anonymous, and its record stays", async () => {
    const token = await withFields({ code: "x".repeat(101) });
    await expectUnreadable(token, ["code"]);
    expect(await open().store.destroy(token)).toBe(true);
  });

  test("S-16 a field of 32 MB is rejected within seconds if the schema limits its length", async () => {
    const since = performance.now();
    for (const megabytes of [1, 32]) {
      const token = await withFields({ code: "x".repeat(megabytes * 2 ** 20) });
      await expectUnreadable(token, ["code"], "", { maxBytes: 2 ** 26 });
    }
    expect(performance.now() - since).toBeLessThan(10_000);
  });

  test("S-16 a field of 32 MB is rejected by the store's own limit of 64 KiB", async () => {
    await expectUnreadable(await withFields({ code: "x".repeat(32 * 2 ** 20) }), []);
  });

  test("S-17 a field with JSON nested 200,000 levels deep is reported as invalid and does not crash the process", async () => {
    const deep = "[".repeat(200_000) + "]".repeat(200_000);
    for (const field of ["extra", "cart", "pageViews"]) {
      await expectUnreadable(await withFields({ [field]: deep }), [field], field, { maxBytes: 2 ** 20 });
    }
  });

  test("S-18 fields that name or contain a prototype do not pollute any prototype", async () => {
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

  test("S-18 the last of duplicate JSON keys counts, and a number that is too large is reported as invalid", async () => {
    const { store } = open();
    const twice = await withFields({ cart: '[{"sku":"a","sku":"b","n":1}]' });
    expect((await store.get(twice))?.data.cart).toEqual([{ sku: "b", n: 1 }]);
    for (const text of ["1e400", "-1e400", "12345678901234567890"]) {
      await expectUnreadable(await withFields({ pageViews: text }), ["pageViews"], text);
    }
  });

  test("S-26 a missing field is not read from a polluted Object.prototype", async () => {
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

describe("a reserved field that cannot be read", () => {
  test("S-06 S-18 a session whose deadline cannot be read is reported as invalid, and only destroy works", async () => {
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

  test("S-06 a session whose deadline is in the past has expired, and one in the far future still has its idle timeout", async () => {
    const { store } = open();
    const past = await withFields({ session_deadline: String(Date.now() - DAY_MS) });
    expect(await store.peek(past)).toBeNull();
    expect(await store.get(past)).toBeNull();
    const far = await withFields({ session_deadline: "9".repeat(15) });
    expect(await store.get(far)).not.toBeNull();
    expect(await client.pTTL(keyOf(far))).toBeLessThanOrEqual(IDLE * 1000);
  });

  test("S-06 an unreadable idle timeout is replaced by the key's remaining time, and unreadable timestamps are ignored", async () => {
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

  test("S-07 S-11 fields of a newer version of the library stay unchanged, and data that it cannot read makes a request anonymous", async () => {
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

  test("S-25 S-22 a former token is invalid if its grace period cannot be read, and after a second rotation", async () => {
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
    // Only the last former token is stored, not those before it.
    const second = await store.rotate(token, { grace: 60 });
    await store.rotate(second?.token as string, { grace: 60 });
    expect(await store.get(token)).toBeNull();
  });

  // There are no epochs (S-22) and no references between records (S-25): tombstones and former tokens come closest.
  test("S-22 a tombstone of a revoked session is not a session, and no operation makes it one", async () => {
    const token = await planted(async (key) => [await client.del(key), await client.hSet(key, "session_revoked", "x")]);
    await expectAbsent(token);
    expect(await open().store.destroy(token)).toBe(false);
    expect(await client.hGetAll(keyOf(token))).toEqual({ session_revoked: "x" });
  });
});

describe("two versions of an application on the same sessions", () => {
  const older = z.object({ userId: z.string(), pageViews: z.int().default(0) });
  const newer = older.extend({ theme: z.string().default("light"), tags: z.array(z.string()).default(() => []) });

  test("S-10 an older and a newer version that take turns lose none of each other's fields", async () => {
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

  test("S-08 S-09 the newer version migrates a session of the older one, and stores the result once", async () => {
    const renamed = z.object({ user: z.object({ name: z.string() }) });
    const old = createSessionStore({ schema: older, backend });
    const { token } = await old.create({ userId: "andrew" });
    const before = await stateOf(keyOf(token));
    let calls = 0;
    const now = createSessionStore({
      schema: renamed,
      backend,
      version: 2,
      migrations: {
        1: {
          from: older,
          to({ userId }) {
            calls++;
            return { user: { name: userId } };
          },
        },
      },
    });
    expect((await now.peek(token))?.data).toEqual({ user: { name: "andrew" } });
    expect(await stateOf(keyOf(token))).toEqual(before);
    for (let time = 0; time < 3; time++) expect((await now.get(token))?.data).toEqual({ user: { name: "andrew" } });
    expect(calls).toBe(2);
    expect(await client.hGetAll(keyOf(token))).toMatchObject({ user: '{"name":"andrew"}', userId: "andrew" });
  });

  test("S-09 a migration whose result does not fit the schema is reported as invalid, and the record stays", async () => {
    const old = createSessionStore({ schema: older, backend });
    const { token } = await old.create({ userId: "andrew" });
    const before = await stateOf(keyOf(token));
    for (const to of [
      () => ({ user: 5 }),
      () => null,
      () => {
        throw new Error("no");
      },
    ]) {
      const migrations = { 1: { from: older, to: to as never } };
      const now = createSessionStore({ schema: z.object({ user: z.string() }), backend, version: 2, migrations });
      await expect(now.get(token)).rejects.toMatchObject({ name: "SessionDataError", origin: "stored" });
    }
    expect(await stateOf(keyOf(token))).toEqual(before);
  });
});

describe("a changed expiry of a session's key", () => {
  const left = (token: string): Promise<number> => client.pTTL(keyOf(token));

  test("S-12 a session whose key lost its expiry gets one again with the next touch", async () => {
    const { store } = open({ touchInterval: 0 });
    const token = await planted((key) => client.persist(key));
    expect(await store.peek(token)).not.toBeNull();
    expect(await left(token)).toBe(-1);
    expect(await store.get(token)).not.toBeNull();
    expect(await left(token)).toBeGreaterThan(0);
    expect(await left(token)).toBeLessThanOrEqual(IDLE * 1000);
  });

  test("S-13 a session whose key lost its expiry has still expired after its deadline", async () => {
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

  test("S-14 a key that would outlive the session's deadline is shortened by the next touch", async () => {
    const { store } = open({ touchInterval: 0 });
    const token = await withFields({ session_deadline: String(Date.now() + 90_000) });
    await client.pExpire(keyOf(token), 10 * DAY_MS);
    expect((await store.get(token))?.expiresAt.getTime()).toBeLessThanOrEqual(Date.now() + 90_000);
    expect(await left(token)).toBeLessThanOrEqual(90_000);
  });

  test("S-15 a key whose expiry was shortened is not extended by a peek, and by get only up to the idle timeout", async () => {
    const { store } = open();
    const token = await planted((key) => client.pExpire(key, 5000));
    await store.peek(token);
    expect(await left(token)).toBeLessThanOrEqual(5000);
    await store.get(token);
    expect(await left(token)).toBeLessThanOrEqual(IDLE * 1000);
  });
});

describe("a damaged index", () => {
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

  test("S-21 every operation on an index key of another Redis type rejects, and does not report an empty list", async () => {
    const { store, index, on } = listed();
    const { token } = await store.create({ userId: "42" });
    await client.del(index);
    await client.set(index, "text");
    const uses = {
      list: () => allListed(store, by),
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

  test("S-21 list ignores thousands of stale members, members that are not IDs and sessions of other users", async () => {
    const { store, index } = listed();
    const { session } = await store.create({ userId: "42" });
    const foreign = await store.create({ userId: "43" });
    const old = (Date.now() - DAY_MS) * 1000;
    const dead = Array.from({ length: 3000 }, (_, at) => ({ score: old + at, value: `dead-${at}` }));
    await client.zAdd(index, [...dead, { score: old - 1, value: foreign.session.id }, { score: old - 2, value: "" }]);
    expect((await allListed(store, by)).map(({ id }) => id)).toEqual([session.id]);
    await expect.poll(() => client.zCard(index), { timeout: 10_000 }).toBeLessThan(5);
    expect(await store.count(by)).toBe(1);
    expect(await store.revokeAll(by)).toBe(1);
    expect(await store.peek(foreign.token)).not.toBeNull();
    // An index never lacks a live session: a session is added to it before the session itself is written.
  });

  test("S-21 a session whose session_index cannot be read is neither listed nor ended by its index, and stays valid", async () => {
    const { store, own } = listed();
    for (const text of ["", "null", "5", "{}", '["user:42"', "\ufffd", '[["user:42"]]']) {
      const { token, session } = await store.create({ userId: "42" });
      await client.hSet(own + session.id, "session_index", text);
      expect(await allListed(store, by), text).toEqual([]);
      expect(await store.revokeAll(by), text).toBe(0);
      expect(await store.get(token), text).not.toBeNull();
      expect(await store.destroy(token), text).toBe(true);
    }
  });

  test("S-23 the store touches no other keys, and no operation of a request lists or scans keys", async () => {
    await onGrounds({}, async ({ admin, client: own }) => {
      const on = redisBackend(own, { prefix: "s:" });
      const store = createSessionStore({ schema, backend: on, indexes: { user: "userId" } });
      const foreign = ["s:bar", `s:${"x".repeat(22)}`];
      await admin.set("s:foo", "text");
      for (const key of foreign) await admin.hSet(key, "name", "x");
      await admin.configResetStat();
      const { token, session } = await store.create({ userId: "42" });
      for (const act of Object.values({ ...looks, ...changes })) await act(store as never, token);
      await allListed(store, by);
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
