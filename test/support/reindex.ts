import { describe, expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, type SessionBackend, SessionBackendError, type WalkProgress } from "../../src/index.ts";
import { intercept, keysOf } from "./backends.ts";
import { allListed, entered, idsOf, type MemberOptions, member, memberStore } from "./members.ts";
import type { VersionsGround } from "./versions.ts";

const by = { user: "andrew" };
const entry = "user:andrew";
const IDLE_SECONDS = 1800;

/** Tests of sessions that are missing from indexes, on every backend. */
export function reindex(open: () => VersionsGround | Promise<VersionsGround>): void {
  async function scene(options: MemberOptions = {}) {
    const { backend, clock } = await open();
    const storeFrom = (on: SessionBackend, more: MemberOptions = {}) =>
      memberStore(on, clock.now, { idleTimeout: IDLE_SECONDS, ...options, ...more });
    const { store, events } = storeFrom(backend);
    return {
      backend,
      clock,
      events,
      store,
      storeOn: (on: SessionBackend, more?: MemberOptions) => storeFrom(on, more).store,
      /** A version of the application that does not declare any index. */
      bare: createSessionStore({ schema: member, backend, now: clock.now, idleTimeout: IDLE_SECONDS }),
      ids: async () => idsOf(await allListed(store, by)),
      /** Loses all members of an index. */
      async lose(lost: string) {
        const keys = await entered(backend, lost, clock.now());
        await backend.leave(
          lost,
          keys.map((key) => ({ key, score: null })),
          clock.now(),
        );
      },
    };
  }
  const lost = () =>
    new SessionBackendError("The server is not available", { reason: "unavailable", outcome: "not-applied" });

  describe("reindex", () => {
    test("reindex enters sessions that were created before the index was declared, and returns their number", async () => {
      const { bare, ids, store } = await scene();
      const old = [await bare.create({ userId: "andrew", tenant: "a" }), await bare.create({ userId: "andrew" })];
      await bare.create({});
      const present = await store.create({ userId: "andrew" });
      expect(await ids()).toEqual([present.session.id]);
      expect(await store.reindex()).toBe(2);
      expect(await ids()).toEqual(idsOf([...old, present].map(({ session }) => session)));
      expect(await store.count({ tenant: "a" })).toBe(1);
      expect(await store.reindex()).toBe(0);
      expect(await store.revokeAll(by)).toBe(3);
      for (const { token } of old) expect(await bare.peek(token)).toBeNull();
    });

    test("reindex enters sessions again after an index was lost", async () => {
      const { ids, lose, store } = await scene();
      const one = await store.create({ userId: "andrew", cart: [{ sku: "hat" }] });
      const other = await store.create({ userId: "andrew" });
      await lose(entry);
      await lose("product:hat");
      expect(await ids()).toEqual([]);
      expect(await store.reindex()).toBe(2);
      expect(await ids()).toEqual(idsOf([one.session, other.session]));
      expect(await store.count({ product: "hat" })).toBe(1);
      expect(await store.reindex()).toBe(0);
    });

    test("reindex moves a session whose data an older version has changed", async () => {
      const { bare, ids, store } = await scene();
      const { token, session } = await store.create({ userId: "barbara" });
      await bare.update(token, { userId: "andrew" });
      expect(await store.reindex()).toBe(1);
      expect(await ids()).toEqual([session.id]);
      expect(await store.revokeAll({ user: "barbara" })).toBe(0);
    });

    test("reindex extends no session, and changes neither its token nor its deadline", async () => {
      const { bare, clock, lose, store } = await scene();
      const old = await bare.create({ userId: "andrew" }, { absoluteTimeout: "12h" });
      const present = await store.create({ userId: "andrew" }, { absoluteTimeout: "12h" });
      await clock.advance(600);
      await lose(entry);
      expect(await store.reindex()).toBe(2);
      expect(await store.peek(old.token)).toEqual(old.session);
      expect(await store.peek(present.token)).toEqual(present.session);
      await clock.advance(1201);
      expect(await store.peek(old.token)).toBeNull();
      expect(await store.peek(present.token)).toBeNull();
    });

    test("sessions that are in their indexes keep their places, so that pages of list go on", async () => {
      const { bare, store } = await scene();
      const all = [];
      for (let count = 0; count < 4; count++) all.push((await store.create({ userId: "andrew" })).session.id);
      const old = (await bare.create({ userId: "andrew" })).session.id;
      const { cursor } = await store.list(by, { limit: 2 });
      expect(await store.reindex()).toBe(1);
      expect((await store.list(by, { cursor })).sessions.map(({ id }) => id)).toEqual([...all.slice(2), old]);
    });

    test("a session stays listed as long as it lives, although its idle timeout was lowered before its index was lost", async () => {
      const { clock, lose, store } = await scene();
      const { token } = await store.create({ userId: "andrew" }, { idleTimeout: "10h" });
      await store.setIdleTimeout(token, 60);
      await lose(entry);
      expect(await store.reindex()).toBe(1);
      for (let use = 0; use < 10; use++) {
        await clock.advance(50);
        expect(await store.get(token)).not.toBeNull();
        expect(await store.count(by)).toBe(1);
      }
    });

    test("a session whose data does not fit keeps its former entries, and is reported", async () => {
      const { backend, clock, lose, store } = await scene();
      const { session } = await store.create({ userId: "andrew", theme: "dark" });
      await lose(entry);
      const events: unknown[] = [];
      const strict = createSessionStore({
        schema: z.object({ userId: z.string(), theme: z.literal("light") }),
        backend,
        indexes: { user: "userId" },
        now: clock.now,
        onEvent: (event) => events.push(event),
      });
      expect(await strict.reindex()).toBe(1);
      expect(events).toMatchObject([{ type: "invalid", id: session.id }]);
      expect(await strict.count(by)).toBe(1);
    });

    test("reindex applies no limits and ends no session", async () => {
      const { bare, events, store } = await scene({ limits: { user: { max: 1, whenFull: "evict-oldest" } } });
      for (let count = 0; count < 3; count++) await bare.create({ userId: "andrew" });
      expect(await store.reindex()).toBe(3);
      expect(await store.count(by)).toBe(3);
      expect(events).toEqual([]);
    });

    test("an older version that changes the data at the same time does not leave the session in a wrong index", async () => {
      const { backend, bare, storeOn, store } = await scene();
      const { token, session } = await bare.create({ userId: "barbara" });
      let writes = 0;
      const changing = intercept(backend, async (method) => {
        if (method === "write" && ++writes === 1) await bare.update(token, { userId: "andrew" });
      });
      expect(await storeOn(changing).reindex()).toBe(1);
      expect(await store.count({ user: "barbara" })).toBe(0);
      expect((await store.list(by)).sessions.map(({ id }) => id)).toEqual([session.id]);
    });

    test("a session that ends at any point of reindex stays ended", async () => {
      for (const at of ["read", "enter", "extend", "write"] as const) {
        const { backend, bare, lose, storeOn, store } = await scene();
        const old = await bare.create({ userId: "andrew" });
        const present = await store.create({ userId: "andrew" });
        await lose(entry);
        const ending = intercept(backend, async (method) => {
          if (method === at) await Promise.all([old, present].map(({ token }) => bare.destroy(token)));
        });
        await storeOn(ending).reindex();
        expect(await keysOf(backend), at).toEqual([]);
        expect(await store.count(by), at).toBe(0);
      }
    });

    test("reindex reports its progress, stops with its signal, and says how many sessions it had entered", async () => {
      const { backend, bare, storeOn, store } = await scene();
      await Promise.all(Array.from({ length: 250 }, () => bare.create({ userId: "andrew" })));
      const controller = new AbortController();
      const seen: WalkProgress[] = [];
      const onProgress = (progress: WalkProgress) => {
        seen.push(progress);
        controller.abort();
      };
      const stopped = store.reindex({ onProgress, signal: controller.signal });
      await expect(stopped).rejects.toMatchObject({ reason: "aborted" });
      // A page of keys may be smaller than a hundred, as other keys are among them.
      const first = seen[0]?.done ?? 0;
      expect(first > 0 && first <= 100).toBe(true);
      expect(seen).toEqual([{ seen: first, done: first }]);
      expect(await stopped.catch(({ done }) => done)).toBe(first);
      let calls = 0;
      const failing = intercept(backend, (method) => {
        if (method === "write" && ++calls === 51) throw lost();
      });
      const failure = await storeOn(failing)
        .reindex()
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({ reason: "unavailable", outcome: "unknown" });
      const rest = await store.reindex({ onProgress: (progress) => seen.push(progress) });
      expect(first + (failure as SessionBackendError).done + rest).toBe(250);
      expect(seen.at(-1)).toEqual({ seen: 250, done: rest });
      expect(await store.count(by)).toBe(250);
    });

    test("reindex of a store without indexes is a TypeError", async () => {
      const { bare } = await scene();
      await expect(bare.reindex()).rejects.toThrow(/^Cannot enter sessions into indexes as the store declares none/);
    });
  });

  describe("revokeAll with scan", () => {
    test("revokeAll with scan ends sessions that the index misses, and no others", async () => {
      const { bare, events, lose, store } = await scene();
      const gone = await store.create({ userId: "andrew" });
      await lose(entry);
      const listed = await store.create({ userId: "andrew" });
      const old = await bare.create({ userId: "andrew" });
      const changed = await store.create({ userId: "barbara" });
      await bare.update(changed.token, { userId: "andrew" });
      const others = [
        await store.create({ userId: "barbara" }),
        await bare.create({}),
        await bare.create({ theme: "andrew" }),
      ];
      events.length = 0;
      expect(await store.revokeAll(by, { scan: true })).toBe(4);
      for (const { token } of [gone, listed, old, changed]) expect(await store.peek(token)).toBeNull();
      for (const { token, session } of others) expect(await store.peek(token)).toEqual(session);
      expect(events).toHaveLength(4);
      for (const event of events) expect(event).toMatchObject({ type: "revoked", reason: "index" });
      expect(await store.revokeAll(by, { scan: true })).toBe(0);
    });

    test("revokeAll without scan ends the sessions that are in the index", async () => {
      const { bare, store } = await scene();
      await bare.create({ userId: "andrew" });
      await store.create({ userId: "andrew" });
      expect(await store.revokeAll(by, { scan: false })).toBe(1);
    });

    test("a session's own index entry suffices if the index has lost it and its data has changed or cannot be read", async () => {
      const { backend, bare, clock, lose, store } = await scene();
      const changed = await store.create({ userId: "andrew" });
      await bare.update(changed.token, { userId: "barbara" });
      const unfit = await store.create({ userId: "andrew", theme: "dark" });
      await lose(entry);
      const schema = z.object({ userId: z.string().startsWith("b") });
      // Values of an index with a function are not compared with the schema.
      const indexes = { user: { from: "userId", values: (id: string) => id } } as const;
      const strict = createSessionStore({ schema, backend, indexes, now: clock.now });
      expect(await strict.revokeAll(by, { scan: true })).toBe(2);
      for (const { token } of [changed, unfit]) expect(await store.peek(token)).toBeNull();
    });

    test("a session whose reserved fields cannot be read ends by its own index entry", async () => {
      const { backend, clock, lose, store } = await scene();
      const { session } = await store.create({ userId: "andrew" });
      const access = { verifier: null, previous: true, now: clock.now() };
      const damage = { set: { session_deadline: "soon" }, remove: [], fields: [], touch: false };
      await backend.write(session.id, access, damage);
      await lose(entry);
      expect(await store.revokeAll(by, { scan: true })).toBe(1);
      expect(await keysOf(backend)).toEqual([]);
    });

    test("revokeAll with scan spares the session given as except", async () => {
      const { bare, store } = await scene();
      const { session } = await bare.create({ userId: "andrew" });
      await bare.create({ userId: "andrew" });
      expect(await store.revokeAll(by, { scan: true, except: session })).toBe(1);
      expect(await store.find(session.id)).toEqual(session);
    });

    test("a session that gets another value while revokeAll scans stays, and one that gets the value ends", async () => {
      const { backend, bare, storeOn, store } = await scene();
      const leaves = await bare.create({ userId: "andrew" });
      let removals = 0;
      const moving = intercept(backend, async (method) => {
        if (method === "remove" && ++removals === 1) await bare.update(leaves.token, { userId: "barbara" });
      });
      expect(await storeOn(moving).revokeAll(by, { scan: true })).toBe(0);
      expect((await store.peek(leaves.token))?.data.userId).toBe("barbara");
      let keys = 0;
      const joining = intercept(backend, async (method) => {
        if (method === "keys" && ++keys === 1) await bare.update(leaves.token, { userId: "andrew" });
      });
      expect(await storeOn(joining).revokeAll(by, { scan: true })).toBe(1);
    });

    test("a revokeAll with scan that fails says how many sessions it had ended", async () => {
      const { backend, bare, storeOn, store } = await scene();
      await store.create({ userId: "andrew" });
      await bare.create({ userId: "andrew" });
      const failing = intercept(backend, (method) => {
        if (method === "remove") throw lost();
      });
      const revoking = storeOn(failing).revokeAll(by, { scan: true });
      await expect(revoking).rejects.toMatchObject({ outcome: "unknown", done: 1 });
      expect(await store.revokeAll(by, { scan: true })).toBe(1);
    });
  });

  test("a session that reindex entered has the reserved fields of one that was created with the index", async () => {
    const { backend, bare, clock, store } = await scene();
    const old = await bare.create({ userId: "andrew" });
    const present = await store.create({ userId: "andrew" });
    await store.reindex();
    const fieldsOf = async (key: string) => {
      const access = { verifier: null, previous: true, now: clock.now() };
      return Object.keys((await backend.read(key, access, { fields: null })) ?? {}).sort();
    };
    expect(await fieldsOf(old.session.id)).toEqual(await fieldsOf(present.session.id));
  });
}
