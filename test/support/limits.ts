import { beforeEach, describe, expect, test } from "vitest";
import { type SessionBackend, SessionBackendError, SessionConflictError } from "../../src/index.ts";
import { type BackendMethod, intercept, keysOf } from "./backends.ts";
import { gate, idle } from "./gate.ts";
import { allListed, entered, type MemberOptions, memberStore } from "./members.ts";

/** A backend to test limits on. */
export interface Ground {
  readonly backend: SessionBackend;
  /** Unix milliseconds. */
  now(): number;
  /** Lets the idle timeout of a session pass. */
  expire(id: string): unknown;
  /** Lets a minute pass for the members of an index. */
  minute(entry: string): unknown;
}

type Limits = NonNullable<MemberOptions["limits"]>;
type WhenFull = "evict-oldest" | "reject";

/** A create whose backend calls are held until the test lets each of them continue. */
interface Creator {
  readonly created: Promise<{ readonly session: { readonly id: string } }>;
  /** Lets the held call continue, and waits until the next one is held or the create has settled. */
  step(): Promise<void>;
  isOver(): boolean;
}

/** All interleavings of the steps of some actors. Each is a list of actor numbers. */
function orders(steps: readonly number[]): number[][] {
  if (steps.every((count) => count === 0)) return [[]];
  return steps.flatMap((count, actor) => {
    if (count === 0) return [];
    const less = steps.map((left, at) => (at === actor ? left - 1 : left));
    return orders(less).map((rest) => [actor, ...rest]);
  });
}

async function refusal(creation: Promise<unknown>): Promise<unknown> {
  return await creation.then(
    () => expect.fail("It was let in"),
    (error: unknown) => error,
  );
}

/** Tests of limits on the number of sessions with the same index value. */
export function limits(prepare: () => Ground | Promise<Ground>): void {
  let ground: Ground;
  let userId: string;
  beforeEach(async () => {
    ground = await prepare();
    userId = crypto.randomUUID();
  });

  function scene(limits: Limits, backend: SessionBackend = ground.backend) {
    const { store, events } = memberStore(backend, ground.now, { limits });
    return {
      store,
      events,
      login: async (data: object = {}) => (await store.create({ userId, ...data })).session.id,
      ids: async () => (await allListed(store, { user: userId })).map(({ id }) => id).sort(),
      entered: (entry = `user:${userId}`) => entered(ground.backend, entry, ground.now()),
    };
  }
  const user = (max: number, whenFull: WhenFull): Limits => ({ user: { max, whenFull } });

  describe("the limit evict-oldest", () => {
    test("an evict-oldest limit ends the oldest sessions and reports each as revoked", async () => {
      const { login, ids, events, store } = scene(user(2, "evict-oldest"));
      const [first, second] = [await login(), await login()];
      expect(events.map(({ type }) => type)).toEqual(["created", "created"]);
      const third = await login();
      expect(await ids()).toEqual([second, third].sort());
      const fourth = await login();
      expect(await ids()).toEqual([third, fourth].sort());
      const revoked = events.filter(({ type }) => type === "revoked");
      expect(revoked).toEqual(
        [first, second].map((id) => ({ type: "revoked", id, at: expect.any(Date), reason: "limit" })),
      );
      expect(await store.revoke(first)).toBe(false);
    });

    test("an evict-oldest limit of one keeps only the newest session", async () => {
      const { login, ids } = scene(user(1, "evict-oldest"));
      for (let count = 0; count < 3; count++) expect([await login()]).toEqual(await ids());
    });

    test("an evict-oldest limit of five keeps the five newest of twenty concurrent logins", async () => {
      const { login, ids, events } = scene(user(5, "evict-oldest"));
      const all = await Promise.all(Array.from({ length: 20 }, () => login()));
      expect(await ids()).toEqual(all.slice(-5).sort());
      const revoked = events.filter(({ type }) => type === "revoked").map(({ id }) => id);
      expect(revoked.sort()).toEqual(all.slice(0, 15).sort());
    });

    test("evicted sessions are removed from the index", async () => {
      const { login, ids, entered } = scene(user(2, "evict-oldest"));
      for (let count = 0; count < 5; count++) await login();
      await expect.poll(async () => (await entered()).sort()).toEqual(await ids());
    });

    test("an evict-oldest limit holds beyond the size of an index page", async () => {
      const { login, ids } = scene(user(300, "evict-oldest"));
      const all: string[] = [];
      for (let count = 0; count < 310; count++) all.push(await login());
      expect(await ids()).toEqual(all.slice(-300).sort());
    });

    test("an evict-oldest limit ends no session for a new one that could not be stored", async () => {
      const { login, ids } = scene(user(1, "evict-oldest"));
      const first = await login();
      const failing = intercept(ground.backend, (method) => {
        if (method === "insert") throw lost();
      });
      await refusal(scene(user(1, "evict-oldest"), failing).login());
      const refusing: SessionBackend = { ...ground.backend, insert: async () => "revoked" };
      await refusal(scene(user(1, "evict-oldest"), refusing).login());
      expect(await ids()).toEqual([first]);
    });
  });

  describe("the limit reject", () => {
    test("a reject limit rejects further sessions and stores nothing of them", async () => {
      const { login, ids, events, entered } = scene(user(2, "reject"));
      const both = [await login(), await login()];
      const keys = await keysOf(ground.backend);
      const error = await refusal(login({ cart: [{ sku: userId }] }));
      expect(error).toBeInstanceOf(SessionConflictError);
      const message = 'Cannot create a session as the limit of 2 sessions for the index "user" is reached';
      expect(error).toMatchObject({ reason: "limit", message });
      expect(await ids()).toEqual([...both].sort());
      expect(await entered()).toEqual(both);
      expect(await entered(`product:${userId}`)).toEqual([]);
      expect((await keysOf(ground.backend)).sort()).toEqual(keys.sort());
      expect(events.map(({ type }) => type)).toEqual(["created", "created"]);
    });

    test("a reject limit of five accepts five of twenty concurrent logins", async () => {
      const { login, ids, entered } = scene(user(5, "reject"));
      const all = await Promise.allSettled(Array.from({ length: 20 }, () => login()));
      const letIn = all.filter((one) => one.status === "fulfilled").map(({ value }) => value);
      expect(letIn).toHaveLength(5);
      expect(await ids()).toEqual(letIn.sort());
      expect((await entered()).sort()).toEqual(letIn);
      for (const one of all) if (one.status === "rejected") expect(one.reason).toMatchObject({ reason: "limit" });
    });

    test("a reject limit holds beyond the size of an index page", async () => {
      const { login, ids } = scene(user(300, "reject"));
      for (let count = 0; count < 300; count++) await login();
      expect(await refusal(login())).toMatchObject({ reason: "limit" });
      const [one] = await ids();
      await scene({}).store.revoke(one ?? "");
      await login();
      expect(await ids()).toHaveLength(300);
    });

    test("a create that crashed before it stored its session counts for a minute", async () => {
      const { login, ids } = scene(user(1, "reject"));
      const dying = intercept(ground.backend, (method) => {
        if (method === "insert") throw lost();
      });
      await refusal(scene(user(1, "reject"), dying).login());
      expect(await ids()).toEqual([]);
      expect(await refusal(login())).toMatchObject({ reason: "limit" });
      await ground.minute(`user:${userId}`);
      expect([await login()]).toEqual(await ids());
      expect(await refusal(login())).toMatchObject({ reason: "limit" });
    });
  });

  describe.each<WhenFull>(["evict-oldest", "reject"])("the limit %s", (whenFull) => {
    test("sessions that have ended do not count", async () => {
      const { login, ids, store, events } = scene(user(2, whenFull));
      const stays = await login();
      const ends: Record<string, (id: string, token: string) => unknown> = {
        destroy: (_, token) => store.destroy(token),
        revoke: (id) => store.revoke(id),
        revokeAll: () => store.revokeAll({ user: userId }, { except: { id: stays } }),
        expiry: (id) => ground.expire(id),
        move: (_, token) => store.update(token, { userId: crypto.randomUUID() }),
      };
      for (const [name, end] of Object.entries(ends)) {
        const { token, session } = await store.create({ userId });
        await end(session.id, token);
        // A member that was added within the last minute may belong to a create that is still in progress.
        if (name === "expiry" || name === "move") await ground.minute(`user:${userId}`);
        expect(await ids(), name).toEqual([stays]);
      }
      const last = await login();
      expect(await ids()).toEqual([stays, last].sort());
      expect(events.filter((event) => event.type === "revoked" && event.reason === "limit")).toEqual([]);
    });

    test("sessions that have ended are removed from the index by later logins", async () => {
      const { login, entered } = scene(user(3, whenFull));
      const all = [await login(), await login(), await login()];
      for (const id of all) await ground.expire(id);
      await ground.minute(`user:${userId}`);
      const last = await login();
      await expect.poll(() => entered()).toEqual([last]);
    });

    test("a limit applies to each value, and not to sessions without a value", async () => {
      const { login, ids, store } = scene(user(1, whenFull));
      const one = await login();
      await login({ userId: crypto.randomUUID() });
      await Promise.all([store.create({}), store.create({}), store.create({})]);
      expect(await ids()).toEqual([one]);
    });

    test("a limit applies only to the stores that have it", async () => {
      const { login, ids } = scene(user(1, whenFull));
      const free = scene({});
      await login();
      await free.login();
      await free.login();
      expect(await ids()).toHaveLength(3);
      if (whenFull === "reject") expect(await refusal(login())).toMatchObject({ reason: "limit" });
      else expect([await login()]).toEqual(await ids());
    });
  });

  describe("several limits", () => {
    test("a session counts for each of its limits", async () => {
      const tenant = crypto.randomUUID();
      const { login, store } = scene({
        user: { max: 2, whenFull: "evict-oldest" },
        tenant: { max: 3, whenFull: "evict-oldest" },
      });
      for (let count = 0; count < 3; count++) await login({ tenant });
      expect(await store.count({ user: userId })).toBe(2);
      expect(await store.count({ tenant })).toBe(2);
      for (let count = 0; count < 3; count++) await store.create({ userId: crypto.randomUUID(), tenant });
      expect(await store.count({ tenant })).toBe(3);
      expect(await store.count({ user: userId })).toBe(0);
    });

    test("a reject limit applies before an evict-oldest limit ends a session", async () => {
      const tenant = crypto.randomUUID();
      const { login, ids, store } = scene({
        user: { max: 1, whenFull: "evict-oldest" },
        tenant: { max: 1, whenFull: "reject" },
      });
      const here = await login();
      const elsewhere = await store.create({ userId: crypto.randomUUID(), tenant });
      expect(await refusal(login({ tenant }))).toMatchObject({ reason: "limit" });
      expect(await ids()).toEqual([here]);
      expect(await allListed(store, { tenant })).toEqual([elsewhere.session]);
    });

    test("a session that one limit rejects does not count for another limit", async () => {
      const tenant = crypto.randomUUID();
      const { login, entered, store } = scene({
        user: { max: 1, whenFull: "reject" },
        tenant: { max: 2, whenFull: "reject" },
      });
      await login({ tenant });
      for (let count = 0; count < 3; count++)
        expect(await refusal(login({ tenant }))).toMatchObject({ reason: "limit" });
      expect(await entered(`tenant:${tenant}`)).toHaveLength(1);
      await store.create({ userId: crypto.randomUUID(), tenant });
      expect(await store.count({ tenant })).toBe(2);
    });

    test("a session that one limit ended does not count for another limit", async () => {
      const tenant = crypto.randomUUID();
      const { login, ids, entered, store } = scene({
        user: { max: 1, whenFull: "evict-oldest" },
        tenant: { max: 3, whenFull: "reject" },
      });
      for (let count = 0; count < 10; count++) {
        await login({ tenant });
        await expect.poll(() => entered(`tenant:${tenant}`)).toEqual(await ids());
      }
      await store.create({ userId: crypto.randomUUID(), tenant });
      expect(await store.count({ tenant })).toBe(2);
    });

    test("a limit applies to each of several values of an index", async () => {
      const [hat, shoe] = [crypto.randomUUID(), crypto.randomUUID()];
      const { store } = scene({ product: { max: 1, whenFull: "evict-oldest" } });
      const first = await store.create({ cart: [{ sku: hat }] });
      const second = await store.create({ cart: [{ sku: shoe }] });
      const both = await store.create({ cart: [{ sku: hat }, { sku: shoe }] });
      for (const { token } of [first, second]) expect(await store.peek(token)).toBeNull();
      expect(await store.peek(both.token)).not.toBeNull();
    });
  });

  describe("concurrent logins", () => {
    const stops: readonly BackendMethod[] = ["enter", "insert", "write", "page"];

    /** @param token A session that moves to the index value; without it, a new one is created. */
    function creator(limits: Limits, data: object = {}, token?: string): Creator {
      const held: (() => void)[] = [];
      let reached = gate();
      const backend = intercept(ground.backend, async (method) => {
        if (!stops.includes(method)) return;
        const going = gate();
        held.push(going.open);
        reached.open();
        await going.passed;
      });
      let over = false;
      const { store } = memberStore(backend, ground.now, { limits });
      const created =
        token === undefined ? store.create({ userId, ...data }) : moved(store, token, { userId, ...data });
      const done = created.then(
        () => {},
        () => {},
      );
      done.then(() => {
        over = true;
      });
      return {
        created,
        isOver: () => over,
        async step() {
          if (held.length === 0) await Promise.race([reached.passed, done]);
          reached = gate();
          held.shift()?.();
          if (held.length === 0) await Promise.race([reached.passed, done]);
          else await idle();
        },
      };
    }

    async function moved(store: ReturnType<typeof scene>["store"], token: string, data: object) {
      const session = await store.update(token, data);
      return session === null ? expect.fail("The session has ended") : { session };
    }

    async function run(order: readonly number[], creators: readonly Creator[]): Promise<void> {
      for (const at of order) await creators[at]?.step();
      for (const one of creators) while (!one.isOver()) await one.step();
      await Promise.allSettled(creators.map(({ created }) => created));
      await idle();
    }

    test.each<[WhenFull, max: number, before: number, steps: number[]]>([
      ["evict-oldest", 1, 1, [4, 4]],
      ["evict-oldest", 1, 0, [4, 4]],
      ["evict-oldest", 2, 2, [4, 4]],
      ["evict-oldest", 1, 1, [2, 2, 2]],
      ["reject", 1, 0, [2, 2]],
      ["reject", 2, 1, [2, 2, 2]],
      ["reject", 1, 1, [2, 2]],
      ["reject", 1, 0, [3, 3]],
    ])(
      "with %s, a limit of %d holds for concurrent logins in every order of their steps (earlier logins: %d)",
      async (whenFull, max, before, steps) => {
        for (const order of orders(steps)) {
          userId = crypto.randomUUID();
          const { login, ids, store } = scene(user(max, whenFull));
          for (let count = 0; count < before; count++) await login();
          const creators = steps.map(() => creator(user(max, whenFull)));
          await run(order, creators);
          const settled = await Promise.allSettled(creators.map(({ created }) => created));
          const created = settled.filter((one) => one.status === "fulfilled").map(({ value }) => value.session.id);
          const why = `order ${order.join("")}`;
          expect(await store.count({ user: userId }), why).toBe(max);
          if (whenFull === "reject") {
            expect(created, why).toHaveLength(max - before);
            expect(await ids(), why).toEqual(expect.arrayContaining(created));
          } else {
            expect(created, why).toHaveLength(steps.length);
          }
        }
      },
    );

    test.each<[WhenFull, max: number, before: number, movers: number, steps: number[]]>([
      ["evict-oldest", 1, 1, 2, [4, 4]],
      ["evict-oldest", 1, 0, 1, [4, 4]],
      ["evict-oldest", 2, 1, 2, [2, 2, 2]],
      ["reject", 1, 0, 2, [2, 2]],
      ["reject", 1, 0, 1, [3, 2]],
      ["reject", 2, 1, 2, [2, 2, 2]],
    ])(
      "with %s, a limit of %d holds for concurrent moves and logins in every order of their steps (earlier logins: %d, moves: %d)",
      async (whenFull, max, before, movers, steps) => {
        for (const order of orders(steps)) {
          userId = crypto.randomUUID();
          const { login, store } = scene(user(max, whenFull));
          for (let count = 0; count < before; count++) await login();
          const tokens = await Promise.all(steps.slice(0, movers).map(async () => (await store.create({})).token));
          const actors = steps.map((_, at) => creator(user(max, whenFull), {}, tokens[at]));
          await run(order, actors);
          const settled = await Promise.allSettled(actors.map(({ created }) => created));
          const why = `order ${order.join("")}`;
          expect(await store.count({ user: userId }), why).toBe(max);
          const letIn = settled.filter(({ status }) => status === "fulfilled");
          expect(letIn, why).toHaveLength(whenFull === "reject" ? max - before : steps.length);
        }
      },
    );

    test("two reject limits accept at most one of two concurrent logins, and block no later login", async () => {
      for (const order of orders([4, 4])) {
        userId = crypto.randomUUID();
        const tenant = crypto.randomUUID();
        const both: Limits = { user: { max: 1, whenFull: "reject" }, tenant: { max: 1, whenFull: "reject" } };
        const creators = [creator(both, { tenant }), creator(both, { tenant })];
        await run(order, creators);
        const { store, login } = scene(both);
        const count = await store.count({ tenant });
        expect(count, `order ${order.join("")}`).toBeLessThanOrEqual(1);
        await store.revokeAll({ tenant });
        await login({ tenant });
      }
    });
  });
}

function lost(): SessionBackendError {
  return new SessionBackendError("The reply was lost", { reason: "unavailable", outcome: "unknown" });
}
