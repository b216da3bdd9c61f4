import { describe, expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, type SessionBackend, type SessionEvent } from "../../src/index.ts";
import { allListed } from "./members.ts";
import { until } from "./until.ts";

const IDLE_SECONDS = 1800;

/** An empty backend and the clock of the backend and of all processes. */
export interface VersionsGround {
  readonly backend: SessionBackend;
  readonly clock: { readonly now: () => number; advance(seconds: number): unknown };
}

const first = z.object({ userId: z.string().optional(), theme: z.string().default("light") });
const second = first.extend({ tenant: z.string().default("none"), visits: z.int().default(0) });

/** Two versions of an application that use one backend at the same time, as in a rolling deploy and after a rollback. */
export function versions(open: () => VersionsGround | Promise<VersionsGround>): void {
  async function scene() {
    const { backend, clock } = await open();
    const events: SessionEvent[] = [];
    const shared = {
      backend,
      now: clock.now,
      idleTimeout: IDLE_SECONDS,
      onEvent: (event: SessionEvent) => events.push(event),
    };
    return {
      clock,
      events,
      /** Knows neither indexes nor the fields of the second version. */
      bare: createSessionStore({ ...shared, schema: first }),
      old: createSessionStore({ ...shared, schema: first, indexes: { user: "userId" } }),
      /** Knows all fields, but only one index. */
      between: createSessionStore({ ...shared, schema: second, indexes: { user: "userId" } }),
      next: createSessionStore({ ...shared, schema: second, indexes: { user: "userId", tenant: "tenant" } }),
    };
  }
  const data = { userId: "andrew", tenant: "acme", visits: 3 };

  describe("two versions of an application on one backend", () => {
    test("a version that declares fewer indexes keeps the entries of the others when it moves a session", async () => {
      const { old, next } = await scene();
      const { token, session } = await next.create(data);
      await old.update(token, { userId: "barbara" });
      expect((await allListed(next, { tenant: "acme" })).map(({ id }) => id)).toEqual([session.id]);
      expect(await next.count({ user: "barbara" })).toBe(1);
      expect(await next.count({ user: "andrew" })).toBe(0);
      expect((await next.get(token))?.data).toEqual({ ...data, userId: "barbara", theme: "light" });
      expect(await next.revokeAll({ tenant: "acme" })).toBe(1);
      expect(await old.get(token)).toBeNull();
    });

    test("a version that declares fewer indexes keeps a session listed under the others while it alone uses it", async () => {
      for (const which of ["bare", "old"] as const) {
        const { clock, next, ...stores } = await scene();
        const { token, session } = await next.create(data);
        for (let use = 0; use < 12; use++) {
          await clock.advance(0.6 * IDLE_SECONDS);
          expect(await stores[which].get(token), which).not.toBeNull();
        }
        expect((await allListed(next, { tenant: "acme" })).map(({ id }) => id)).toEqual([session.id]);
        expect((await allListed(next, { user: "andrew" })).map(({ id }) => id)).toEqual([session.id]);
        expect(await next.revokeAll({ tenant: "acme" })).toBe(1);
      }
    });

    test("a session whose data no longer has the index value is neither listed nor counted nor updated under it", async () => {
      const { bare, between, next } = await scene();
      const { token } = await next.create(data);
      await between.update(token, { tenant: "globex" });
      await bare.update(token, { userId: "barbara" });
      for (const by of [{ tenant: "acme" }, { user: "andrew" }] as const) {
        expect(await allListed(next, by)).toEqual([]);
        expect(await next.count(by)).toBe(0);
        expect(await next.updateAll(by, { theme: "dark" })).toBe(0);
      }
      expect((await next.peek(token))?.data).toEqual({ ...data, userId: "barbara", tenant: "globex", theme: "light" });
    });

    test("a get moves a session to the index values of its data after another version has changed them", async () => {
      const { bare, between, next, events } = await scene();
      const { token, session } = await next.create(data);
      await between.update(token, { tenant: "globex" });
      await bare.update(token, { userId: "barbara" });
      expect((await next.get(token))?.data.tenant).toBe("globex");
      for (const by of [{ tenant: "globex" }, { user: "barbara" }] as const) {
        expect((await allListed(next, by)).map(({ id }) => id)).toEqual([session.id]);
      }
      expect(await next.revokeAll({ tenant: "acme" })).toBe(0);
      expect(await next.revokeAll({ tenant: "globex" })).toBe(1);
      expect(events.map(({ type }) => type)).toEqual(["created", "revoked"]);
    });

    test("a session that was created before an index was declared is listed after its next get", async () => {
      const { bare, old, next } = await scene();
      const sessions = [await bare.create({ userId: "andrew" }), await old.create({ userId: "andrew" })];
      for (const { token } of sessions) await next.get(token);
      const ids = sessions.map(({ session }) => session.id).sort();
      expect((await allListed(next, { tenant: "none" })).map(({ id }) => id).sort()).toEqual(ids);
      expect(await next.revokeAll({ user: "andrew" })).toBe(2);
    });

    test("a rollback keeps the fields of the newer version, and its logouts end every session", async () => {
      const { old, next } = await scene();
      const { token } = await next.create(data);
      const rotated = await old.rotate(token, { patch: { theme: "dark" } });
      await old.update(rotated?.token ?? "", ({ theme }) => ({ theme: `${theme}er` }));
      expect((await next.get(rotated?.token ?? ""))?.data).toEqual({ ...data, theme: "darker" });
      await next.create(data);
      await old.create({ userId: "andrew" });
      expect(await old.revokeAll({ user: "andrew" })).toBe(3);
      await until("no entry is left", async () => (await next.count({ tenant: "acme" })) === 0);
    });

    test("data that has no index value, for example an empty text, stays usable and is reported as invalid", async () => {
      const { bare, old, events } = await scene();
      const { token } = await bare.create({ userId: "" });
      events.length = 0;
      expect((await old.get(token))?.data.userId).toBe("");
      expect(events).toMatchObject([{ type: "invalid", issues: [{ code: "custom" }] }]);
    });
  });

  describe("two versions of a schema on one backend", () => {
    const v1 = z.object({
      user: z.string().optional(),
      cart: z.array(z.string()).default(() => []),
      visits: z.int().default(0),
      theme: z.string().optional(),
    });
    const v2 = z.object({
      userId: z.string().optional(),
      basket: z.array(z.object({ sku: z.string(), n: z.int() })).default(() => []),
      visits: z.int().default(0),
      theme: z.string().optional(),
    });

    /** The earlier version and the later one, which renames the user, and changes its index value if `prefix` is given. */
    async function schemas(prefix = "") {
      const { backend, clock } = await open();
      const events: SessionEvent[] = [];
      const onEvent = (event: SessionEvent) => events.push(event);
      const shared = { backend, now: clock.now, idleTimeout: IDLE_SECONDS, onEvent };
      return {
        clock,
        events,
        old: createSessionStore({ ...shared, schema: v1, indexes: { user: "user" } }),
        next: createSessionStore({
          ...shared,
          schema: v2,
          indexes: { user: "userId" },
          version: 2,
          migrations: {
            1: {
              from: v1,
              to: ({ user, cart, ...rest }) => ({
                ...rest,
                userId: user === undefined ? undefined : prefix + user,
                basket: cart.map((sku) => ({ sku, n: 1 })),
              }),
            },
          },
        }),
      };
    }
    const ids = (sessions: readonly { readonly id: string }[]) => sessions.map(({ id }) => id).sort();

    test("a renamed field keeps its data, and both versions use the session during the deploy", async () => {
      const { old, next } = await schemas();
      const { token } = await old.create({ user: "andrew", cart: ["a"] });
      expect((await next.get(token))?.data).toEqual({ userId: "andrew", basket: [{ sku: "a", n: 1 }], visits: 0 });
      expect((await old.get(token))?.data).toEqual({ user: "andrew", cart: ["a"], visits: 0 });
      expect(await old.increment(token, "visits")).toBe(1);
      expect(await next.increment(token, "visits")).toBe(2);
      await old.update(token, { theme: "dark" });
      await next.update(token, ({ basket }) => ({ basket: [...basket, { sku: "b", n: 2 }] }));
      const rotated = await old.rotate(token, { patch: ({ visits }) => ({ visits: visits + 1 }) });
      const basket = [
        { sku: "a", n: 1 },
        { sku: "b", n: 2 },
      ];
      const expected = { userId: "andrew", basket, visits: 3, theme: "dark" };
      expect((await next.get(rotated?.token ?? ""))?.data).toEqual(expected);
    });

    test("an earlier version leaves a later session as it is, which is then not migrated again", async () => {
      const { old, next, events } = await schemas();
      const { token } = await old.create({ user: "andrew", cart: ["a"] });
      await next.get(token);
      await old.update(token, { cart: ["lost"], theme: "dark" });
      expect(await old.take(token, "theme")).toBe("dark");
      await old.setIdleTimeout(token, 60);
      expect((await next.get(token))?.data.basket).toEqual([{ sku: "a", n: 1 }]);
      expect(events.filter(({ type }) => type === "migrated")).toHaveLength(1);
    });

    test("after a rollback the earlier version reads the sessions of the later one by its own schema", async () => {
      const { old, next } = await schemas();
      const { token } = await next.create({ userId: "andrew", basket: [{ sku: "a", n: 1 }] });
      expect((await old.get(token))?.data).toEqual({ cart: [], visits: 0 });
      await old.update(token, { user: "andrew", cart: ["b"] });
      expect((await old.get(token))?.data).toEqual({ user: "andrew", cart: ["b"], visits: 0 });
      expect((await next.get(token))?.data).toEqual({ userId: "andrew", basket: [{ sku: "a", n: 1 }], visits: 0 });
    });

    test("a get by the earlier version leaves the index entries of a later session alone", async () => {
      const { old, next } = await schemas();
      const { token, session } = await old.create({ user: "andrew" });
      await next.update(token, { userId: "barbara" });
      expect((await old.get(token))?.data.user).toBe("andrew");
      expect(ids(await allListed(next, { user: "barbara" }))).toEqual([session.id]);
      expect(ids(await allListed(old, { user: "barbara" }))).toEqual([session.id]);
      expect(await next.count({ user: "andrew" })).toBe(0);
      expect(await next.revokeAll({ user: "barbara" })).toBe(1);
    });

    test("list, count and updateAll find sessions that are not migrated yet, and list and count migrate none", async () => {
      const { old, next, events } = await schemas();
      const sessions = [
        await old.create({ user: "andrew", cart: ["a"] }),
        await next.create({ userId: "andrew" }),
        await old.create({ user: "andrew" }),
      ];
      await next.get(sessions[2]?.token ?? "");
      events.length = 0;
      const by = { user: "andrew" };
      const listed = await allListed(next, by);
      expect(ids(listed)).toEqual(ids(sessions.map(({ session }) => session)));
      for (const { data } of listed) expect(data.userId).toBe("andrew");
      expect(await next.count(by)).toBe(3);
      expect(events).toEqual([]);
      expect(await next.updateAll(by, { theme: "dark" })).toBe(3);
      expect(await next.updateAll(by, ({ visits }) => ({ visits: visits + 1 }))).toBe(3);
      expect(events.map(({ type }) => type)).toEqual(["migrated"]);
      for (const { data } of await allListed(next, by)) expect(data).toMatchObject({ theme: "dark", visits: 1 });
      for (const { data } of await allListed(old, by)) expect(data).toMatchObject({ theme: "dark", visits: 1 });
      expect(await next.revokeAll(by)).toBe(3);
    });

    test("a migration that changes the index value moves the session when it is stored", async () => {
      for (const use of ["get", "update", "updateAll"] as const) {
        const { old, next } = await schemas("u-");
        const { token, session } = await old.create({ user: "andrew" });
        expect(ids(await allListed(next, { user: "andrew" }))).toEqual([session.id]);
        if (use === "get") await next.get(token);
        if (use === "update") await next.update(token, { theme: "dark" });
        if (use === "updateAll") expect(await next.updateAll({ user: "andrew" }, { theme: "dark" })).toBe(1);
        expect(ids(await allListed(next, { user: "u-andrew" })), use).toEqual([session.id]);
        expect(await next.count({ user: "andrew" })).toBe(0);
        if (use !== "get") expect((await next.peek(token))?.data.theme).toBe("dark");
        expect(await next.revokeAll({ user: "u-andrew" })).toBe(1);
        expect(await next.peek(token)).toBeNull();
      }
    });

    test("a session of the earlier version that nobody else uses keeps its index while the later one uses it", async () => {
      const { clock, old, next } = await schemas();
      const { token, session } = await old.create({ user: "andrew" });
      for (let use = 0; use < 6; use++) {
        await clock.advance(0.6 * IDLE_SECONDS);
        expect(await next.get(token)).not.toBeNull();
      }
      expect(ids(await allListed(next, { user: "andrew" }))).toEqual([session.id]);
      expect(await next.revokeAll({ user: "andrew" })).toBe(1);
    });
  });
}
