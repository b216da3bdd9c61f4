import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type SessionBackend, type SessionEvent } from "../../src/index.ts";
import { intercept } from "./backends.ts";
import { gate } from "./gate.ts";
import { memberStore } from "./members.ts";

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
      await expect(rotating).rejects.toThrow("grace must be a whole number from 0 to 60");
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
      await backend.insert(key, { ...stored, session_verifier: "v".repeat(43) }, now());
      const read = () =>
        backend.read(key, { verifier: null, previous: true, now: now() }, { touch: false, fields: null });
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
}
