import { describe, expect, test } from "vitest";
import { type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { intercept, keysOf } from "./backends.ts";
import { memberStore } from "./members.ts";
import type { PolicyPlace } from "./policies.ts";
import { insertRecord } from "./stored.ts";

const PAGE = 500;

/** The backend, which fails without having done anything at the call of `method` with this number, from 1 on. */
function failingAt(backend: SessionBackend, method: keyof SessionBackend, number: number): SessionBackend {
  let calls = 0;
  return intercept(backend, (called) => {
    if (called !== method || ++calls !== number) return;
    throw new SessionBackendError("The server is away", { reason: "unavailable", outcome: "not-applied" });
  });
}

/** Rules of the operations that change many sessions, on every backend. */
export function manySessions(open: () => PolicyPlace): void {
  async function populated(count: number) {
    const { backend, now } = open();
    const { store } = memberStore(backend, now);
    const issued = await Promise.all(Array.from({ length: count }, () => store.create({ userId: "andrew" })));
    return { backend, now, store, issued };
  }

  describe("an operation on many sessions that fails in the middle", () => {
    test.each<[string, keyof SessionBackend, number, number]>([
      ["the second page cannot be read", "page", 2, PAGE],
      ["one session of the first page fails", "revoke", 3, PAGE - 1],
      ["one session of the second page fails", "revoke", PAGE + 7, PAGE + 99],
    ])("revokeAll reports the outcome unknown and how many it ended if %s", async (_, method, number, done) => {
      const { backend, now, store } = await populated(PAGE + 100);
      const failing = memberStore(failingAt(backend, method, number), now);
      const error = await failing.store.revokeAll({ user: "andrew" }).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(SessionBackendError);
      expect(error).toMatchObject({ reason: "unavailable", outcome: "unknown", done });
      expect(failing.events.filter(({ type }) => type === "revoked")).toHaveLength(done);
      expect(await store.count({ user: "andrew" })).toBe(PAGE + 100 - done);
      expect(await store.revokeAll({ user: "andrew" })).toBe(PAGE + 100 - done);
    });

    test.each<[string, keyof SessionBackend, number, number]>([
      ["the second page cannot be read", "page", 2, PAGE],
      ["one session of the first page fails", "write", 3, PAGE - 1],
    ])("updateAll reports the outcome unknown and how many it changed if %s", async (_, method, number, done) => {
      const { backend, now, store } = await populated(PAGE + 100);
      const failing = memberStore(failingAt(backend, method, number), now);
      const error = await failing.store.updateAll({ user: "andrew" }, { theme: "dark" }).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(SessionBackendError);
      expect(error).toMatchObject({ reason: "unavailable", outcome: "unknown", done });
      const listed = await store.list({ user: "andrew" });
      expect(listed.filter(({ data }) => data.theme === "dark")).toHaveLength(done);
    });

    test("an operation that fails before it changed anything reports not-applied and none done", async () => {
      const { backend, now } = await populated(2);
      for (const method of ["page", "keys"] as const) {
        const { store } = memberStore(failingAt(backend, method, 1), now);
        const call = method === "page" ? store.revokeAll({ user: "andrew" }) : store.revokeEverybody();
        await expect(call).rejects.toMatchObject({ outcome: "not-applied", done: 0 });
      }
      await expect(memberStore(failingAt(backend, "read", 1), now).store.get("x".repeat(22))).resolves.toBeNull();
    });
  });

  describe("revokeEverybody", () => {
    test("ends all sessions, those that do not fit the schema included, and reports each", async () => {
      const { backend, now, issued, store } = await populated(3);
      const strange = { created_at: "?", last_accessed_at: "?", session_ttl: "?", session_deadline: "?" };
      const unreadable = "u".repeat(22);
      await insertRecord(backend, unreadable, strange, now());
      const misfit = "m".repeat(22);
      await insertRecord(backend, misfit, { ...strange, session_deadline: "99999999999999", views: "many" }, now());
      const { store: ending, events } = memberStore(backend, now);
      const progress: object[] = [];
      expect(await ending.revokeEverybody({ onProgress: (at) => progress.push(at) })).toBe(5);
      const ended = [...issued.map(({ session }) => session.id), unreadable, misfit];
      expect(events.map((event) => event.type === "revoked" && [event.reason, event.id]).sort()).toEqual(
        ended.map((id) => ["everybody", id]).sort(),
      );
      expect(progress.at(-1)).toEqual({ seen: 5, done: 5 });
      expect(await keysOf(backend)).toEqual([]);
      expect(await store.count({ user: "andrew" })).toBe(0);
      expect(await store.revokeEverybody()).toBe(0);
    });

    test("also ends sessions that are created before its last pass begins, and none after it returns", async () => {
      const { backend, now, store } = await populated(2);
      let passes = 0;
      const during = intercept(backend, async (method) => {
        // The keys of a pass are asked for when it begins.
        if (method === "keys" && ++passes <= 3) await store.create({});
      });
      const { store: ending } = memberStore(during, now);
      expect(await ending.revokeEverybody()).toBe(5);
      expect(passes).toBe(4);
      const { token } = await store.create({});
      expect(await store.peek(token)).not.toBeNull();
    });

    test("leaves the keys of other programs and the tombstones of revoked sessions", async () => {
      const { backend, now, store } = await populated(1);
      await backend.revoke("t".repeat(22), "user:andrew", { id: "t".repeat(22), cause: "revoked" }, 60_000, now());
      await insertRecord(backend, "other", { name: "x" }, now());
      expect(await store.revokeEverybody()).toBe(1);
      expect((await keysOf(backend)).sort()).toEqual(["other", "t".repeat(22)]);
    });

    test("stops when its signal aborts and reports how many it ended", async () => {
      const { backend, now } = await populated(150);
      const controller = new AbortController();
      const { store, events } = memberStore(backend, now);
      const ending = store.revokeEverybody({ signal: controller.signal, onProgress: () => controller.abort() });
      const error = await ending.catch((thrown) => thrown);
      expect(error).toMatchObject({ reason: "aborted", outcome: "unknown" });
      expect(error.done).toBeGreaterThan(0);
      expect(events).toHaveLength(error.done);
      expect(await keysOf(backend)).toHaveLength(150 - error.done);
    });

    test.each<[string, () => unknown]>([
      [
        "throws",
        () => {
          throw new Error("listener");
        },
      ],
      ["rejects", () => Promise.reject(new Error("listener"))],
    ])("continues if onProgress %s", async (_, onProgress) => {
      const { store } = await populated(2);
      expect(await store.revokeEverybody({ onProgress })).toBe(2);
    });
  });
}
