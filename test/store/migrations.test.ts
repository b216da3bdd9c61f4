import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import {
  createSessionStore,
  memoryBackend,
  type SessionBackend,
  SessionBackendError,
  type SessionEvent,
} from "../../src/index.ts";
import { intercept } from "../support/backends.ts";
import { idle } from "../support/gate.ts";
import { failureOf, plant, rawOf } from "../support/stored.ts";
import { unhandledRejections } from "../support/unhandled.ts";
import { until } from "../support/until.ts";

const isoDate = z.codec(z.iso.datetime(), z.date(), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
});
const v1 = z.object({
  name: z.string(),
  visits: z.int().default(0),
  at: isoDate,
  legacy: z.array(z.string()).default(() => []),
  notice: z.string().optional(),
  code: z.string().optional(),
});
const v2 = z.object({
  first: z.string(),
  last: z.string().optional(),
  visits: z.int().default(0),
  at: isoDate,
  theme: z.string().default("dark"),
  flash: z.string().optional(),
  code: z.string().optional(),
});
type V1 = z.output<typeof v1>;

const split = ({ name, notice, ...rest }: V1) => {
  const [first = "", last] = name.split(" ");
  return { ...rest, first, last, flash: notice, theme: undefined };
};
const ADA = { name: "Ada Lovelace", visits: 3, at: new Date(0), legacy: ["x"], code: "c" };
const MIGRATED = { first: "Ada", last: "Lovelace", visits: 3, at: new Date(0), theme: "dark", code: "c" };
const TIMES = /^(created_at|last_accessed_at)$/;

/** A session of version 1, and stores of both versions. */
async function scene(to: (old: V1) => unknown = split, wrap = (backend: SessionBackend) => backend, data = ADA) {
  const backend = memoryBackend();
  const events: SessionEvent[] = [];
  const seen: unknown[] = [];
  const shared = { onEvent: (event: SessionEvent) => void events.push(event) };
  const before = createSessionStore({ ...shared, schema: v1, backend });
  const store = createSessionStore({
    ...shared,
    schema: v2,
    backend: wrap(backend),
    version: 2,
    migrations: {
      1: {
        from: v1,
        to(old) {
          seen.push(old);
          return to(old) as ReturnType<typeof split>;
        },
      },
    },
  });
  const { token, session } = await before.create(data);
  events.length = 0;
  return {
    backend,
    before,
    events,
    id: session.id,
    seen,
    shared,
    store,
    token,
    /** The stored fields without the times. */
    async stored() {
      const fields = Object.entries(await rawOf(backend, token));
      return Object.fromEntries(fields.filter(([name]) => !TIMES.test(name)));
    },
  };
}
type Scene = Awaited<ReturnType<typeof scene>>;

/** Runs a step once, just before the first compare-and-set reaches the backend. */
function beforeWrite(step: () => Promise<unknown>): (backend: SessionBackend) => SessionBackend {
  let todo: (() => Promise<unknown>) | null = step;
  return (backend) => ({
    ...backend,
    async write(key, access, change) {
      const now = change.expect === undefined ? null : todo;
      if (now !== null) todo = null;
      await now?.();
      return await backend.write(key, access, change);
    },
  });
}

describe("a session of an earlier version", () => {
  test("is migrated by its version although its data fits the present schema", async () => {
    const backend = memoryBackend();
    const cart = z.object({ userId: z.string().optional(), cart: z.array(z.string()).default(() => []) });
    const basket = z.object({ accountId: z.string().optional(), basket: z.array(z.string()).default(() => []) });
    const { token } = await createSessionStore({ schema: cart, backend }).create({ userId: "42", cart: ["a"] });
    const store = createSessionStore({
      schema: basket,
      backend,
      version: 2,
      migrations: { 1: { from: cart, to: ({ userId, cart }) => ({ accountId: userId, basket: cart }) } },
    });
    expect((await store.peek(token))?.data).toEqual({ accountId: "42", basket: ["a"] });
    expect((await store.get(token))?.data).toEqual({ accountId: "42", basket: ["a"] });
    expect((await store.update(token, { basket: ["b"] }))?.data).toEqual({ accountId: "42", basket: ["b"] });
  });

  test("is decoded by its schema, and the data is frozen", async () => {
    const { store, token, seen } = await scene();
    await store.get(token);
    expect(seen).toEqual([ADA]);
    expect(Object.isFrozen((seen[0] as V1).legacy)).toBe(true);
  });

  test("is stored by the first get, with the fields that only its schema names, and reported once", async () => {
    const { store, token, stored, seen, events, id } = await scene();
    expect((await store.get(token))?.data).toEqual(MIGRATED);
    expect(await stored()).toMatchObject({
      session_version: "2",
      first: "Ada",
      last: "Lovelace",
      visits: "3",
      theme: "dark",
      name: "Ada Lovelace",
      legacy: '["x"]',
    });
    for (let time = 0; time < 3; time++) expect((await store.get(token))?.data).toEqual(MIGRATED);
    expect(seen).toHaveLength(1);
    expect(events).toEqual([{ type: "migrated", id, at: expect.any(Date), version: 1 }]);
  });

  test("is returned by peek, scan and a wrong get without a write", async () => {
    const { store, token, stored, events } = await scene();
    const before = await stored();
    expect((await store.peek(token))?.data).toEqual(MIGRATED);
    for await (const session of store.scan()) expect(session.data).toEqual(MIGRATED);
    expect(await store.get(`${token.slice(0, -1)}~`)).toBeNull();
    expect(await stored()).toEqual(before);
    expect(events).toEqual([]);
  });

  test("keeps its ID, token and times", async () => {
    const { store, before, token } = await scene();
    const was = await before.peek(token);
    const kept = { id: was?.id, createdAt: was?.createdAt, idleTimeout: was?.idleTimeout, deadline: was?.deadline };
    expect(await store.get(token)).toMatchObject(kept);
    expect(await store.peek(token)).toMatchObject(kept);
  });

  test("loses a field of both schemas that the result lacks", async () => {
    const { store, token, stored } = await scene(({ code: _, ...rest }) => split(rest as V1));
    expect(await store.get(token)).not.toBeNull();
    expect(await stored()).not.toHaveProperty("code");
  });

  type Fields = Readonly<Record<string, string | null>>;
  /** Calls, their results (an object: any session), and what is stored then (`null`: no such field). */
  const changes: Readonly<Record<string, [(scene: Scene) => Promise<unknown>, result: unknown, fields: Fields]>> = {
    "an update": [({ store, token }) => store.update(token, { theme: "light" }), {}, { theme: "light", code: "c" }],
    "an update by a function": [
      ({ store, token }) => store.update(token, ({ first }) => ({ theme: first })),
      {},
      { theme: "Ada" },
    ],
    "an update of a field that the migration sets": [
      ({ store, token }) => store.update(token, { first: "Augusta" }),
      {},
      { first: "Augusta", last: "Lovelace" },
    ],
    "an update that removes a field that the migration sets": [
      ({ store, token }) => store.update(token, { last: undefined }),
      {},
      { last: null },
    ],
    "an increment": [({ store, token }) => store.increment(token, "visits"), 4, { visits: "4" }],
    "a take": [({ store, token }) => store.take(token, "last"), "Lovelace", { last: null }],
    "a take of an absent field": [({ store, token }) => store.take(token, "flash"), null, { flash: null }],
    "a rotate": [({ store, token }) => store.rotate(token), {}, {}],
    "a rotate with a patch": [
      ({ store, token }) => store.rotate(token, { patch: { theme: "light" } }),
      {},
      { theme: "light" },
    ],
    "a setIdleTimeout": [({ store, token }) => store.setIdleTimeout(token, "1m"), {}, { session_ttl: "60" }],
  };

  test.each(Object.entries(changes))("is migrated by %s", async (_, [change, result, fields]) => {
    const moved = await scene();
    const answer = await change(moved);
    if (result !== null && typeof result === "object") expect(answer).not.toBeNull();
    else expect(answer).toBe(result);
    const expected: Fields = { session_version: "2", first: "Ada", visits: "3", name: "Ada Lovelace", ...fields };
    const stored = await moved.stored();
    for (const [name, text] of Object.entries(expected)) expect(stored[name] ?? null, name).toBe(text);
    expect(moved.events.filter(({ type }) => type === "migrated")).toHaveLength(1);
  });

  test("is migrated by any of several calls at once, and none of their changes is lost", async () => {
    const { store, token, events } = await scene();
    await Promise.all([
      store.get(token),
      store.increment(token, "visits"),
      store.increment(token, "visits"),
      store.update(token, { theme: "light" }),
      store.update(token, ({ first }) => ({ first: `${first}!` })),
      store.take(token, "code"),
    ]);
    const { code: _, ...rest } = MIGRATED;
    expect((await store.get(token))?.data).toEqual({ ...rest, first: "Ada!", visits: 5, theme: "light" });
    expect(events.filter(({ type }) => type === "migrated")).toHaveLength(1);
  });

  test("is read again if it changes before the migrated data is written", async () => {
    let change = async (): Promise<unknown> => null;
    const wrap = beforeWrite(() => change());
    const { store, before, token, stored } = await scene(split, wrap);
    change = () => before.update(token, { name: "Grace Hopper", visits: 9 });
    expect((await store.update(token, { theme: "light" }))?.data).toMatchObject({ first: "Grace", visits: 9 });
    expect(await stored()).toMatchObject({ name: "Grace Hopper", first: "Grace", theme: "light" });
  });

  test("that changes while get migrates it is read again and stored", async () => {
    for (const patch of [{ name: "Grace Hopper" }, { legacy: ["y"] }]) {
      let change = async (): Promise<unknown> => null;
      const wrap = beforeWrite(() => change());
      const to = (old: V1) => ({ ...split(old), theme: old.legacy.join() });
      const { store, before, token, stored, events } = await scene(to, wrap);
      change = () => before.update(token, patch);
      const after = to({ ...ADA, ...patch });
      expect((await store.get(token))?.data).toMatchObject({ first: after.first, theme: after.theme });
      expect(await stored()).toHaveProperty("session_version", "2");
      expect(events.map(({ type }) => type)).toEqual(["migrated"]);
    }
  });

  test("that ended meanwhile does not come back", async () => {
    let change = async (): Promise<unknown> => null;
    const wrap = beforeWrite(() => change());
    const { store, before, token } = await scene(split, wrap);
    change = () => before.destroy(token);
    await store.get(token);
    expect(await store.get(token)).toBeNull();
    expect(await before.get(token)).toBeNull();
  });

  test("that another process migrates meanwhile is not overwritten", async () => {
    let change = async (): Promise<unknown> => null;
    const wrap = beforeWrite(() => change());
    const { store, backend, token } = await scene(split, wrap);
    const migrations = { 1: { from: v1, to: split } };
    const other = createSessionStore({ schema: v2, backend, version: 2, migrations });
    change = () => other.update(token, { theme: "light" });
    expect(await store.get(token)).not.toBeNull();
    expect((await store.get(token))?.data).toEqual({ ...MIGRATED, theme: "light" });
  });

  test("is returned although the backend cannot store it, and the failure is reported", async () => {
    const full = new SessionBackendError("full", { reason: "rejected", outcome: "not-applied" });
    const wrap = (backend: SessionBackend) =>
      intercept(backend, (method) => (method === "write" ? Promise.reject(full) : null));
    const { store, token, events } = await scene(split, wrap);
    expect((await store.get(token))?.data).toEqual(MIGRATED);
    expect(events).toMatchObject([{ type: "unavailable", error: { reason: "rejected" } }]);
    expect(await store.get(token)).not.toBeNull();
  });

  test.each([
    ["without a patch", {}],
    ["with a patch", { patch: { first: "Augusta" } }],
  ])("is as it was after a rotate %s whose reply was lost is undone", async (_, options) => {
    let isLost = false;
    const wrap = (backend: SessionBackend): SessionBackend => ({
      ...backend,
      async write(key, access, change) {
        const written = await backend.write(key, access, change);
        const isRotation = change.set["session_verifier"] !== undefined && !isLost;
        if (!isRotation) return written;
        isLost = true;
        throw new SessionBackendError("The reply was lost", { reason: "timeout", outcome: "unknown" });
      },
    });
    const { store, token, stored } = await scene(split, wrap);
    const before = await stored();
    await expect(store.rotate(token, options)).rejects.toMatchObject({ reason: "timeout" });
    await until("the rotation is undone", async () => (await store.peek(token)) !== null);
    expect(isLost).toBe(true);
    expect(await stored()).toEqual(before);
    expect((await store.get(token))?.data).toEqual(MIGRATED);
  });

  test("is not refused by a limit of the index that it moves to, but a change of its index value is", async () => {
    const backend = memoryBackend();
    const schema = z.object({ userId: z.string(), theme: z.string().optional() });
    const before = createSessionStore({ schema, backend, indexes: { user: "userId" } });
    const sessions = [await before.create({ userId: "Ada" }), await before.create({ userId: "ADA" })];
    const store = createSessionStore({
      schema,
      backend,
      indexes: { user: { from: "userId", limit: { max: 1, whenFull: "reject" } } },
      version: 2,
      migrations: { 1: { from: schema, to: ({ userId }) => ({ userId: userId.toLowerCase() }) } },
    });
    const [phone = "", laptop = ""] = sessions.map(({ token }) => token);
    expect(await store.get(phone)).not.toBeNull();
    const stored = await rawOf(backend, laptop);
    await expect(store.update(laptop, { userId: "ada" })).rejects.toMatchObject({ reason: "limit" });
    expect(await rawOf(backend, laptop)).toEqual(stored);
    expect((await store.update(laptop, { theme: "dark" }))?.data).toEqual({ userId: "ada", theme: "dark" });
    expect(await store.count({ user: "ada" })).toBe(2);
  });

  test("that has several earlier versions leads straight to the present one", async () => {
    const { backend, before, store, token, shared } = await scene();
    const seen: unknown[] = [];
    const v3 = z.object({ who: z.string(), from: z.int() });
    const now = createSessionStore({
      ...shared,
      schema: v3,
      backend,
      version: 3,
      migrations: {
        1: { from: v1, to: ({ name }) => ({ who: name, from: 1 }) },
        2: { from: v2, to: ({ first }) => ({ who: first, from: seen.push(first) + 1 }) },
      },
    });
    const second = await store.create({ first: "Grace", at: new Date(0) });
    expect((await now.get(token))?.data).toEqual({ who: "Ada Lovelace", from: 1 });
    expect((await now.get(second.token))?.data).toEqual({ who: "Grace", from: 2 });
    expect(seen).toEqual(["Grace"]);
    const { token: third } = await now.create({ who: "Alan", from: 3 });
    expect(await rawOf(backend, third)).toMatchObject({ session_version: "3" });
    expect(await rawOf(backend, (await before.create(ADA)).token)).not.toHaveProperty("session_version");
  });

  test("keeps the fields of its schema only if all together fit into maxBytes", async () => {
    for (const [length, isKept] of [
      [100, true],
      [300, false],
    ] as const) {
      const backend = memoryBackend();
      const old = z.object({ cart: z.string() });
      const schema = z.object({ basket: z.string() });
      const cart = "x".repeat(length);
      const { token } = await createSessionStore({ schema: old, backend, maxBytes: 500 }).create({ cart });
      const migrations = { 1: { from: old, to: (data: { cart: string }) => ({ basket: data.cart }) } };
      const store = createSessionStore({ schema, backend, maxBytes: 500, version: 2, migrations });
      expect((await store.get(token))?.data).toEqual({ basket: cart });
      expect((await store.get(token))?.data).toEqual({ basket: cart });
      expect((await rawOf(backend, token))["cart"]).toBe(isKept ? cart : undefined);
    }
  });
});

describe("a session that cannot be migrated", () => {
  const unhandled = unhandledRejections();
  const wrong: Readonly<Record<string, [to: (old: V1) => unknown, message: RegExp]>> = {
    "whose result lacks a field": [
      () => ({}),
      /result of migrations\[1\]\.to does not fit the schema: first: expected/,
    ],
    "whose result is undefined": [() => undefined, /result of migrations\[1\]\.to does not fit/],
    "whose result is null": [() => null, /result of migrations\[1\]\.to does not fit/],
    "whose result is an array": [() => ["MARKER"], /result of migrations\[1\]\.to does not fit/],
    "whose result is a Map": [() => new Map([["first", "MARKER"]]), /result of migrations\[1\]\.to does not fit/],
    "whose result has a field of the wrong type": [(old) => ({ ...split(old), visits: "MARKER" }), /visits: expected/],
    "whose result has a key that neither schema names": [
      (old) => ({ ...split(old), baskett: "MARKER" }),
      /does not fit the schema: \[key\]: unrecognized/,
    ],
    "whose result is too large": [(old) => ({ ...split(old), theme: "x".repeat(70_000) }), /does not fit the schema/],
    "whose result is a promise": [async (old) => split(old), /migrations\[1\]\.to returned a promise/],
    "whose result is a rejected promise": [
      () => Promise.reject(new Error("no")),
      /migrations\[1\]\.to returned a promise/,
    ],
    "whose function throws": [
      () => {
        throw new RangeError("of the application");
      },
      /migrations\[1\]\.to threw an error/,
    ],
  };

  test.each(Object.entries(wrong))("%s stays as it is and is reported as invalid", async (_, [to, message]) => {
    const { store, token, stored, events, id } = await scene((old) => to(old));
    const before = await stored();
    const calls = [
      () => store.get(token),
      () => store.peek(token),
      () => store.update(token, { theme: "light" }),
      () => store.update(token, () => ({})),
      () => store.increment(token, "visits"),
      () => store.take(token, "code"),
      () => store.rotate(token, { patch: { theme: "light" } }),
    ];
    for (const call of calls) {
      const error = await failureOf(call());
      expect(error).toMatchObject({ name: "SessionDataError", origin: "stored" });
      expect(error.message).toMatch(message);
      expect(error.message).toMatch(/^Cannot migrate a session as /);
      expect(error.issues.length).toBeGreaterThan(0);
      expect(inspect({ ...error, cause: null }, { depth: null })).not.toMatch(/MARKER|Lovelace|of the application/);
    }
    await failureOf(store.rotate(token));
    for await (const session of store.scan()) expect.fail(session.id);
    await idle();
    expect(unhandled.splice(0)).toEqual([]);
    expect(await stored()).toEqual(before);
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set(["invalid"]));
    expect(events[0]).toMatchObject({ id });
    expect(await store.destroy(token)).toBe(true);
  });

  test("as its function throws has that error as the cause", async () => {
    const thrown = new Error("of the application");
    const { store, token } = await scene(() => {
      throw thrown;
    });
    expect((await failureOf(store.get(token))).cause).toBe(thrown);
  });

  test("as its data does not fit the earlier schema is an error that names the field", async () => {
    const { store, backend, token, seen } = await scene();
    await plant(backend, token, { visits: "many" });
    const error = await failureOf(store.get(token));
    expect(error.message).toMatch(/its data does not fit migrations\[1\]\.from: visits: expected/);
    expect(error.issues).toMatchObject([{ code: "invalid_type", path: ["visits"] }]);
    expect(seen).toEqual([]);
  });

  test("as nothing is said about its version has the issue unknown_version", async () => {
    const { backend, token, stored, shared } = await scene();
    const before = await stored();
    const fresh = createSessionStore({ ...shared, schema: v1, backend, version: 2 });
    for (const call of [
      () => fresh.get(token),
      () => fresh.update(token, { name: "x" }),
      () => fresh.increment(token, "visits"),
    ]) {
      const error = await failureOf(call());
      expect(error).toMatchObject({ origin: "stored", issues: [{ code: "unknown_version", path: [] }] });
      expect(error.message).toContain("version 1");
    }
    expect(await stored()).toEqual(before);
    expect(await fresh.destroy(token)).toBe(true);
  });

  test.each(["0", "-1", "1.0", "two", ""])("as its version is %j has the issue unknown_version", async (text) => {
    const { store, before, backend, token } = await scene();
    await plant(backend, token, { session_version: text });
    expect(await failureOf(store.get(token))).toMatchObject({ issues: [{ code: "unknown_version" }] });
    expect((await before.get(token))?.data).toEqual(ADA);
  });
});

describe("a session of the present version", () => {
  test("is not migrated, and its patches take one call of the backend", async () => {
    let calls = 0;
    const { store, seen } = await scene(split, (backend) => intercept(backend, () => calls++));
    const { token } = await store.create({ first: "a", at: new Date(0) });
    calls = 0;
    await store.get(token);
    await store.update(token, { visits: 2 });
    expect(calls).toBe(2);
    expect(await store.increment(token, "visits")).toBe(3);
    expect(seen).toEqual([]);
  });

  test("that does not fit is not migrated", async () => {
    const { store, backend, seen } = await scene();
    const { token } = await store.create({ first: "a", at: new Date(0) });
    await plant(backend, token, { visits: "many" });
    expect(await failureOf(store.get(token))).toMatchObject({ origin: "stored" });
    expect(seen).toEqual([]);
  });
});

describe("the options version and migrations", () => {
  const backend = memoryBackend();
  const to = () => ({ a: "" });
  const from = z.object({ b: z.string() });
  const wrong: Readonly<
    Record<string, [options: object, error: typeof TypeError | typeof RangeError, message: string]>
  > = {
    "a version of 0": [{ version: 0 }, RangeError, "version must be a whole number from 1"],
    "a version of 1.5": [{ version: 1.5 }, RangeError, "version must be a whole number"],
    "a version that is text": [{ version: "2" }, TypeError, "version must be a number: received string"],
    "a migration of the present version": [{ version: 2, migrations: { 2: { from, to } } }, RangeError, "received 2"],
    "a migration without a version": [{ migrations: { 1: { from, to } } }, RangeError, "which is 1: received 1"],
    "a migration of version 0": [{ version: 2, migrations: { 0: { from, to } } }, RangeError, "received 0"],
    "a migration of no version": [{ version: 2, migrations: { v1: { from, to } } }, RangeError, "received v1"],
    "a list of migrations": [{ version: 2, migrations: [{ from, to }] }, TypeError, "migrations must be an object"],
    "a migration that is a function": [
      { version: 2, migrations: { 1: to } },
      TypeError,
      "migrations[1] must be an object",
    ],
    "a migration without a schema": [
      { version: 2, migrations: { 1: { to } } },
      TypeError,
      "migrations[1].from must be",
    ],
    "a migration without a function": [
      { version: 2, migrations: { 1: { from } } },
      TypeError,
      "migrations[1].to must be a function",
    ],
    "a migration with an async function": [
      { version: 2, migrations: { 1: { from, to: async () => ({ a: "" }) } } },
      TypeError,
      "migrations[1].to must be synchronous",
    ],
    "a migration with an unknown option": [
      { version: 2, migrations: { 1: { from, to, down: to } } },
      TypeError,
      '"migrations[1].down"',
    ],
    "a migration from a schema that cannot be stored": [
      { version: 2, migrations: { 1: { from: z.object({ at: z.date() }), to } } },
      TypeError,
      '"migrations[1].from.at" has z.date',
    ],
    "a migration from a union": [
      { version: 2, migrations: { 1: { from: z.union([from, from]), to } } },
      TypeError,
      "migrations[1].from must be a z.object: received a schema of type union",
    ],
    "the option migrate": [{ migrate: to }, TypeError, 'there is no option "migrate"'],
  };

  test.each(Object.entries(wrong))("%s is refused", (_, [options, error, message]) => {
    const make = () => createSessionStore({ schema: z.object({ a: z.string() }), backend, ...options });
    expect(make).toThrow(error);
    expect(make).toThrow(message);
  });

  test("session_version is no field of a schema", () => {
    expect(() => createSessionStore({ schema: z.object({ session_version: z.string() }), backend })).toThrow(TypeError);
  });
});
