import { createClient } from "redis";
import { describe, expect, inject, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, SessionDataError, sessionCookie } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import guides from "../interop/guide-sessions.json" with { type: "json" };
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";

const { backend, client, prefix } = await ownBackend();
const wait = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const RESERVED = ["created_at", "last_accessed_at", "session_ttl"] as const;

/** The data of the sessions in Redis's guides. Each language writes booleans, null and fractions in its own way. */
const visit = z.object({
  username: z.string(),
  page_views: z.int(),
  flag: z.stringbool().optional(),
  nil: z.string().optional(),
  f: z.number().optional(),
});
const shared = createSessionStore({
  schema: visit,
  backend,
  plainIds: true,
  absoluteTimeout: "none",
  touchInterval: 0,
});

type Hash = Record<string, string>;
const hashOf = async (id: string): Promise<Hash> => ({ ...(await client.hGetAll(prefix + id)) });
const now = (): string => new Date().toISOString().replace(/\.\d+Z$/, "+00:00");
const newId = (): string => (crypto.randomUUID() + crypto.randomUUID()).replaceAll("-", "_").slice(0, 43);

/** Stores a session as the programs of the guides do. */
async function guideSession(fields: Hash = {}, seconds = 500): Promise<string> {
  const id = newId();
  const hash = { created_at: now(), last_accessed_at: now(), session_ttl: String(seconds), ...fields };
  await client.hSet(prefix + id, { username: "andrew", page_views: "1", ...hash });
  await client.expire(prefix + id, seconds);
  return id;
}

/** Changes a session as the programs of the guides do: unconditionally, and with the idle timeout as the only expiry. */
async function guideUpdate(id: string, fields: Hash): Promise<void> {
  await client.hSet(prefix + id, { ...fields, last_accessed_at: now() });
  await client.expire(prefix + id, Number(await client.hGet(prefix + id, "session_ttl")));
}

/** Checks that the programs of the guides accept the hash as a session, with these fields. */
async function expectGuideSession(id: string, fields: Hash, seconds: number): Promise<void> {
  const { created_at, last_accessed_at, session_ttl, ...rest } = await hashOf(id);
  expect(Date.parse(created_at ?? "")).not.toBeNaN();
  expect(Date.parse(last_accessed_at ?? "")).not.toBeNaN();
  expect(session_ttl).toBe(String(seconds));
  expect(rest).toEqual(fields);
  const left = await client.pTTL(prefix + id);
  expect(left).toBeGreaterThan(seconds * 1000 - 10_000);
  expect(left).toBeLessThanOrEqual(seconds * 1000);
}

describe("sessions stored by the programs of Redis's session guides", () => {
  for (const { guide, key, hash, ttl } of guides.sessions) {
    const { created_at, last_accessed_at: _, session_ttl: __, ...fields } = hash as Hash;

    /** Stored anew for each test. */
    async function stored(): Promise<string> {
      const id = key.slice("session:".length);
      await client.del(prefix + id);
      await client.hSet(prefix + id, hash);
      await client.expire(prefix + id, ttl);
      return id;
    }

    test(`the store reads a session from the ${guide} guide`, async () => {
      const session = await shared.peek(await stored());
      expect(session?.data).toEqual({
        username: fields["username"],
        page_views: 1,
        ...("flag" in fields ? { flag: true } : {}),
        ...("nil" in fields ? { nil: fields["nil"] } : {}),
        ...("f" in fields ? { f: 1 } : {}),
      });
      expect(session?.createdAt.toISOString()).toBe(new Date(created_at as string).toISOString());
      expect(session).toMatchObject({ idleTimeout: 500, deadline: null });
    });

    const operations: Record<string, [(id: string) => Promise<unknown>, Hash, number?]> = {
      get: [(id) => shared.get(id), {}],
      peek: [(id) => shared.peek(id), {}],
      update: [(id) => shared.update(id, { username: "b\n'é" }), { username: "b\n'é" }],
      "update with a function": [
        (id) => shared.update(id, (old) => ({ page_views: old.page_views + 4 })),
        { page_views: "5" },
      ],
      "update with an empty patch": [(id) => shared.update(id, {}), {}],
      increment: [(id) => shared.increment(id, "page_views", 41), { page_views: "42" }],
      setIdleTimeout: [(id) => shared.setIdleTimeout(id, 900), {}, 900],
    };
    for (const [operation, [act, changed, seconds = 500]] of Object.entries(operations)) {
      test(`the ${guide} guide's program can still read its session after ${operation}`, async () => {
        const id = await stored();
        expect(await act(id)).not.toBeNull();
        await expectGuideSession(id, { ...fields, ...changed }, seconds);
      });
    }

    test(`the ${guide} guide's program can still read its session after take`, async () => {
      const id = await stored();
      const { nil, ...rest } = fields;
      expect(await shared.take(id, "nil")).toBe(nil ?? null);
      await expectGuideSession(id, rest, 500);
    });

    test(`destroy deletes a session from the ${guide} guide`, async () => {
      const id = await stored();
      expect(await shared.destroy(id)).toBe(true);
      expect(await client.exists(prefix + id)).toBe(0);
    });
  }

  test("the guides' programs and the store can read and update each other's sessions", async () => {
    const { token } = await shared.create({ username: "andrew", page_views: 1, flag: true }, { idleTimeout: 60 });
    await expectGuideSession(token, { username: "andrew", page_views: "1", flag: "true" }, 60);
    await guideUpdate(token, { page_views: "7" });
    expect((await shared.get(token))?.data.page_views).toBe(7);
  });
});

describe("the session hash in Redis", () => {
  const schema = z.object({ username: z.string(), pageViews: z.int(), cart: z.array(z.object({ sku: z.string() })) });
  const data = { username: "andrew", pageViews: 3, cart: [{ sku: "a" }] };
  const text = { username: "andrew", pageViews: "3", cart: '[{"sku":"a"}]' };
  const verifier = expect.stringMatching(/^[A-Za-z0-9_-]{43}$/);
  const stamps = (at: Date) => ({ created_at: at.toISOString(), last_accessed_at: at.toISOString() });

  test("a new session is stored as its data, the guides' three fields and the token hash", async () => {
    const store = createSessionStore({ schema, backend, absoluteTimeout: "none" });
    const { session } = await store.create(data);
    expect(await hashOf(session.id)).toEqual({
      ...text,
      ...stamps(session.createdAt),
      session_ttl: "1800",
      session_verifier: verifier,
    });
    expect(session.createdAt.toISOString()).toMatch(RFC_3339);
  });

  test("an absolute timeout is stored as a deadline in Unix milliseconds", async () => {
    const store = createSessionStore({ schema, backend, idleTimeout: 60, absoluteTimeout: 3600 });
    const { session } = await store.create(data);
    expect(await hashOf(session.id)).toEqual({
      ...text,
      ...stamps(session.createdAt),
      session_ttl: "60",
      session_deadline: String(session.createdAt.getTime() + 3_600_000),
      session_verifier: verifier,
    });
    expect(session.deadline?.getTime()).toBe(session.createdAt.getTime() + 3_600_000);
  });

  test("a rotation stores the former token hash, the end of the grace period and the login time, if there are any", async () => {
    const store = createSessionStore({ schema, backend, absoluteTimeout: "none" });
    const { session, token } = await store.create(data);
    const { session_verifier: first } = await hashOf(session.id);
    const rotated = await store.rotate(token, { grace: 10 });
    const { session_verifier: second, session_grace: grace, ...rest } = await hashOf(session.id);
    expect(rest).toMatchObject({ ...text, session_previous: first });
    expect(Object.keys(rest).sort()).toEqual(
      [...Object.keys(text), ...RESERVED, "session_previous", "session_rotated_at"].sort(),
    );
    expect(rest["session_rotated_at"]).toMatch(RFC_3339);
    expect(Number(grace)).toBeGreaterThan(Date.now());
    expect(second).not.toBe(first);
    await store.rotate(rotated?.token as string, { authenticated: true });
    const after = await hashOf(session.id);
    expect(after["session_authenticated_at"]).toMatch(RFC_3339);
    expect(after["session_previous"]).toBe(second);
    expect(after).not.toHaveProperty("session_grace");
  });

  test("a session of a store with plainIds has no token hash", async () => {
    const { token } = await shared.create({ username: "andrew", page_views: 1 });
    expect(Object.keys(await hashOf(token)).sort()).toEqual(["username", "page_views", ...RESERVED].sort());
  });
});

describe("compatibility with the session format of Redis's guides", () => {
  test("R1 a key is the prefix and an ID of 43 characters, and a token of another form never reaches Redis", async () => {
    const { token } = await shared.create({ username: "andrew", page_views: 1 });
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(await client.exists(prefix + token)).toBe(1);
    const offline = createSessionStore({
      schema: visit,
      backend: redisBackend(createClient({ url: inject("redisUrl") })),
      plainIds: true,
    });
    await expect(offline.get(token)).rejects.toThrow("The Redis client is closed");
    for (const other of [
      "",
      "*",
      token.slice(1),
      `${token}A`,
      `${token.slice(1)}*`,
      `${token.slice(1)}:`,
      `${token}\n`,
    ]) {
      expect(await offline.get(other)).toBeNull();
      expect(await offline.destroy(other)).toBe(false);
    }
  });

  test("R2 timestamps are written in RFC 3339, read in the formats of every guide, and read as 0 if they are invalid", async () => {
    const id = await guideSession();
    await shared.get(id);
    expect((await hashOf(id))["last_accessed_at"]).toMatch(RFC_3339);
    const instant = Date.parse("2026-11-20T17:55:26Z");
    const forms: Record<string, number> = {
      "2026-11-20T17:55:26Z": instant,
      "2026-11-20T17:55:26+00:00": instant,
      "2026-11-20T19:55:26+02:00": instant,
      "2026-11-20T17:55:26.123Z": instant + 123,
      "2026-11-20T17:55:26.123456+00:00": instant + 123,
      "1775133240000": 0,
      "": 0,
      yesterday: 0,
    };
    for (const [form, time] of Object.entries(forms)) {
      const session = await shared.peek(await guideSession({ created_at: form, last_accessed_at: form }));
      expect(session?.createdAt.getTime(), form).toBe(time);
      expect(session?.lastAccessedAt.getTime(), form).toBe(time);
    }
  });

  test("R3 session_ttl is an integer from 1 to 2147483647, and the key's remaining time replaces any other value", async () => {
    for (const seconds of [1800, 1, 2_147_483_647]) {
      const { token } = await shared.create({ username: "andrew", page_views: 1 }, { idleTimeout: `${seconds}s` });
      expect((await hashOf(token))["session_ttl"]).toBe(String(seconds));
    }
    const { token } = await shared.create({ username: "andrew", page_views: 1 });
    for (const seconds of [0, -1, 1.5, 2_147_483_648]) {
      await expect(shared.setIdleTimeout(token, seconds)).rejects.toThrow(RangeError);
    }
    for (const stored of ["0", "010", "+5", "-5", "5e2", " 500", "500s", "", "2147483648"]) {
      const id = await guideSession({ session_ttl: stored }, 500);
      expect((await shared.get(id))?.idleTimeout, stored).toBe(500);
      await expectGuideSession(id, { username: "andrew", page_views: "1" }, 500);
    }
  });

  test("R4 a hash that lacks one of the three required fields is not a session: only destroy changes it", async () => {
    for (const field of RESERVED) {
      const id = await guideSession();
      await client.hDel(prefix + id, field);
      const before = await hashOf(id);
      const answers = [
        await shared.get(id),
        await shared.peek(id),
        await shared.update(id, { username: "eve" }),
        await shared.update(id, () => ({ username: "eve" })),
        await shared.increment(id, "page_views"),
        await shared.take(id, "nil"),
        await shared.setIdleTimeout(id, 900),
      ];
      expect(new Set(answers)).toEqual(new Set([null]));
      expect(await hashOf(id)).toEqual(before);
      expect(await client.ttl(prefix + id)).toBeLessThanOrEqual(500);
      await shared.destroy(id);
      expect(await client.exists(prefix + id)).toBe(0);
    }
  });

  test("R5 strings are stored unchanged and other values as JSON, and the schema decides how a value is read", async () => {
    const schema = z.object({
      text: z.string(),
      like: z.enum(["1", "true", "null"]),
      count: z.int(),
      share: z.number(),
      on: z.boolean(),
      none: z.string().nullable(),
      list: z.array(z.string()),
      at: z.codec(z.iso.datetime(), z.date(), { decode: (iso) => new Date(iso), encode: (date) => date.toISOString() }),
    });
    const store = createSessionStore({ schema, backend, plainIds: true, absoluteTimeout: "none" });
    const at = new Date("2026-11-20T17:55:26.000Z");
    const data = { text: '"q" 1', like: "1", count: -7, share: 0.1, on: false, none: null, list: ["a"], at } as const;
    const { token } = await store.create({ ...data, list: ["a"] });
    expect(await hashOf(token)).toMatchObject({
      text: '"q" 1',
      like: "1",
      count: "-7",
      share: "0.1",
      on: "false",
      none: "null",
      list: '["a"]',
      at: "2026-11-20T17:55:26.000Z",
    });
    expect(await client.hIncrBy(prefix + token, "count", 10)).toBe(3);
    await guideUpdate(token, { text: "null", on: "true", like: "null" });
    expect((await store.get(token))?.data).toEqual({ ...data, text: "null", like: "null", count: 3, on: true });
    await guideUpdate(token, { on: "True" });
    await expect(store.get(token)).rejects.toThrow(SessionDataError);
  });

  test("R6 fields that begin with session_ are not data: a schema cannot declare them, and updates leave them unchanged", async () => {
    const id = await guideSession({ session_note: "of a later version", stranger: "kept" });
    expect(Object.keys((await shared.get(id))?.data ?? {})).toEqual(["username", "page_views"]);
    await shared.update(id, { page_views: 2 });
    await shared.setIdleTimeout(id, 900);
    expect(await hashOf(id)).toMatchObject({ session_note: "of a later version", stranger: "kept", page_views: "2" });
    for (const name of [...RESERVED, "session_note", "session_"]) {
      expect(() => createSessionStore({ schema: z.object({ [name]: z.string() }), backend })).toThrow("reserved");
    }
  });

  test("R7 a session ends at its deadline even if a program of the guides sets a later expiry on the key", async () => {
    const { backend, clock } = await redisWithClock(client, prefix);
    const store = createSessionStore({ schema: visit, backend, plainIds: true, absoluteTimeout: 3600, now: clock.now });
    const { token } = await store.create({ username: "andrew", page_views: 1 });
    await client.persist(prefix + token);
    await clock.advance(3590);
    await guideUpdate(token, { page_views: "2" });
    expect(await client.ttl(prefix + token)).toBeGreaterThan(1700);
    expect((await store.get(token))?.data.page_views).toBe(2);
    expect(await client.ttl(prefix + token)).toBeLessThanOrEqual(10);
    await guideUpdate(token, { page_views: "3" });
    await client.persist(prefix + token);
    await clock.advance(10);
    await guideUpdate(token, { page_views: "3" });
    expect(await client.ttl(prefix + token)).toBeGreaterThan(1700);
    expect(await store.peek(token)).toBeNull();
    expect(await store.get(token)).toBeNull();
    expect(await store.update(token, { page_views: 4 })).toBeNull();
  });

  test("R8 an update by function is retried after a concurrent change to its fields, and not to other fields", async () => {
    const id = await guideSession({ stranger: "1" });
    const meanwhile: (() => Promise<void>)[] = [
      () => guideUpdate(id, { page_views: "10" }),
      () => guideUpdate(id, { stranger: "2" }),
    ];
    const racing = createSessionStore({
      schema: visit,
      backend: {
        ...backend,
        async write(key, access, change) {
          await meanwhile.shift()?.();
          return await backend.write(key, access, change);
        },
      },
      plainIds: true,
      absoluteTimeout: "none",
    });
    const seen: number[] = [];
    await racing.update(id, ({ page_views }) => {
      seen.push(page_views);
      return { page_views: page_views + 1 };
    });
    expect(seen).toEqual([1, 10]);
    expect(await hashOf(id)).toMatchObject({ page_views: "11", stranger: "2" });
  });

  test("R9 a key without an expiry gets one on get, and a session whose key was made to expire earlier has expired", async () => {
    const eternal = await guideSession();
    await client.persist(prefix + eternal);
    expect(await shared.peek(eternal)).not.toBeNull();
    expect(await shared.get(eternal)).not.toBeNull();
    await expectGuideSession(eternal, { username: "andrew", page_views: "1" }, 500);
    const short = await guideSession();
    await client.pExpire(prefix + short, 50);
    await wait(100);
    expect(await shared.get(short)).toBeNull();
  });

  test("R10 expiresAt is the end of the idle timeout, or the deadline if that is earlier", async () => {
    const id = await guideSession();
    const session = await shared.get(id);
    const left = (session?.expiresAt.getTime() ?? 0) - (session?.lastAccessedAt.getTime() ?? 0);
    expect(left).toBe(500_000);
    await shared.destroy(id);
    expect(await shared.get(id)).toBeNull();
    const until = await shared.create({ username: "andrew", page_views: 1 }, { idleTimeout: 60, absoluteTimeout: 60 });
    expect(until.session.expiresAt).toEqual(until.session.deadline);
  });

  test("R11 increment rejects reserved fields, values that are not integers and unsafe sums, and changes nothing", async () => {
    for (const name of [...RESERVED, "session_deadline", "stranger", "username"]) {
      const id = await guideSession({ stranger: "1" });
      const before = await hashOf(id);
      await expect(shared.increment(id, name as "page_views"), name).rejects.toThrow(TypeError);
      expect(await hashOf(id)).toEqual(before);
    }
    for (const stored of ["1.5", "1e3", "", " 1", "many", "9007199254740991", "9007199254740993", "None"]) {
      const id = await guideSession({ page_views: stored });
      const before = await hashOf(id);
      await client.expire(prefix + id, 100);
      await expect(shared.increment(id, "page_views"), stored).rejects.toThrow(SessionDataError);
      expect(await hashOf(id), stored).toEqual(before);
      expect(await client.ttl(prefix + id), stored).toBeLessThanOrEqual(100);
    }
    const id = await guideSession();
    await client.expire(prefix + id, 100);
    for (const by of [1.5, Number.NaN, 2 ** 53])
      await expect(shared.increment(id, "page_views", by)).rejects.toThrow(RangeError);
    expect(await shared.increment(id, "page_views", -3)).toBe(-2);
    await expectGuideSession(id, { username: "andrew", page_views: "-2" }, 500);
  });

  test("R12 a store with plainIds rejects tokens of a store without it and vice versa, and cannot rotate", async () => {
    const bare = await shared.create({ username: "andrew", page_views: 1 });
    const cookie = sessionCookie({ secure: false });
    expect(cookie.name).toBe("sid");
    expect(cookie.read(`sid=${bare.token}`)).toBe(bare.token);
    expect(bare.session.id).not.toBe(bare.token);
    const own = createSessionStore({ schema: visit, backend, absoluteTimeout: "none" });
    const { token, session } = await own.create({ username: "andrew", page_views: 1 });
    const [id, secret] = token.split(".");
    expect(id).toBe(session.id);
    expect(Object.values(await hashOf(session.id)).join("\n")).not.toContain(secret);
    expect(await own.peek(bare.token)).toBeNull();
    expect(await shared.peek(token)).toBeNull();
    await expect(shared.rotate(bare.token)).rejects.toThrow(TypeError);
  });

  test("R13 any name that is not reserved works as a field, and __proto__ never changes a prototype", async () => {
    for (const name of ["", "__proto__"]) {
      const shape = Object.fromEntries([[name, z.string()]]);
      expect(() => createSessionStore({ schema: z.object(shape), backend })).toThrow(TypeError);
    }
    const names = ["constructor", "toString", "length", "0", "prototype", "a b", "é"];
    const schema = z.object(Object.fromEntries(names.map((name) => [name, z.string().optional()])));
    const options = { schema, backend, plainIds: true };
    for (const store of [
      createSessionStore(options),
      createSessionStore({ ...options, version: 2, migrations: { 1: { from: schema, to: (data) => data } } }),
    ]) {
      const { token } = await store.create({});
      await client.hSet(prefix + token, "__proto__", "polluted");
      expect((await store.get(token))?.data).toEqual({});
      await store.update(token, Object.fromEntries(names.map((name) => [name, name])));
      const session = await store.peek(token);
      expect(names.filter((name) => !Object.hasOwn(session?.data ?? {}, name))).toEqual([]);
      expect(Object.keys(await hashOf(token))).toEqual(expect.arrayContaining(names));
      for (const name of names) expect(await store.take(token, name)).toBe(name);
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test("R14 an empty update extends the session and changes no data", async () => {
    const id = await guideSession({ last_accessed_at: "2026-01-01T00:00:00Z" });
    await client.expire(prefix + id, 100);
    const { last_accessed_at: _, ...before } = await hashOf(id);
    expect(await shared.update(id, {})).not.toBeNull();
    const { last_accessed_at: stamp, ...after } = await hashOf(id);
    expect(after).toEqual(before);
    expect(Date.parse(stamp ?? "")).toBeGreaterThan(Date.now() - 10_000);
    expect(await client.ttl(prefix + id)).toBeGreaterThan(400);
    expect(await shared.update(newId(), {})).toBeNull();
  });

  test("R15 destroy returns true for a session, and deletes a hash that is not a session but returns false", async () => {
    const zombie = newId();
    await client.hSet(prefix + zombie, { last_accessed_at: now(), page_views: "2" });
    expect(await shared.destroy(zombie)).toBe(false);
    expect(await client.exists(prefix + zombie)).toBe(0);
    const id = await guideSession();
    expect(await shared.destroy(id)).toBe(true);
    expect(await shared.destroy(id)).toBe(false);
  });

  test("R16 a session expires at the same time in memory and in Redis, and expiresAt states that time", async () => {
    const onMemory = createSessionStore({
      schema: visit,
      backend: memoryBackend(),
      plainIds: true,
      absoluteTimeout: "none",
    });
    const stores = [shared, onMemory];
    const data = { username: "andrew", page_views: 1 };
    const since = Date.now();
    const created = await Promise.all(stores.map((store) => store.create(data, { idleTimeout: 2 })));
    const end = Date.now() + (await client.pTTL(prefix + (created[0]?.token as string)));
    const took = Date.now() - since;
    for (const { session } of created)
      expect(Math.abs(end - session.expiresAt.getTime())).toBeLessThanOrEqual(took + 2);
    await Promise.all(
      stores.map(async (store, at) => {
        for (;;) {
          const asked = Date.now();
          const session = await store.peek(created[at]?.token as string);
          if (session === null) break;
          expect(asked).toBeLessThanOrEqual(end + took + 2);
          await wait(20);
        }
        expect(Date.now()).toBeGreaterThanOrEqual(end - took - 2);
      }),
    );
  });
});
