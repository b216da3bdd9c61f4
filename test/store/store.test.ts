import { inspect } from "node:util";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import {
  createSessionStore,
  type Duration,
  isFresh,
  memoryBackend,
  nistTimeouts,
  type Session,
  SessionBackendError,
  SessionConflictError,
  SessionDataError,
  type SessionSchema,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { gate, idle } from "../support/gate.ts";
import { type Visit, type VisitStore, visit, visits } from "../support/visits.ts";

type Operation = (store: VisitStore, token: string) => Promise<unknown>;

const touching: Readonly<Record<string, Operation>> = {
  get: (store, token) => store.get(token),
  "update with a patch": (store, token) => store.update(token, { theme: "dark" }),
  "update with an empty patch": (store, token) => store.update(token, {}),
  "update with a function": (store, token) => store.update(token, () => ({ theme: "dark" })),
  increment: (store, token) => store.increment(token, "pageViews"),
  take: (store, token) => store.take(token, "flash"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, 1800),
  rotate: (store, token) => store.rotate(token),
};
const reading: Readonly<Record<string, Operation>> = { peek: (store, token) => store.peek(token) };
const all: Readonly<Record<string, Operation>> = { ...touching, ...reading };

/** A store with another schema on the same backend and clock. */
function beside<T extends object, In>({ backend, clock }: ReturnType<typeof visits>, schema: SessionSchema<T, In>) {
  return createSessionStore({ schema, backend, now: clock.now });
}

/** The only session of a store, read without its token and without touching it. */
async function only(store: VisitStore): Promise<Session<unknown> | null> {
  for await (const session of store.scan()) return session;
  return null;
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => expect.fail("It did not fail"),
    (error: unknown) => error,
  );
}

describe("create", () => {
  test("create stores the data with its defaults and returns the session", async () => {
    const { store, at } = visits({ idleTimeout: 600, absoluteTimeout: 3600 });
    const { token, session } = await store.create({ userId: "42" }, { authenticated: true });
    expect(session).toEqual({
      id: token.slice(0, 22),
      data: { userId: "42", theme: "light", pageViews: 0, cart: [] },
      createdAt: at(),
      lastAccessedAt: at(),
      authenticatedAt: at(),
      idleTimeout: 600,
      expiresAt: new Date(at().getTime() + 600_000),
      deadline: new Date(at().getTime() + 3_600_000),
    });
    expect(await store.peek(token)).toEqual(session);
  });

  test("a session has an idle timeout of 30 minutes and ends after 30 days by default", async () => {
    const { store, at } = visits();
    const { session } = await store.create({});
    const deadline = new Date(at().getTime() + 30 * 86_400_000);
    expect(session).toMatchObject({ idleTimeout: 1800, deadline, authenticatedAt: null });
  });

  test("create accepts timeouts for one session", async () => {
    const { store, at } = visits({ idleTimeout: 600, absoluteTimeout: 3600 });
    const { session } = await store.create({}, { idleTimeout: 60, absoluteTimeout: 120 });
    expect(session.idleTimeout).toBe(60);
    expect(session.deadline).toEqual(new Date(at().getTime() + 120_000));
  });

  test.each([
    [{ idleTimeout: 0 }, RangeError],
    [{ idleTimeout: 1.5 }, RangeError],
    [{ idleTimeout: 3601 }, RangeError],
    [{ absoluteTimeout: 599 }, RangeError],
    [{ idleTimeout: "60" as never }, RangeError],
    [{ idleTimeout: null as never }, TypeError],
    [{ absoluteTimeout: "never" as never }, RangeError],
  ])("create rejects the timeouts %j and sends nothing to the backend", async (options, kind) => {
    const { store, calls } = visits({ idleTimeout: 600, absoluteTimeout: 3600 });
    await expect(store.create({}, options)).rejects.toThrow(kind);
    expect(calls).toEqual([]);
  });

  test("create rejects data that does not fit the schema with an error that names paths but no values", async () => {
    const { store, calls } = visits();
    const error = await failure(store.create({ theme: "s3cret" as never, cart: [{ sku: "a", n: "s3cret" as never }] }));
    expect(error).toBeInstanceOf(SessionDataError);
    expect(error).toMatchObject({ origin: "given" });
    expect((error as SessionDataError).issues.map((issue) => issue.path)).toEqual([["theme"], ["cart", 0, "n"]]);
    expect(inspect(error, { depth: null })).not.toContain("s3cret");
    expect(calls).toEqual([]);
  });

  test("create rejects keys that are not in the schema", async () => {
    const { store, calls } = visits();
    await expect(store.create({ admin: true } as never)).rejects.toThrow(SessionDataError);
    expect(calls).toEqual([]);
  });
});

describe("returned sessions", () => {
  test("a returned session is deeply frozen", async () => {
    const { store } = visits();
    const { session } = await store.create({ cart: [{ sku: "a", n: 1 }] });
    for (const part of [session, session.data, session.data.cart, session.data.cart[0]]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  test("a returned session shares no objects with the given data or with another read", async () => {
    const { store } = visits();
    const cart = [{ sku: "a", n: 1 }];
    const { token } = await store.create({ cart });
    cart.push({ sku: "b", n: 2 });
    const first = await store.get(token);
    const second = await store.get(token);
    expect(first?.data.cart).toEqual([{ sku: "a", n: 1 }]);
    expect(second?.data.cart).not.toBe(first?.data.cart);
  });

  test("a returned session shows no secret in logs or in JSON", async () => {
    const { store } = visits();
    const { token, session } = await store.create({ userId: "42" });
    const [, secret] = token.split(".") as [string, string];
    const sessions: (Session<unknown> | null | undefined)[] = [
      session,
      await store.get(token),
      await store.peek(token),
    ];
    sessions.push(await store.update(token, { theme: "dark" }), (await store.rotate(token, { grace: 5 }))?.session);
    for (const one of sessions) {
      expect(one?.data).toBeDefined();
      const shown = JSON.stringify(one) + inspect(one, { depth: null, showHidden: true });
      expect(shown).not.toContain(secret);
      expect(shown).not.toMatch(/verifier|session_/);
    }
  });
});

describe("touching", () => {
  test.each(Object.entries(touching))("%s restarts the idle timeout", async (_, operation) => {
    const { store, advance, at } = visits();
    const { token } = await store.create({ flash: "hi" });
    advance(1799);
    await operation(store, token);
    const touched = at();
    advance(1799);
    expect(await only(store)).toMatchObject({ lastAccessedAt: touched });
  });

  test.each(Object.entries(reading))("%s does not restart the idle timeout", async (_, operation) => {
    const { store, advance, at } = visits();
    const { token } = await store.create({});
    const created = at();
    advance(1799);
    expect(await operation(store, token)).toMatchObject({ lastAccessedAt: created });
    advance(2);
    expect(await store.peek(token)).toBeNull();
  });

  test("a rejected call does not restart the idle timeout", async () => {
    const { store, advance, at } = visits();
    const { token } = await store.create({});
    const created = at();
    advance(10);
    await failure(store.update(token, { theme: "blue" as never }));
    await failure(store.update(token, () => ({ theme: "blue" as never })));
    await failure(
      store.increment(token, "pageViews", Number.MAX_SAFE_INTEGER).then(() => store.increment(token, "pageViews")),
    );
    await failure(store.rotate(token, { patch: { theme: "blue" as never } }));
    await failure(store.setIdleTimeout(token, 0));
    const session = await store.peek(token);
    expect(session?.lastAccessedAt).toEqual(new Date(created.getTime() + 10_000));
    expect(session?.data).toMatchObject({ theme: "light", pageViews: Number.MAX_SAFE_INTEGER });
  });

  test("a token with a wrong secret changes nothing", async () => {
    const { store, advance, at, events } = visits();
    const { token, session } = await store.create({ flash: "hi" });
    const wrong = `${session.id}.${"A".repeat(43)}`;
    const created = at();
    advance(10);
    for (const operation of Object.values(all)) expect(await operation(store, wrong)).toBeNull();
    expect(await store.destroy(wrong)).toBe(false);
    expect(await store.peek(token)).toMatchObject({ lastAccessedAt: created, data: session.data });
    expect(new Set(events.map((event) => event.type))).toEqual(new Set(["created", "wrong-secret"]));
  });
});

describe("ended sessions", () => {
  test.each(Object.entries(all))("%s returns null after the idle timeout and leaves no key", async (_, operation) => {
    const { store, backend, advance } = visits();
    const { token } = await store.create({ flash: "hi" });
    advance(1800.001);
    expect(await operation(store, token)).toBeNull();
    expect(await keysOf(backend)).toEqual([]);
  });

  test.each(Object.entries(all))("%s returns null after the deadline and leaves no key", async (_, operation) => {
    const { store, backend, advance } = visits({ idleTimeout: 100, absoluteTimeout: 100 });
    const { token } = await store.create({ flash: "hi" });
    advance(100.001);
    expect(await operation(store, token)).toBeNull();
    expect(await keysOf(backend)).toEqual([]);
  });

  test.each(Object.entries(all))("%s returns null after destroy and leaves no key", async (_, operation) => {
    const { store, backend } = visits();
    const { token } = await store.create({ flash: "hi" });
    expect(await store.destroy(token)).toBe(true);
    expect(await operation(store, token)).toBeNull();
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a session exists until the last millisecond of its idle timeout", async () => {
    const { store, advance } = visits();
    const { token, session } = await store.create({});
    advance(1800);
    expect(await store.peek(token)).toEqual(session);
  });
});

describe("the deadline", () => {
  test.each(Object.entries(touching))("%s does not move the deadline", async (_, operation) => {
    const { store, advance } = visits({ idleTimeout: 1800, absoluteTimeout: 3600 });
    const { token, session } = await store.create({ flash: "hi" });
    advance(1799);
    await operation(store, token);
    expect(await only(store)).toMatchObject({ deadline: session.deadline });
    advance(1799);
    await store.setIdleTimeout(token, 1800);
    advance(2.001);
    expect(await only(store)).toBeNull();
  });

  test("a session in use ends at its deadline", async () => {
    const { store, advance } = visits({ idleTimeout: 60, absoluteTimeout: 100 });
    const { token, session } = await store.create({});
    advance(50);
    expect((await store.get(token))?.expiresAt).toEqual(session.deadline);
    advance(49.999);
    expect(await store.get(token)).not.toBeNull();
    advance(0.002);
    expect(await store.get(token)).toBeNull();
  });

  test("a longer idle timeout does not extend the session beyond its deadline", async () => {
    const { store, advance } = visits({ idleTimeout: 60, absoluteTimeout: 100 });
    const { token, session } = await store.create({});
    const changed = await store.setIdleTimeout(token, 86_400);
    expect(changed).toMatchObject({ idleTimeout: 86_400, expiresAt: session.deadline });
    advance(100.001);
    expect(await store.get(token)).toBeNull();
  });
});

describe("the option touchInterval", () => {
  const options = { idleTimeout: 1000, touchInterval: 10 };

  test("a get within touchInterval reads without touching the session", async () => {
    const { store, calls, advance, at } = visits(options);
    const { token } = await store.create({});
    const created = at();
    advance(9.999);
    calls.length = 0;
    expect(await store.get(token)).toMatchObject({ lastAccessedAt: created });
    expect(calls).toEqual(["read"]);
  });

  test.each([10, 499, 500, 999])("a get %d s after the last touch touches the session", async (seconds) => {
    const { store, calls, advance, at } = visits(options);
    const { token, session } = await store.create({});
    advance(seconds);
    calls.length = 0;
    const { lastAccessedAt } = (await store.get(token)) as Session<Visit>;
    // In the first half of the idle time the answer does not wait for the touch.
    expect(lastAccessedAt).toEqual(seconds < 500 ? session.lastAccessedAt : at());
    expect(calls).toEqual(["read", "touch"]);
    calls.length = 0;
    expect(await store.get(token)).toMatchObject({ lastAccessedAt: at() });
    expect(calls).toEqual(["read"]);
  });

  test("by default a touch is due after a hundredth of the idle timeout, and after 60 s at most", async () => {
    const due = { "30m": 18, "1h": 36, "2h": 60, "7d": 60 } as const;
    for (const [idleTimeout, seconds] of Object.entries(due)) {
      const { store, calls, advance } = visits({ idleTimeout: idleTimeout as Duration });
      const { token } = await store.create({});
      advance(seconds - 0.001);
      await store.get(token);
      expect(calls, idleTimeout).toEqual(["insert", "read"]);
      advance(0.001);
      await store.get(token);
      expect(calls, idleTimeout).toEqual(["insert", "read", "read", "touch"]);
    }
  });

  test("a get returns null if the session was removed before a touch that it waits for", async () => {
    const inner = memoryBackend();
    let end = (): unknown => undefined;
    const backend = intercept(inner, (method) => (method === "touch" ? end() : undefined));
    const { store, advance, clock } = visits({ ...options, backend });
    const { token, session } = await store.create({});
    const ending = { id: session.id, cause: "destroyed" } as const;
    end = () => inner.remove(session.id, { verifier: null, previous: false, now: clock.now() }, ending, []);
    advance(500);
    expect(await store.get(token)).toBeNull();
  });

  test("a thousand reads at the moment a touch is due send one touch, and its failure is one event", async () => {
    const failure = new SessionBackendError("away", { reason: "unavailable", outcome: "unknown" });
    const touch = vi.fn(async () => Promise.reject(failure));
    const { store, advance, events } = visits({ ...options, backend: { ...memoryBackend(), touch } });
    const { token, session } = await store.create({});
    advance(10);
    const reads = await Promise.all(Array.from({ length: 1000 }, () => store.get(token)));
    expect(reads.every((read) => read?.id === session.id)).toBe(true);
    await idle();
    expect(touch).toHaveBeenCalledTimes(1);
    expect(events.slice(1)).toMatchObject([{ type: "unavailable", id: session.id, error: failure }]);
    advance(490);
    await expect(store.get(token)).rejects.toBe(failure);
  });

  test("a read with the old token does not share its touch with one with the new token", async () => {
    const [reached, going] = [gate(), gate()];
    const inner = memoryBackend();
    const touch: typeof inner.touch = async (...args) => {
      reached.open();
      await going.passed;
      return await inner.touch(...args);
    };
    const { store, advance } = visits({ ...options, backend: { ...inner, touch } });
    const { token } = await store.create({});
    advance(500);
    const old = store.get(token);
    await reached.passed;
    const rotated = await store.rotate(token);
    advance(500);
    const present = store.get(rotated?.token as string);
    await idle();
    going.open();
    expect([await old, (await present)?.id]).toEqual([null, rotated?.session.id]);
  });

  test("a get touches the session if its last access is in the future by touchInterval or more", async () => {
    const { store, calls, advance } = visits(options);
    const { token } = await store.create({});
    advance(-9.999);
    calls.length = 0;
    await store.get(token);
    expect(calls).toEqual(["read"]);
    advance(-0.001);
    calls.length = 0;
    await store.get(token);
    expect(calls).toEqual(["read", "touch"]);
  });

  test("touchInterval shortens the effective idle timeout by at most its length and never extends it", async () => {
    const { store, advance } = visits(options);
    const { token } = await store.create({});
    advance(9.999);
    await store.get(token);
    advance(990);
    expect(await store.peek(token)).not.toBeNull();
    advance(0.002);
    expect(await store.peek(token)).toBeNull();
  });

  test("a session whose own idle timeout is at or below touchInterval stays alive while it is used", async () => {
    const shorten: Readonly<Record<string, (store: VisitStore) => Promise<string>>> = {
      create: async (store) => (await store.create({}, { idleTimeout: 5 })).token,
      rotate: async (store) => {
        const { token } = await store.create({});
        return (await store.rotate(token, { idleTimeout: 5 }))?.token as string;
      },
      setIdleTimeout: async (store) => {
        const { token } = await store.create({});
        await store.setIdleTimeout(token, 5);
        return token;
      },
    };
    for (const [way, make] of Object.entries(shorten)) {
      const { store, advance } = visits(options);
      const token = await make(store);
      for (let second = 0; second < 30; second++) {
        advance(1);
        expect(await store.get(token), way).not.toBeNull();
      }
      advance(4.95);
      expect(await store.get(token), way).not.toBeNull();
      advance(5.001);
      expect(await store.get(token), way).toBeNull();
    }
  });

  test("a touch is due after a hundredth of the session's idle timeout if that is less than touchInterval", async () => {
    const { store, calls, advance } = visits({ idleTimeout: 1000, touchInterval: 60 });
    const { token } = await store.create({}, { idleTimeout: 500 });
    advance(4.999);
    calls.length = 0;
    await store.get(token);
    expect(calls).toEqual(["read"]);
    advance(0.001);
    await store.get(token);
    expect(calls).toEqual(["read", "read", "touch"]);
  });

  test("an update within touchInterval touches the session", async () => {
    const { store, advance, at } = visits(options);
    const { token } = await store.create({});
    advance(1);
    expect(await store.update(token, {})).toMatchObject({ lastAccessedAt: at() });
  });
});

describe("update", () => {
  test("update writes the fields of the patch and returns the whole session", async () => {
    const { store, advance, at } = visits();
    const { token, session } = await store.create({ userId: "42" });
    advance(5);
    const updated = await store.update(token, { theme: "dark", cart: [{ sku: "a", n: 1 }] });
    expect(updated).toEqual({
      ...session,
      data: { userId: "42", theme: "dark", pageViews: 0, cart: [{ sku: "a", n: 1 }] },
      lastAccessedAt: at(),
      expiresAt: new Date(at().getTime() + 1_800_000),
    });
    expect(await store.peek(token)).toEqual(updated);
  });

  test("update with a patch needs only one backend call", async () => {
    const { store, calls } = visits();
    const { token } = await store.create({});
    calls.length = 0;
    await store.update(token, { theme: "dark" });
    expect(calls).toEqual(["write"]);
  });

  test("concurrent updates of different fields are both stored", async () => {
    const { store } = visits();
    const { token } = await store.create({});
    await Promise.all([store.update(token, { theme: "dark" }), store.update(token, { userId: "42" })]);
    expect((await store.peek(token))?.data).toMatchObject({ theme: "dark", userId: "42" });
  });

  test("update with undefined removes an optional field and is rejected for a required one", async () => {
    const { store } = visits();
    const { token } = await store.create({ userId: "42", theme: "dark" });
    expect((await store.update(token, { userId: undefined }))?.data).not.toHaveProperty("userId");
    await expect(store.update(token, { theme: undefined as never })).rejects.toThrow(SessionDataError);
    expect((await store.peek(token))?.data.theme).toBe("dark");
  });

  test.each([
    ["a patch with an unknown key", { admin: true }],
    ["a patch with an invalid value", { theme: "blue" }],
    ["a patch with a valid and an invalid value", { userId: "43", theme: "blue" }],
    ["null", null],
    ["a string", "userId"],
  ])("update rejects %s and writes nothing", async (_, patch) => {
    const { store, calls } = visits();
    const { token, session } = await store.create({ userId: "42" });
    calls.length = 0;
    await expect(store.update(token, patch as never)).rejects.toThrow(SessionDataError);
    expect(calls).toEqual([]);
    expect(await store.peek(token)).toEqual(session);
  });

  test("update calls its function with the current data, frozen", async () => {
    const { store } = visits();
    const { token } = await store.create({ cart: [{ sku: "a", n: 1 }] });
    const updated = await store.update(token, ({ cart }) => {
      expect(Object.isFrozen(cart)).toBe(true);
      return { cart: [...cart, { sku: "b", n: 2 }] };
    });
    expect(updated?.data.cart.map(({ sku }) => sku)).toEqual(["a", "b"]);
  });

  test("update writes nothing if the result of its function does not fit the schema", async () => {
    const { store } = visits();
    const { token, session } = await store.create({});
    await expect(store.update(token, () => ({ theme: "blue" as never }))).rejects.toThrow(SessionDataError);
    expect(await store.peek(token)).toEqual(session);
  });

  test("update passes on an error of its function and writes nothing", async () => {
    const { store } = visits();
    const { token, session } = await store.create({});
    const thrown = new Error("no");
    const update = store.update(token, () => {
      throw thrown;
    });
    expect(await failure(update)).toBe(thrown);
    expect(await store.peek(token)).toEqual(session);
  });

  test("update rejects an async function with a TypeError and writes nothing", async () => {
    const { store } = visits();
    const { token, session } = await store.create({});
    const patch = async () => ({ theme: "dark" as const });
    await expect(store.update(token, patch as never)).rejects.toThrow(TypeError);
    expect(await store.peek(token)).toEqual(session);
  });

  test("a hundred concurrent updates with functions are all applied", async () => {
    const { store } = visits();
    const { token } = await store.create({});
    const count = () => store.update(token, ({ pageViews }) => ({ pageViews: pageViews + 1 }));
    const answers = await Promise.all(Array.from({ length: 100 }, count));
    expect(new Set(answers.map((session) => session?.data.pageViews)).size).toBe(100);
    expect((await store.peek(token))?.data.pageViews).toBe(100);
  });

  test("concurrent updates with functions by two stores on one backend are all applied", async () => {
    const one = visits();
    const other = beside(one, visit);
    const { token } = await one.store.create({});
    const count = (store: Pick<VisitStore, "update">) =>
      store.update(token, ({ pageViews }) => ({ pageViews: pageViews + 1 }));
    await Promise.all(Array.from({ length: 40 }, (_, at) => count(at % 2 === 0 ? one.store : other)));
    expect((await one.store.peek(token))?.data.pageViews).toBe(40);
  });

  test("update with a function rejects with a SessionConflictError if the session changes before every attempt", async () => {
    const inner = memoryBackend();
    const contended = { ...inner, write: async () => "changed" as const };
    const { store, calls, events, at } = visits({ backend: contended });
    const { token, session } = await store.create({});
    const error = await failure(store.update(token, () => ({ theme: "dark" })));
    expect(error).toBeInstanceOf(SessionConflictError);
    expect(error).toMatchObject({
      reason: "contended",
      message: "Cannot update a session as it was changed concurrently 24 times in a row",
    });
    expect(events.at(-1)).toEqual({ type: "conflict", id: session.id, at: at() });
    const writes = calls.filter((method) => method === "write").length;
    expect(writes).toBeGreaterThan(5);
    expect(writes).toBeLessThan(50);
  });

  test("update keeps stored fields that are not in the schema", async () => {
    const base = visits();
    const { token } = await base.store.create({ userId: "42" });
    const narrow = beside(base, z.object({ theme: z.string() }));
    expect((await narrow.update(token, { theme: "dark" }))?.data).toEqual({ theme: "dark" });
    expect((await base.store.peek(token))?.data).toMatchObject({ userId: "42", theme: "dark" });
  });
});

describe("a schema with a check of the whole object", () => {
  const range = z.object({ from: z.number(), to: z.number() }).refine(({ from, to }) => from <= to);

  test("a change that breaks the check is rejected and not stored", async () => {
    const base = visits();
    const store = beside(base, range);
    await expect(store.create({ from: 2, to: 1 })).rejects.toThrow(SessionDataError);
    const { token } = await store.create({ from: 1, to: 5 });
    await expect(store.update(token, { from: 6 })).rejects.toThrow(SessionDataError);
    await expect(store.increment(token, "from", 5)).rejects.toThrow(SessionDataError);
    await expect(store.rotate(token, { patch: { to: 0 } })).rejects.toThrow(SessionDataError);
    expect((await store.get(token))?.data).toEqual({ from: 1, to: 5 });
  });

  test("of two concurrent patches that break the check together only one is stored", async () => {
    const store = beside(visits(), range);
    const { token } = await store.create({ from: 1, to: 5 });
    const patches = [store.update(token, { from: 4 }), store.update(token, { to: 2 })];
    const outcomes = await Promise.allSettled(patches);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });
});

describe("increment", () => {
  const schema = z.object({
    stock: z.number().int().min(0).max(10).default(5),
    hits: z.number().optional(),
    steps: z.number().multipleOf(5).default(0),
  });

  test("increment adds to the default or to 0 and returns the sum", async () => {
    const store = beside(visits(), schema);
    const { token } = await store.create({});
    expect(await store.increment(token, "stock", -2)).toBe(3);
    expect(await store.increment(token, "hits")).toBe(1);
    expect((await store.peek(token))?.data).toEqual({ stock: 3, hits: 1, steps: 0 });
  });

  test("increment needs only one backend call", async () => {
    const { store, calls } = visits();
    const { token } = await store.create({});
    calls.length = 0;
    await store.increment(token, "pageViews");
    expect(calls).toEqual(["increment"]);
  });

  test.each([
    ["stock", 6, "too_big"],
    ["stock", -6, "too_small"],
    ["steps", 3, "not_multiple_of"],
  ] as const)(
    'increment of the field "%s" by %d is rejected as the sum would not fit the schema',
    async (field, by, code) => {
      const store = beside(visits(), schema);
      const { token, session } = await store.create({});
      const error = await failure(store.increment(token, field, by));
      expect(error).toBeInstanceOf(SessionDataError);
      expect(error).toMatchObject({ origin: "given", issues: [{ code, path: [field] }] });
      expect(await store.peek(token)).toEqual(session);
    },
  );

  test("increment is rejected if the stored number is not a safe integer", async () => {
    const store = beside(visits(), schema);
    const { token } = await store.create({ hits: 1.5 });
    const error = await failure(store.increment(token, "hits"));
    expect(error).toMatchObject({ origin: "stored", issues: [{ code: "invalid_type", path: ["hits"] }] });
    expect((await store.peek(token))?.data.hits).toBe(1.5);
  });

  test("a hundred concurrent increments are all applied, also for a field with a multipleOf check", async () => {
    const store = beside(visits(), schema);
    const { token } = await store.create({});
    const hundred = Array.from({ length: 100 });
    await Promise.all(hundred.map(() => store.increment(token, "hits")));
    await Promise.all(hundred.map(() => store.increment(token, "steps", 5)));
    expect((await store.peek(token))?.data).toMatchObject({ hits: 100, steps: 500 });
  });

  test.each([
    ["theme", 1, TypeError],
    ["nothing", 1, TypeError],
    ["pageViews", 1.5, RangeError],
    ["pageViews", Number.NaN, RangeError],
    ["pageViews", "1", TypeError],
  ])(
    'increment of the field "%s" by %O is rejected as a misuse and sends nothing to the backend',
    async (field, by, kind) => {
      const { store, calls } = visits();
      const { token } = await store.create({});
      calls.length = 0;
      await expect(store.increment(token, field as never, by as never)).rejects.toThrow(kind);
      expect(calls).toEqual([]);
    },
  );
});

describe("take", () => {
  test("take returns the value and removes the field", async () => {
    const { store } = visits();
    const { token } = await store.create({ flash: "hi" });
    expect(await store.take(token, "flash")).toBe("hi");
    expect(await store.take(token, "flash")).toBeNull();
    expect((await store.peek(token))?.data).not.toHaveProperty("flash");
  });

  test("only one of ten concurrent take calls gets the value", async () => {
    const { store } = visits();
    const { token } = await store.create({ flash: "hi" });
    const taken = await Promise.all(Array.from({ length: 10 }, () => store.take(token, "flash")));
    expect(taken.filter((value) => value !== null)).toEqual(["hi"]);
  });

  test("take needs only one backend call", async () => {
    const { store, calls } = visits();
    const { token } = await store.create({ flash: "hi" });
    calls.length = 0;
    await store.take(token, "flash");
    expect(calls).toEqual(["write"]);
  });

  test("take puts the value back if it does not fit the schema", async () => {
    const base = visits();
    const { token } = await base.store.create({ flash: "hi" });
    const other = beside(base, z.object({ flash: z.string().min(3).optional() }));
    expect(await failure(other.take(token, "flash"))).toMatchObject({ origin: "stored" });
    expect(await base.store.take(token, "flash")).toBe("hi");
  });

  test.each(["theme", "pageViews", "nothing"])(
    'take of the field "%s" is rejected with a TypeError as it is not an optional field',
    async (field) => {
      const { store, calls } = visits();
      const { token } = await store.create({});
      calls.length = 0;
      await expect(store.take(token, field as never)).rejects.toThrow(TypeError);
      expect(calls).toEqual([]);
    },
  );
});

describe("setIdleTimeout", () => {
  test("setIdleTimeout changes the idle timeout of this session only", async () => {
    const { store, advance, at } = visits();
    const { token } = await store.create({});
    const other = await store.create({});
    const changed = await store.setIdleTimeout(token, 7200);
    expect(changed).toMatchObject({ idleTimeout: 7200, expiresAt: new Date(at().getTime() + 7_200_000) });
    advance(7200);
    expect(await store.get(token)).toMatchObject({ idleTimeout: 7200 });
    expect(await store.peek(other.token)).toBeNull();
  });

  test("a shorter idle timeout takes effect at once", async () => {
    const { store, advance } = visits();
    const { token } = await store.create({});
    await store.setIdleTimeout(token, 1);
    advance(1.001);
    expect(await store.peek(token)).toBeNull();
  });

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31])(
    "setIdleTimeout rejects %s seconds",
    async (seconds) => {
      const { store, calls } = visits();
      const { token } = await store.create({});
      calls.length = 0;
      await expect(store.setIdleTimeout(token, seconds)).rejects.toThrow(RangeError);
      expect(calls).toEqual([]);
    },
  );
});

describe("destroy", () => {
  test("destroy ends the session and returns whether it existed", async () => {
    const { store, calls, backend } = visits();
    const { token } = await store.create({});
    calls.length = 0;
    expect(await store.destroy(token)).toBe(true);
    expect(calls).toEqual(["remove"]);
    expect(await store.destroy(token)).toBe(false);
    expect(await keysOf(backend)).toEqual([]);
  });

  test("only one of two concurrent destroy calls returns true", async () => {
    const { store } = visits();
    const { token } = await store.create({});
    expect((await Promise.all([store.destroy(token), store.destroy(token)])).sort()).toEqual([false, true]);
  });

  test("destroy ends a session whose data does not fit the schema", async () => {
    const base = visits();
    const { token } = await base.store.create({});
    expect(await beside(base, z.object({ theme: z.number() })).destroy(token)).toBe(true);
    expect(await base.store.peek(token)).toBeNull();
  });
});

describe("scan", () => {
  async function idsOf(sessions: AsyncIterable<Session<unknown>>): Promise<string[]> {
    const ids: string[] = [];
    for await (const { id } of sessions) ids.push(id);
    return ids.sort();
  }

  test("scan returns every live session and touches none", async () => {
    const { store, advance } = visits();
    await store.create({}, { idleTimeout: 5 });
    const two = await store.create({ userId: "2" });
    const three = await store.create({ userId: "3" });
    advance(6);
    expect(await idsOf(store.scan())).toEqual([two.session.id, three.session.id].sort());
    expect(await store.peek(two.token)).toEqual(two.session);
  });

  test("scan returns a session only once if its key is listed twice, and ignores other keys", async () => {
    const inner = memoryBackend();
    const backend = {
      ...inner,
      async *keys() {
        yield ["index:user:42"];
        yield* inner.keys();
        yield* inner.keys();
      },
    };
    const { store } = visits({ backend });
    const { session } = await store.create({});
    expect(await idsOf(store.scan())).toEqual([session.id]);
  });

  test("scan skips and reports sessions that do not fit the schema", async () => {
    const base = visits();
    const { session } = await base.store.create({});
    const events: unknown[] = [];
    const other = createSessionStore({
      schema: z.object({ theme: z.number() }),
      backend: base.backend,
      now: base.clock.now,
      onEvent: (event) => events.push(event),
    });
    const { session: fits } = await other.create({ theme: 1 });
    events.length = 0;
    expect(await idsOf(other.scan())).toEqual([fits.id]);
    expect(events).toMatchObject([{ type: "invalid", id: session.id, issues: [{ path: ["theme"] }] }]);
    expect(await base.store.scan()[Symbol.asyncIterator]().next()).toMatchObject({ done: false });
  });
});

describe("stored data that does not fit the schema", () => {
  test("reading a session that does not fit the schema fails with paths but no values, and the session is kept", async () => {
    const base = visits();
    const { token, session } = await base.store.create({ userId: "s3cret" });
    const other = beside(base, z.object({ userId: z.literal("admin") }));
    const operations: Promise<unknown>[] = [
      other.get(token),
      other.peek(token),
      other.update(token, {}),
      other.update(token, () => ({})),
    ];
    for (const operation of operations) {
      const error = await failure(operation);
      expect(error).toBeInstanceOf(SessionDataError);
      expect(error).toMatchObject({ origin: "stored", issues: [{ path: ["userId"] }] });
      expect(inspect(error, { depth: null })).not.toContain("s3cret");
    }
    expect(await base.store.peek(token)).toEqual(session);
  });

  test("a patch of other fields is written even if the stored session does not fit the schema", async () => {
    const base = visits();
    const { token } = await base.store.create({ userId: "42" });
    const other = beside(base, z.object({ userId: z.literal("admin"), theme: z.string() }));
    await expect(other.update(token, { theme: "dark" })).rejects.toThrow(SessionDataError);
    expect((await base.store.peek(token))?.data.theme).toBe("dark");
  });
});

describe("the option plainIds", () => {
  test("with plainIds, the token is the key and the session ID is its hash", async () => {
    const { store, backend } = visits({ plainIds: true });
    const { token, session } = await store.create({ userId: "42" });
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(await keysOf(backend)).toEqual([token]);
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
    expect(session.id).toBe(Buffer.from(digest).toString("base64url"));
    expect(await store.get(token)).toEqual(session);
    for await (const { id } of store.scan()) expect(id).toBe(session.id);
  });

  test("with plainIds, every method works except rotate", async () => {
    const { store } = visits({ plainIds: true });
    const { token } = await store.create({ flash: "hi" });
    expect(await store.increment(token, "pageViews")).toBe(1);
    expect(await store.take(token, "flash")).toBe("hi");
    expect(await store.update(token, ({ pageViews }) => ({ pageViews: pageViews + 1 }))).not.toBeNull();
    await expect(store.rotate(token)).rejects.toThrow(TypeError);
    expect((await store.peek(token))?.data.pageViews).toBe(2);
    expect(await store.destroy(token)).toBe(true);
  });
});

describe("events", () => {
  test("events contain type, session ID and time but no data and no secret", async () => {
    const { store, events, at, advance } = visits();
    const { token, session } = await store.create({ userId: "s3cret", flash: "s3cret" });
    const { id } = session;
    const created = at();
    advance(1);
    await store.get(token);
    await store.update(token, { theme: "dark" });
    const rotated = await store.rotate(token);
    await store.get(token);
    advance(1);
    await store.destroy(rotated?.token ?? "");
    await store.destroy(rotated?.token ?? "");
    const second = new Date(created.getTime() + 1000);
    expect(events).toEqual([
      { type: "created", id, at: created },
      { type: "rotated", id, at: second },
      { type: "reused", id, at: second, rotatedAt: second },
      { type: "destroyed", id, at: at() },
    ]);
    const shown = inspect(events, { depth: null, showHidden: true });
    for (const kept of ["s3cret", ...token.split(".").slice(1), rotated?.token.split(".")[1] ?? "?"]) {
      expect(shown).not.toContain(kept);
    }
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("listener");
      },
    ],
    ["rejects", () => Promise.reject(new Error("listener"))],
  ])("a listener that %s does not affect the operations", async (_, onEvent) => {
    const clock = manualClock();
    const store = createSessionStore({ schema: visit, backend: memoryBackend(), now: clock.now, onEvent });
    const { token } = await store.create({});
    const rotated = await store.rotate(token);
    expect(await store.get(token)).toBeNull();
    expect(await store.destroy(rotated?.token ?? "")).toBe(true);
  });
});

describe("isFresh", () => {
  const authenticatedAt = new Date("2026-01-01T00:00:00Z");
  const session = { authenticatedAt } as Session<unknown>;
  test.each([
    [0, true],
    [300_000, true],
    [300_001, false],
    [-60_000, true],
    [-60_001, false],
  ])("%d ms after authentication, isFresh with 300 seconds returns %s", (age, fresh) => {
    expect(isFresh(session, 300, authenticatedAt.getTime() + age)).toBe(fresh);
  });

  test("isFresh returns false without an authentication, even for a session that was created now", () => {
    const visitor = { authenticatedAt: null, createdAt: new Date() } as Session<unknown>;
    expect(isFresh(visitor, "30d")).toBe(false);
  });

  test("isFresh uses the current time if no time is given", () => {
    expect(isFresh({ authenticatedAt: new Date() } as Session<unknown>, 60)).toBe(true);
    expect(isFresh(session, 60)).toBe(false);
  });
});

describe("timeout presets", () => {
  test.each(Object.entries(nistTimeouts))(
    "the preset %s can be spread into the options of a store",
    async (_, level) => {
      expect(Object.isFrozen(level)).toBe(true);
      const { session } = await visits({ ...level }).store.create({});
      expect(session.deadline?.getTime()).toBeGreaterThan(session.createdAt.getTime() + session.idleTimeout * 1000);
    },
  );
});
