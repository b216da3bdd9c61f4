import { setImmediate } from "node:timers";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { keysOf } from "../support/backends.ts";
import { allListed } from "../support/members.ts";

const schema = z.object({ userId: z.string(), note: z.string().optional() });
const START = Date.parse("2026-01-01T00:00:00Z");
const AT = new Date(START).toISOString();

function prepare(capacity: number) {
  const clock = manualClock();
  const backend = memoryBackend({ capacity });
  const indexes = { user: "userId" } as const;
  const store = createSessionStore({ schema, backend, indexes, now: clock.now });
  let users = 0;
  return {
    backend,
    clock,
    store,
    login: (options = {}) => store.create({ userId: `${users++}` }, options),
    /** The number of entries in the backend: sessions, tombstones, and the members of the users' indexes. */
    async entries() {
      const keys = await keysOf(backend);
      const pages = await Promise.all(
        Array.from({ length: users }, (_, user) => backend.page(`user:${user}`, 0, 1, clock.now())),
      );
      return keys.length + pages.reduce((sum, { size }) => sum + size, 0);
    },
  };
}

describe("the capacity of memoryBackend with indexes", () => {
  test("a session with an index value takes two places", async () => {
    const { login, entries } = prepare(10);
    for (let count = 0; count < 5; count++) await login();
    await expect(login()).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    expect(await entries()).toBe(10);
  });

  test.each([10, 11])("refused logins leave nothing behind with a capacity of %d", async (capacity) => {
    const { login, entries, store } = prepare(capacity);
    const { token } = await login();
    for (let count = 0; count < 4; count++) await login();
    for (let count = 0; count < 1000; count++) await expect(login()).rejects.toBeInstanceOf(SessionBackendError);
    expect(await entries()).toBe(10);
    await store.destroy(token);
    await expect.poll(entries).toBe(8);
    await login();
  });

  test("a move to another index value is refused when the capacity is reached, and other changes are not", async () => {
    const { login, store, entries } = prepare(4);
    const { token } = await login();
    await login();
    await expect(store.update(token, { userId: "elsewhere" })).rejects.toBeInstanceOf(SessionBackendError);
    expect((await store.update(token, { note: "changed" }))?.data).toEqual({ userId: "0", note: "changed" });
    expect(await store.count({ user: "0" })).toBe(1);
    expect(await entries()).toBe(4);
  });

  test("index members of sessions that have expired are removed after a minute", async () => {
    const { login, entries, clock } = prepare(1000);
    for (let count = 0; count < 500; count++) {
      await login({ idleTimeout: 1 });
      clock.advance("2s");
    }
    // Those of the last minute may still be needed.
    expect(await entries()).toBeLessThan(40);
  });

  test("logins succeed again when the sessions that filled the capacity have expired for a minute", async () => {
    const { login, clock } = prepare(100);
    for (let count = 0; count < 50; count++) await login({ idleTimeout: 1 });
    clock.advance("61001ms");
    for (let count = 0; count < 50; count++) await login();
    await expect(login()).rejects.toBeInstanceOf(SessionBackendError);
  });

  test("index members of live sessions stay however old they are", async () => {
    const { login, store, clock } = prepare(1000);
    for (let count = 0; count < 100; count++) await login({ idleTimeout: 3600 });
    clock.advance("600s");
    for (let count = 0; count < 200; count++) await login();
    for (let user = 0; user < 100; user++) expect(await store.count({ user: `${user}` })).toBe(1);
  });

  test("a revocation is possible when the capacity is reached", async () => {
    const { backend, clock } = prepare(1);
    await backend.enter("user:1", "a", 60_000, 0, clock.now());
    expect(await backend.revoke("a", "user:1", { id: "a", cause: "revoked" }, 60_000, clock.now())).toBe("nothing");
    expect(await keysOf(backend)).toEqual(["a"]);
    await expect(backend.enter("user:1", "b", 60_000, 0, clock.now())).rejects.toBeInstanceOf(SessionBackendError);
    await backend.enter("user:1", "a", 60_000, 0, clock.now());
  });
});

test("a login at the capacity takes no longer with 200,000 sessions that were all extended", async () => {
  const count = 200_000;
  const backend = memoryBackend({ capacity: count });
  const record = { created_at: AT, last_accessed_at: AT, session_ttl: "1000" };
  for (let at = 0; at < count; at++) await backend.insert(`${at}`, record, {}, START);
  const access = { verifier: null, previous: false, now: START + 500_000 };
  for (let at = 0; at < count; at++) await backend.touch(`${at}`, access);
  const times: number[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    const since = performance.now();
    await expect(backend.insert("new", record, {}, START + 1_100_000)).rejects.toBeInstanceOf(SessionBackendError);
    times.push(performance.now() - since);
  }
  // Looking at all of them takes 100 ms each time. The machine may be busy with something else, but not each time.
  expect(Math.min(...times)).toBeLessThan(25);
}, 30_000);

describe("bulk calls in memory", () => {
  async function filled(count: number) {
    const backend: SessionBackend = memoryBackend();
    const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
    for (let at = 0; at < count; at++) await store.create({ userId: "42" });
    return store;
  }
  const bulk: Readonly<Record<string, (store: Awaited<ReturnType<typeof filled>>, signal?: AbortSignal) => unknown>> = {
    revokeAll: (store, signal) => store.revokeAll({ user: "42" }, { signal }),
    updateAll: (store, signal) => store.updateAll({ user: "42" }, { note: "changed" }, { signal }),
    list: (store, signal) => allListed(store, { user: "42" }, { signal }),
    count: (store, signal) => store.count({ user: "42" }, { signal }),
    async scan(store, signal) {
      for await (const _ of store.scan({ signal }));
    },
  };

  test.each(Object.keys(bulk))(
    "%s lets others run between its pages, and ends when its signal aborts",
    async (name) => {
      const store = await filled(5000);
      let turns = 0;
      const controller = new AbortController();
      const turn = (): void => {
        if (++turns === 2) controller.abort();
        setImmediate(turn).unref();
      };
      setImmediate(turn).unref();
      await expect(bulk[name]?.(store, controller.signal)).rejects.toMatchObject({ reason: "aborted" });
      expect(turns).toBeLessThan(5);
      await bulk[name]?.(store);
      expect(turns).toBeGreaterThanOrEqual(4);
    },
  );

  test("pages that continue after the last score return each member once, while members come and go", async () => {
    const backend = memoryBackend();
    const enter = (key: string) => backend.enter("user:42", key, 60_000, 0, START);
    for (let at = 0; at < 100; at++) await enter(`${at}`);
    const seen: string[] = [];
    for (let after = 0; ; ) {
      const { members } = await backend.page("user:42", after, 7, START);
      if (members.length === 0) break;
      seen.push(...members.map(({ key }) => key));
      after = members.at(-1)?.score ?? 0;
      if (seen.length === 14) {
        await backend.leave("user:42", [{ key: "20", score: null }], START);
        await backend.page("user:42", 0, 3, START);
        await enter("new");
      }
    }
    const rest = Array.from({ length: 100 }, (_, at) => `${at}`).filter((key) => key !== "20");
    expect(seen).toEqual([...rest, "new"]);
    const last = await backend.page("user:42", 0, 1000, START);
    const score = last.members.at(-1)?.score ?? 0;
    expect((await backend.page("user:42", score, 7, START)).members).toEqual([]);
    await enter("later");
    expect((await backend.page("user:42", score, 7, START)).members.map(({ key }) => key)).toEqual(["later"]);
  });
});
