import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type SessionBackend, SessionBackendError, type SessionEvent } from "../../src/index.ts";
import { intercept } from "./backends.ts";
import { gate } from "./gate.ts";
import { memberStore } from "./members.ts";
import { insertRecord } from "./stored.ts";

/** An empty backend and its clock. */
export interface PolicyPlace {
  readonly backend: SessionBackend;
  now(): number;
}

/** Rules that the store keeps on every backend. */
export function policies(open: () => PolicyPlace): void {
  describe("a call that its caller aborts", () => {
    test("an aborted call rejects with the reason aborted and reports no event", async () => {
      const { backend, now } = open();
      const held = gate();
      let reached = gate();
      const slow = intercept(backend, async (method) => {
        if (method === "insert") return;
        reached.open();
        await held.passed;
      });
      const { store, events } = memberStore(slow, now);
      const { token } = await store.create({});
      events.length = 0;
      const calls = {
        get: (signal: AbortSignal) => store.get(token, { signal }),
        update: (signal: AbortSignal) => store.update(token, { views: 1 }, { signal }),
        revokeAll: (signal: AbortSignal) => store.revokeAll({ user: "andrew" }, { signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        await expect(call(AbortSignal.abort()), name).rejects.toMatchObject({ reason: "aborted" });
        reached = gate();
        const during = new AbortController();
        const pending = call(during.signal);
        await reached.passed;
        during.abort();
        await expect(pending, name).rejects.toMatchObject({ reason: "aborted" });
      }
      held.open();
      expect(events).toEqual([]);
    });
  });

  describe("the grace period of a rotation", () => {
    test.each<[string, object]>([
      ["patch", { patch: { tenant: "admin" } }],
      ["patch", { patch: () => ({ tenant: "admin" }) }],
      ["authenticated", { authenticated: true }],
      ["idleTimeout", { idleTimeout: 60 }],
      ["patch, idleTimeout and authenticated", { patch: {}, idleTimeout: 60, authenticated: true }],
    ])("rotate rejects grace with %s, names these options and changes nothing", async (names, options) => {
      const { backend, now } = open();
      const { store } = memberStore(backend, now);
      const { token, session } = await store.create({});
      const rotating = store.rotate(token, { grace: 5, ...options } as never);
      await expect(rotating).rejects.toThrow(TypeError);
      await expect(rotating).rejects.toThrow(`received ${names}`);
      expect(await store.peek(token)).toEqual(session);
    });

    test("rotate rejects a grace period of more than 60 seconds", async () => {
      const { backend, now } = open();
      const { store } = memberStore(backend, now);
      const { token } = await store.create({});
      const rotating = store.rotate(token, { grace: 61 });
      await expect(rotating).rejects.toThrow(RangeError);
      await expect(rotating).rejects.toThrow('grace must be from "0s" to "1m"');
      expect(await store.rotate(token, { grace: 60 })).not.toBeNull();
    });

    test("rotate accepts a grace of 0 with a patch, and the old token is invalid at once", async () => {
      const { backend, now } = open();
      const { store } = memberStore(backend, now);
      const { token } = await store.create({});
      expect(await store.rotate(token, { grace: 0, patch: { tenant: "a" } } as never)).not.toBeNull();
      expect(await store.peek(token)).toBeNull();
    });
  });

  describe("a store with plain IDs", () => {
    test("cannot use, end or list a session that has a secret", async () => {
      const { backend, now } = open();
      const events: SessionEvent[] = [];
      const schema = z.object({ views: z.int().default(0), flash: z.string().optional() });
      const store = createSessionStore({
        schema,
        backend,
        now,
        plainIds: true,
        onEvent: (event) => events.push(event),
      });
      const key = "k".repeat(43);
      const at = new Date(now()).toISOString();
      const stored = { created_at: at, last_accessed_at: at, session_ttl: "1800", views: "3", flash: "hi" };
      await insertRecord(backend, key, { ...stored, session_verifier: "v".repeat(43) }, now());
      const read = () => backend.read(key, { verifier: null, previous: true, now: now() }, { fields: null });
      const before = await read();
      expect(before).toMatchObject(stored);
      expect(await store.get(key)).toBeNull();
      expect(await store.peek(key)).toBeNull();
      expect(await store.update(key, { views: 1 })).toBeNull();
      expect(await store.update(key, () => ({ views: 1 }))).toBeNull();
      expect(await store.increment(key, "views")).toBeNull();
      expect(await store.take(key, "flash")).toBeNull();
      expect(await store.setIdleTimeout(key, 60)).toBeNull();
      expect(await store.destroy(key)).toBe(false);
      expect(await store.revokeEverybody()).toBe(0);
      for await (const { id } of store.scan()) expect.fail(id);
      expect(await read()).toEqual(before);
      const { token } = await store.create({});
      expect(await store.get(token)).not.toBeNull();
      expect(await store.destroy(token)).toBe(true);
    });
  });

  describe("a wrong secret", () => {
    type Call = (store: ReturnType<typeof memberStore>["store"], token: string) => Promise<unknown>;
    const calls: Readonly<Record<string, Call>> = {
      get: (store, token) => store.get(token),
      peek: (store, token) => store.peek(token),
      update: (store, token) => store.update(token, { views: 1 }),
      "update with a function": (store, token) => store.update(token, () => ({ views: 1 })),
      increment: (store, token) => store.increment(token, "views"),
      take: (store, token) => store.take(token, "flash"),
      setIdleTimeout: (store, token) => store.setIdleTimeout(token, 60),
      rotate: (store, token) => store.rotate(token),
      destroy: async (store, token) => (await store.destroy(token)) || null,
    };

    test.each(Object.entries(calls))(
      "%s reports the ID and the time of a wrong secret on a live ID",
      async (_, call) => {
        const { backend, now } = open();
        const { store, events } = memberStore(backend, now);
        const { token, session } = await store.create({ flash: "hi" });
        events.length = 0;
        expect(await call(store, `${session.id}.${"w".repeat(43)}`)).toBeNull();
        expect(events).toEqual([{ type: "wrong-secret", id: session.id, at: expect.any(Date) }]);
        expect(await store.peek(token)).toEqual(session);
      },
    );

    test.each(Object.entries(calls))("%s reports nothing for an ID without a session", async (_, call) => {
      const { backend, now } = open();
      const { store, events } = memberStore(backend, now);
      const { token } = await store.create({});
      await store.destroy(token);
      events.length = 0;
      expect(await call(store, token)).toBeNull();
      expect(await call(store, `${"x".repeat(22)}.${"w".repeat(43)}`)).toBeNull();
      await backend.revoke("x".repeat(22), "user:andrew", { id: "x".repeat(22), cause: "revoked" }, 60_000, now());
      expect(await call(store, `${"x".repeat(22)}.${"w".repeat(43)}`)).toBeNull();
      expect(events).toEqual([]);
    });

    test("a late request with a token in its grace period reports no wrong secret", async () => {
      const { backend, now } = open();
      const { store, events } = memberStore(backend, now);
      const { token } = await store.create({});
      await store.rotate(token, { grace: 30 });
      expect(await store.rotate(token)).toBeNull();
      expect(events.map(({ type }) => type)).toEqual(["created", "rotated"]);
    });

    test("a rotation whose reply is lost reports no wrong secret of its own", async () => {
      const { backend, now } = open();
      const { token } = await memberStore(backend, now).store.create({});
      let writes = 0;
      const losing = intercept(backend, (method) => {
        if (method !== "write" || ++writes > 1) return;
        throw new SessionBackendError("The connection broke", { reason: "unavailable", outcome: "unknown" });
      });
      const { store, events } = memberStore(losing, now);
      await expect(store.rotate(token)).rejects.toThrow(SessionBackendError);
      expect(await store.get(token)).not.toBeNull();
      expect(events.map(({ type }) => type)).toEqual(["unavailable"]);
    });
  });

  describe("the invalid event", () => {
    test("has the code and the path of each issue, and no message or code that a check chose", async () => {
      const { backend, now } = open();
      const plain = z.object({ name: z.string(), age: z.string() });
      const before = createSessionStore({ schema: plain, backend, now });
      const { token, session } = await before.create({ name: "s3cret", age: "s3cret" });
      const events: SessionEvent[] = [];
      const schema = z.object({
        name: z.string().superRefine((name, { issues }) => {
          issues.push({ code: name as "custom", message: name, input: name });
        }),
        age: z.string().refine(() => false, { error: ({ input }) => `${input} is no age` }),
      });
      const store = createSessionStore({ schema, backend, now, onEvent: (event) => events.push(event) });
      const error = await store.get(token).catch((thrown) => thrown);
      const issues = [
        { code: "custom", path: ["name"] },
        { code: "custom", path: ["age"] },
      ];
      expect(events).toEqual([{ type: "invalid", id: session.id, at: expect.any(Date), issues }]);
      expect(error).toMatchObject({ issues });
      expect(inspect([error, events], { depth: null, showHidden: true })).not.toContain("s3cret");
    });
  });
}
