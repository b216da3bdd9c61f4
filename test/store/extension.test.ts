import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { SessionBackend } from "../../src/backend.ts";
import { createSessionStore, memoryBackend, SessionBackendError, type SessionEvent } from "../../src/index.ts";
import type { StoredSession } from "../../src/record.ts";
import { manualClock } from "../../src/testing/index.ts";
import { type BackendMethod, counted, intercept } from "../support/backends.ts";
import { gate, idle } from "../support/gate.ts";

const IDLE = 1000;
const schema = z.object({ userId: z.string(), tenant: z.string().optional(), views: z.int().default(0) });

function scene(wrap: (backend: SessionBackend) => SessionBackend = (backend) => backend, absoluteTimeout?: number) {
  const clock = manualClock();
  const inner = memoryBackend();
  const { backend, calls } = counted(wrap(inner));
  const events: SessionEvent[] = [];
  const store = createSessionStore({
    schema,
    backend,
    indexes: { user: "userId", tenant: "tenant" },
    idleTimeout: IDLE,
    absoluteTimeout,
    now: clock.now,
    onEvent: (event) => events.push(event),
  });
  const access = () => ({ verifier: null, previous: true, now: clock.now() });
  return {
    store,
    inner,
    clock,
    calls,
    events,
    /** Changes stored fields without the store. */
    plant: (token: string, set: Record<string, string>, remove: string[] = []) =>
      inner.write(token.slice(0, 22), access(), { set, remove, fields: [] }),
    stored: async (token: string) =>
      (await inner.read(token.slice(0, 22), access(), { fields: null })) as StoredSession,
  };
}

const uses = {
  get: (store: ReturnType<typeof scene>["store"], token: string) => store.get(token),
  update: (store: ReturnType<typeof scene>["store"], token: string) => store.update(token, { views: 1 }),
  increment: (store: ReturnType<typeof scene>["store"], token: string) => store.increment(token, "views"),
};

describe("a session with index entries that is in use", () => {
  test.each(Object.entries(uses))("%s extends the indexes once in half an idle timeout", async (_, use) => {
    const { store, clock, calls } = scene();
    const { token } = await store.create({ userId: "42" });
    const extended: number[] = [];
    for (let second = 0; second < 3 * IDLE; second += 100) {
      clock.advance(100);
      calls.length = 0;
      await use(store, token);
      if (calls.includes("extend")) extended.push(second + 100);
    }
    expect(extended).toEqual([600, 1200, 1800, 2400, 3000]);
  });

  test("a session that is used once in almost an idle timeout lives on, and its index with it", async () => {
    const { store, inner, clock } = scene();
    const { token, session } = await store.create({ userId: "42" });
    for (let use = 0; use < 20; use++) {
      clock.advance(IDLE);
      expect((await store.get(token))?.expiresAt.getTime()).toBe(clock.now() + IDLE * 1000);
      expect((await store.list({ user: "42" })).sessions.map(({ id }) => id)).toEqual([session.id]);
    }
    clock.advance(1.5 * IDLE + 60.001);
    expect((await inner.page("user:42", 0, 10, clock.now())).size).toBe(0);
  });

  test("the absolute timeout ends it, and its deadline never moves", async () => {
    const { store, clock } = scene(undefined, 5 * IDLE);
    const { token, session } = await store.create({ userId: "42" });
    for (let use = 0; use < 9; use++) {
      clock.advance(IDLE / 2);
      expect((await store.get(token))?.deadline).toEqual(session.deadline);
    }
    clock.advance(IDLE / 2 - 0.001);
    expect(await store.peek(token)).not.toBeNull();
    clock.advance(0.001);
    expect(await store.get(token)).toBeNull();
  });

  test("a longer idle timeout holds at once", async () => {
    const { store, clock } = scene();
    const { token } = await store.create({ userId: "42" });
    expect((await store.setIdleTimeout(token, 10 * IDLE))?.expiresAt.getTime()).toBe(clock.now() + 10 * IDLE * 1000);
    clock.advance(9 * IDLE);
    expect(await store.get(token)).not.toBeNull();
    expect(await store.count({ user: "42" })).toBe(1);
  });

  test("a member that the index has lost comes back with the extension, behind all others", async () => {
    const { store, inner, clock } = scene();
    const { token, session } = await store.create({ userId: "42" });
    await inner.leave("user:42", [{ key: session.id, score: null }], clock.now());
    expect(await store.count({ user: "42" })).toBe(0);
    clock.advance(0.6 * IDLE);
    await store.create({ userId: "42" });
    const { members } = await inner.page("user:42", 0, 10, clock.now());
    await store.get(token);
    const later = await inner.page("user:42", members.at(-1)?.score ?? 0, 10, clock.now());
    expect(later.members.map(({ key }) => key)).toEqual([session.id]);
    expect(await store.revokeAll({ user: "42" })).toBe(2);
  });

  test("an extension that fails fails no operation, is reported, and is tried again with the next touch", async () => {
    let failing: BackendMethod | null = "extend";
    const failure = new SessionBackendError("away", { reason: "unavailable", outcome: "unknown" });
    const { store, clock, events } = scene((backend) =>
      intercept(backend, (method) => {
        if (method === failing) throw failure;
      }),
    );
    const { token, session } = await store.create({ userId: "42" });
    clock.advance(0.6 * IDLE);
    // The session keeps what its index covers: one and a half idle timeouts from its creation.
    const cut = clock.now() + 0.9 * IDLE * 1000;
    expect((await store.get(token))?.expiresAt.getTime()).toBe(cut);
    expect(await store.increment(token, "views")).toBe(1);
    expect((await store.update(token, { views: 2 }))?.data.views).toBe(2);
    await idle();
    const reported = events.filter(({ type }) => type === "unavailable");
    expect(reported.map(({ id }) => id)).toEqual([session.id, session.id, session.id]);
    failing = null;
    await store.update(token, {});
    await idle();
    expect((await store.peek(token))?.expiresAt.getTime()).toBe(clock.now() + IDLE * 1000);
  });

  test("calls of one process at the same time share one extension", async () => {
    const { store, clock, calls } = scene();
    const { token } = await store.create({ userId: "42" });
    clock.advance(0.6 * IDLE);
    calls.length = 0;
    await Promise.all(Array.from({ length: 50 }, () => store.get(token)));
    expect(calls.filter((method) => method === "extend")).toHaveLength(1);
    expect(calls.filter((method) => method === "write")).toHaveLength(1);
  });

  test("an extension that is overtaken by moves away and back changes nothing, as its index may be a new one", async () => {
    const { store: other, inner, clock, stored } = scene();
    const { token, session } = await other.create({ userId: "42" });
    const [held, reached] = [gate(), gate()];
    const slow: SessionBackend = {
      ...inner,
      async write(...args) {
        reached.open();
        await held.passed;
        return await inner.write(...args);
      },
    };
    const store = createSessionStore({ schema, backend: slow, idleTimeout: IDLE, now: clock.now });
    clock.advance(0.9 * IDLE);
    const getting = store.get(token);
    await reached.passed;
    await other.setIdleTimeout(token, 0.5 * IDLE);
    await other.update(token, { userId: "43" });
    await inner.leave("user:42", [{ key: session.id, score: null }], clock.now());
    await other.update(token, { userId: "42" });
    held.open();
    await getting;
    const { session_deadline: deadline } = await stored(token);
    clock.advance(0.5 * IDLE * 1.5 + 60.001);
    const { size } = await inner.page("user:42", 0, 10, clock.now());
    expect(size === 1 || clock.now() > Number(deadline)).toBe(true);
  });

  test.each([-20_000, 59_000])(
    "it stays listed until it ends if the clock of its indexes differs by %d ms, as in a cluster",
    async (difference) => {
      const { store, clock } = scene((inner) => ({
        ...inner,
        enter: (entry, key, life, count, now) => inner.enter(entry, key, life, count, now + difference),
        extend: (entry, key, life, now) => inner.extend(entry, key, life, now + difference),
        page: (entry, after, count, now) => inner.page(entry, after, count, now + difference),
        leave: (entry, members, now) => inner.leave(entry, members, now + difference),
      }));
      for (const uses of [0, 1, 2, 3]) {
        const { token } = await store.create({ userId: `${uses}` });
        for (let use = 0; use < uses; use++) {
          // The latest moment at which a touch does not extend the indexes.
          const { expiresAt } = (await store.get(token)) ?? {};
          const left = Number(expiresAt) - clock.now() - IDLE * 1000;
          clock.advance(`${left + 0.5 * IDLE * 1000 + Math.max(0, difference)}ms`);
          await store.get(token);
        }
        const listed = async () => await store.count({ user: `${uses}` });
        while ((await store.peek(token)) !== null) {
          expect(await listed(), `${uses} uses, ${clock.now()}`).toBe(1);
          clock.advance(10);
        }
      }
    },
  );

  test("the extension for a short session leaves its index as long as another session needs it", async () => {
    const { store, clock } = scene();
    const long = await store.create({ userId: "42" }, { idleTimeout: 10 * IDLE });
    const short = await store.create({ userId: "42" });
    clock.advance(0.6 * IDLE);
    await store.get(short.token);
    clock.advance(9 * IDLE);
    expect(await store.peek(long.token)).not.toBeNull();
    expect(await store.count({ user: "42" })).toBe(1);
  });

  test("a session with two index values ends before the first of its indexes does, however much their servers differ", async () => {
    const { store, clock, stored } = scene((inner) => ({
      ...inner,
      async extend(entry, key, life, now) {
        if (entry.startsWith("user")) return await inner.extend(entry, key, life, now);
        clock.advance(2);
        return await inner.extend(entry, key, life, clock.now() + 59_000);
      },
    }));
    const { token } = await store.create({ userId: "42", tenant: "acme" });
    clock.advance(0.9 * IDLE);
    await store.get(token);
    await idle();
    // The latest moment at which a touch does not extend the indexes.
    const deadline = Number((await stored(token))["session_deadline"]);
    clock.advance(`${deadline - IDLE * 1000 - clock.now()}ms`);
    await store.get(token);
    clock.advance(IDLE - 5);
    while ((await store.peek(token)) !== null) {
      expect(await store.count({ user: "42" }), `${clock.now()}`).toBe(1);
      clock.advance(0.1);
    }
  });

  test("a move under one index keeps the session in another one whose value stays", async () => {
    const { store, clock } = scene();
    const { token } = await store.create({ userId: "42", tenant: "acme" });
    clock.advance(0.45 * IDLE);
    await store.get(token);
    clock.advance(0.45 * IDLE);
    await store.update(token, { tenant: "other" });
    for (let use = 0; use < 6; use++) {
      clock.advance(0.45 * IDLE);
      expect(await store.count({ user: "42" }), `${use}`).toBe(1);
      expect(await store.get(token)).not.toBeNull();
    }
  });

  test("a move to another index value ends what its other indexes cover at the latest with the new one", async () => {
    const { store, clock } = scene();
    const { token } = await store.create({ userId: "42" });
    await store.setIdleTimeout(token, 10 * IDLE);
    await store.setIdleTimeout(token, IDLE);
    await store.update(token, { userId: "43" });
    for (let use = 0; use < 15; use++) {
      clock.advance(0.9 * IDLE);
      expect(await store.get(token)).not.toBeNull();
      expect(await store.count({ user: "43" }), `${use}`).toBe(1);
    }
  });

  test("a session without session_absolute enters its indexes again", async () => {
    const { store, inner, clock, plant, stored } = scene();
    const { token, session } = await store.create({ userId: "42" });
    await plant(token, {}, ["session_absolute"]);
    await inner.leave("user:42", [{ key: session.id, score: null }], clock.now());
    expect(await store.count({ user: "42" })).toBe(0);
    await store.get(token);
    expect(await store.count({ user: "42" })).toBe(1);
    expect((await stored(token))["session_absolute"]).toMatch(/\/1$/);
  });

  test("a longer idle timeout holds although the session moves while its indexes are extended", async () => {
    let move: (() => Promise<unknown>) | null = null;
    const { store, inner, clock } = scene((backend) =>
      intercept(backend, async (method) => {
        if (method !== "extend" || move === null) return;
        const moving = move;
        move = null;
        await moving();
      }),
    );
    const { token } = await store.create({ userId: "42" });
    const other = createSessionStore({ schema, backend: inner, indexes: { user: "userId" }, now: clock.now });
    move = () => other.updateAll({ user: "42" }, { userId: "43" });
    const session = await store.setIdleTimeout(token, 10 * IDLE);
    expect(session?.expiresAt.getTime()).toBe(clock.now() + 10 * IDLE * 1000);
  });

  test("fields that somebody tampered with make no session live for ever and no call fail", async () => {
    const texts = ["", "/", "x", "/0", "0/0", "9999999999999/0", "/9999999999999999", "-1/0", "1e9/1", "[]"];
    for (const absolute of texts) {
      for (const index of ["", "[]", "{", "[1]", '["user:43"]', '["other:1"]', "null"]) {
        const { store, clock, plant, stored } = scene();
        const { token } = await store.create({ userId: "42" });
        const deadline = String(clock.now() + 1000 * IDLE);
        await plant(token, { session_absolute: absolute, session_index: index, session_deadline: deadline });
        for (let use = 0; use < 4; use++) {
          clock.advance(0.6 * IDLE);
          await store.get(token);
        }
        if ((await store.peek(token)) !== null) {
          expect(await store.count({ user: "42" }), `${absolute} ${index}`).toBe(1);
          expect(JSON.parse((await stored(token))["session_index"] ?? "")).toContain("user:42");
        }
        clock.advance(IDLE + 0.001);
        expect(await store.peek(token), `${absolute} ${index}`).toBeNull();
      }
    }
  });
});
