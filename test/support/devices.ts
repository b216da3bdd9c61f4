import { describe, expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, memoryBackend, type SessionEvent } from "../../src/index.ts";
import { intercept } from "./backends.ts";
import { allListed, idsOf, member, memberStore } from "./members.ts";
import type { VersionsGround } from "./versions.ts";

/** The page "your devices": the sessions of a user page by page, and the end of one of them, on every backend. */
export function devices(open: () => VersionsGround | Promise<VersionsGround>): void {
  async function scene() {
    const { backend, clock } = await open();
    const { store, events } = memberStore(backend, clock.now);
    /** A version of the application that does not declare any index. */
    const bare = createSessionStore({ schema: member, backend, now: clock.now });
    const login = async (userId = "andrew") => (await store.create({ userId })).session.id;
    return { backend, bare, clock, events, login, store };
  }
  const by = { user: "andrew" };

  describe("pages of list", () => {
    test("the pages together have each session once, from the earliest to the latest", async () => {
      const { login, store } = await scene();
      const all: string[] = [];
      for (let count = 0; count < 7; count++) all.push(await login());
      await login("barbara");
      const seen: string[][] = [];
      for (let cursor: string | null | undefined; cursor !== null; ) {
        const page = await store.list(by, { limit: 3, cursor });
        seen.push(page.sessions.map(({ id }) => id));
        cursor = page.cursor;
      }
      expect(seen).toEqual([all.slice(0, 3), all.slice(3, 6), all.slice(6)]);
    });

    test("the page that ends with the last session has no cursor", async () => {
      const { login, store } = await scene();
      for (let count = 0; count < 3; count++) await login();
      expect(await store.list(by, { limit: 3 })).toMatchObject({ cursor: null });
      expect(await store.list({ user: "nobody" })).toEqual({ sessions: [], cursor: null });
    });

    test("a page has 100 sessions by default", async () => {
      const { login, store } = await scene();
      await Promise.all(Array.from({ length: 101 }, () => login()));
      const { sessions, cursor } = await store.list(by);
      expect(sessions).toHaveLength(100);
      expect((await store.list(by, { cursor })).sessions).toHaveLength(1);
    });

    test("sessions that stay are neither skipped nor repeated if others end, begin, move and rotate between the pages", async () => {
      const { clock, login, store } = await scene();
      const all = await Promise.all(Array.from({ length: 12 }, () => store.create({ userId: "andrew" })));
      const ids = (await store.list(by)).sessions.map(({ id }) => id);
      const tokenOf = (id: string | undefined) => all.find(({ session }) => session.id === id)?.token ?? "";
      const first = await store.list(by, { limit: 4 });
      await store.destroy(tokenOf(ids[0]));
      await store.revoke(ids[3] ?? "");
      await store.revoke(ids[4] ?? "");
      await store.update(tokenOf(ids[5]), { userId: "barbara" });
      await store.rotate(tokenOf(ids[1]), { patch: { theme: "dark" } });
      await store.get(tokenOf(ids[7]));
      await login();
      await clock.advance(61);
      await store.count(by);
      const rest = await allListed(store, by, { limit: 4, cursor: first.cursor });
      expect(first.sessions.map(({ id }) => id)).toEqual(ids.slice(0, 4));
      expect(rest.map(({ id }) => id).slice(0, -1)).toEqual(ids.slice(6));
    });

    test("the cursor of another index value, of another index and made-up text are rejected", async () => {
      const { login, store } = await scene();
      for (const userId of ["andrew", "andrew", "barbara", "barbara"]) await login(userId);
      await store.create({ tenant: "andrew" });
      await store.create({ tenant: "andrew" });
      const { cursor } = await store.list({ user: "barbara" }, { limit: 1 });
      const ofTenant = await store.list({ tenant: "andrew" }, { limit: 1 });
      const own = await store.list(by, { limit: 1 });
      const [score, check] = String(own.cursor).split(".");
      const strange = [
        cursor,
        ofTenant.cursor,
        "",
        "x",
        "1",
        ".",
        `${score}0.${check}`,
        `NaN.${check}`,
        `${own.cursor} `,
      ];
      for (const text of strange) {
        const listing = store.list(by, { cursor: text });
        await expect(listing, String(text)).rejects.toThrow(RangeError);
        await expect(listing, String(text)).rejects.toThrow(/^Cannot list sessions as cursor must /);
      }
      // @ts-expect-error A cursor is text.
      await expect(store.list(by, { cursor: 1 })).rejects.toThrow(TypeError);
      expect((await store.list(by, { cursor: own.cursor })).sessions).toHaveLength(1);
    });

    test("a cursor contains neither an ID nor the index value", async () => {
      const { login, store } = await scene();
      const id = await login();
      await login();
      const { cursor } = await store.list(by, { limit: 1 });
      expect(cursor).not.toContain(id);
      expect(cursor).not.toContain("andrew");
      expect(encodeURIComponent(String(cursor))).toBe(cursor);
    });
  });

  describe("find", () => {
    test("find returns the session with the ID, and does not extend it", async () => {
      const { clock, store } = await scene();
      const { session, token } = await store.create({ userId: "andrew" }, { idleTimeout: 100 });
      await clock.advance(60);
      expect(await store.find(session.id)).toEqual(session);
      await clock.advance(41);
      expect(await store.find(session.id)).toBeNull();
      expect(await store.peek(token)).toBeNull();
    });

    test("find returns null for an unknown or malformed ID, and rejects a token", async () => {
      const { store } = await scene();
      const { session, token } = await store.create({ userId: "andrew" });
      for (const id of ["x".repeat(22), "", `${session.id} `, "index:user:andrew", session.id.slice(1)]) {
        expect(await store.find(id)).toBeNull();
      }
      // @ts-expect-error A token is no ID.
      await expect(store.find(token)).rejects.toThrow(/^Cannot find a session by its ID as a token is not an ID/);
      await expect(store.find(String(token))).rejects.toThrow(TypeError);
    });

    test("find rejects if the data does not fit the schema, and the session stays", async () => {
      const { backend, clock, store } = await scene();
      const strict = createSessionStore({ schema: z.object({ theme: z.literal("dark") }), backend, now: clock.now });
      const { session, token } = await store.create({ userId: "andrew" });
      await expect(strict.find(session.id)).rejects.toMatchObject({ origin: "stored" });
      expect(await store.peek(token)).toEqual(session);
    });

    test("find is rejected on a store with plainIds", async () => {
      const plain = createSessionStore({ schema: member, backend: memoryBackend(), plainIds: true });
      const { session } = await plain.create({});
      await expect(plain.find(session.id)).rejects.toThrow(/plainIds/);
    });
  });

  describe("revoke of a session with an index value", () => {
    test("revoke with of ends the session only if it has the value", async () => {
      const { events, login, store } = await scene();
      const [own, other] = [await login(), await login("barbara")];
      events.length = 0;
      expect(await store.revoke(other, { of: by })).toBe(false);
      expect(await store.find(other)).not.toBeNull();
      expect(await store.revoke(own, { of: by })).toBe(true);
      expect(await store.find(own)).toBeNull();
      expect(await store.revoke(own, { of: by })).toBe(false);
      expect(events).toMatchObject([{ type: "revoked", id: own, reason: "id" }]);
      expect(idsOf(await allListed(store, by))).toEqual([]);
    });

    test("revoke with of does not end a session that gets another value at the same time", async () => {
      const { backend, clock, store } = await scene();
      const { token, session } = await store.create({ userId: "andrew" });
      let reads = 0;
      const moving = intercept(backend, async (method) => {
        if (method === "remove" && ++reads === 1) await store.update(token, { userId: "barbara" });
      });
      const elsewhere = memberStore(moving, clock.now).store;
      expect(await elsewhere.revoke(session.id, { of: by })).toBe(false);
      expect((await store.peek(token))?.data.userId).toBe("barbara");
    });

    test("revoke with of ends a session whose other fields change at the same time", async () => {
      const { backend, clock, store } = await scene();
      const { token, session } = await store.create({ userId: "andrew" });
      const changing = intercept(backend, async (method) => {
        if (method === "remove") await store.update(token, { theme: "dark" });
      });
      expect(await memberStore(changing, clock.now).store.revoke(session.id, { of: by })).toBe(true);
    });

    test("the data decides if the index entries are out of date or missing", async () => {
      const { bare, store } = await scene();
      const moved = await store.create({ userId: "andrew" });
      await bare.update(moved.token, { userId: "barbara" });
      const older = await bare.create({ userId: "andrew" });
      expect(await store.revoke(moved.session.id, { of: by })).toBe(false);
      expect(await store.revoke(older.session.id, { of: { user: "barbara" } })).toBe(false);
      expect(await store.revoke(older.session.id, { of: by })).toBe(true);
      expect(await store.revoke(moved.session.id, { of: { user: "barbara" } })).toBe(true);
    });

    test("the index entries decide if the field cannot be read", async () => {
      const { backend, clock, login } = await scene();
      const schema = z.object({ userId: z.string().startsWith("u-") });
      // Values of an index with a function are not compared with the schema.
      const indexes = { user: { from: "userId", values: (id: string) => id } } as const;
      const strict = createSessionStore({ schema, backend, indexes, now: clock.now });
      const [own, other] = [await login(), await login("barbara")];
      expect(await strict.revoke(other, { of: by })).toBe(false);
      expect(await strict.revoke(own, { of: by })).toBe(true);
    });

    test("an index value that is missing or not declared is rejected, and nothing ends", async () => {
      const { login, store } = await scene();
      const id = await login();
      const strange: unknown[] = [
        {},
        { user: undefined },
        { user: "" },
        { name: "andrew" },
        { ...by, tenant: "a" },
        null,
        "user",
      ];
      for (const of of strange) {
        await expect(store.revoke(id, { of: of as typeof by }), JSON.stringify(of)).rejects.toThrow(TypeError);
      }
      expect(await store.find(id)).not.toBeNull();
    });
  });

  test("no event contains data", async () => {
    const { events, login, store } = await scene();
    await store.revoke(await login("s3cret"), { of: { user: "s3cret" } });
    expect(JSON.stringify(events satisfies SessionEvent[])).not.toContain("s3cret");
  });
}
