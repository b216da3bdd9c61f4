import { beforeEach, describe, expect, test } from "vitest";
import { type SessionBackend, SessionBackendError, SessionConflictError } from "../../src/index.ts";
import { intercept } from "./backends.ts";
import { idle, never } from "./gate.ts";
import type { Ground } from "./limits.ts";
import { allListed, entered, idsOf, type MemberOptions, memberStore } from "./members.ts";

type Limits = NonNullable<MemberOptions["limits"]>;
type WhenFull = "evict-oldest" | "reject";
type Store = ReturnType<typeof memberStore>["store"];

/** Ways in which an existing session gets an index value. Each answers whether there was a session. */
const MOVES: Readonly<Record<string, (store: Store, token: string, userId: string) => Promise<unknown>>> = {
  "a rotation with a patch": (store, token, userId) => store.rotate(token, { patch: { userId } }),
  "a login by rotation": (store, token, userId) => store.rotate(token, { patch: { userId }, authenticated: true }),
  "an update": (store, token, userId) => store.update(token, { userId }),
  "an update by a function": (store, token, userId) => store.update(token, () => ({ userId })),
};

/** Tests of limits where an existing session moves to an index value, and where one session replaces another. */
export function limitedWays(prepare: () => Ground | Promise<Ground>): void {
  let ground: Ground;
  let userId: string;
  beforeEach(async () => {
    ground = await prepare();
    userId = crypto.randomUUID();
  });

  function scene(whenFull: WhenFull, max: number, options: MemberOptions = {}, backend = ground.backend) {
    const limits: Limits = { user: { max, whenFull } };
    const { store, events } = memberStore(backend, ground.now, { limits, ...options });
    return {
      store,
      events,
      ids: async () => idsOf(await allListed(store, { user: userId })),
      entered: () => entered(ground.backend, `user:${userId}`, ground.now()),
      anonymous: async () => (await store.create({})).token,
      raw: (token: string) => {
        const access = { verifier: null, previous: true, now: ground.now() };
        return ground.backend.read(token.slice(0, 22), access, { fields: null });
      },
    };
  }

  describe.each(Object.entries(MOVES))("a limit and %s", (_, move) => {
    test("a reject limit rejects the move, and nothing is changed", async () => {
      const { store, ids, entered, anonymous, events, raw } = scene("reject", 2);
      for (const token of [await anonymous(), await anonymous()]) await move(store, token, userId);
      const both = await ids();
      expect(both).toHaveLength(2);
      const third = await anonymous();
      const before = await raw(third);
      for (let attempt = 0; attempt < 3; attempt++) {
        const error = await move(store, third, userId).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(SessionConflictError);
        expect(error).toMatchObject({ reason: "limit" });
        expect(String(error)).toContain('the limit of 2 sessions for the index "user" is reached');
      }
      expect(await raw(third)).toEqual(before);
      expect((await store.get(third))?.data.userId).toBeUndefined();
      expect(await ids()).toEqual(both);
      expect((await entered()).sort()).toEqual(both);
      expect(events.filter(({ type }) => type === "revoked")).toEqual([]);
      await store.revoke(both[0] ?? "");
      await move(store, third, userId);
      expect(await ids()).toEqual([both[1], third.slice(0, 22)].sort());
    });

    test("an evict-oldest limit ends the session that has had the value for longest", async () => {
      const { store, ids, anonymous, events } = scene("evict-oldest", 2);
      const oldest = await anonymous();
      const others = [await anonymous(), await anonymous(), await anonymous()];
      for (const token of [others[0], others[1], oldest, others[2]]) await move(store, token as string, userId);
      expect(await ids()).toEqual(idsOf([{ id: oldest.slice(0, 22) }, { id: others[2]?.slice(0, 22) as string }]));
      const revoked = events.filter(({ type }) => type === "revoked");
      expect(revoked).toMatchObject(others.slice(0, 2).map((token) => ({ id: token.slice(0, 22), reason: "limit" })));
    });

    test.each<WhenFull>(["reject", "evict-oldest"])(
      "with %s, exactly two of ten concurrent moves stay",
      async (full) => {
        const { store, ids, anonymous } = scene(full, 2);
        const tokens = await Promise.all(Array.from({ length: 10 }, anonymous));
        const processes = tokens.map(() => scene(full, 2).store);
        const moved = await Promise.allSettled(tokens.map((token, at) => move(processes[at] ?? store, token, userId)));
        expect(await ids()).toHaveLength(2);
        if (full === "reject") expect(moved.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
        else expect(moved.every(({ status }) => status === "fulfilled")).toBe(true);
      },
    );

    test("a change that keeps the value is not limited", async () => {
      const { store, ids, anonymous } = scene("reject", 1);
      const token = await anonymous();
      await store.update(token, { userId });
      await store.update(token, { userId, theme: "dark" });
      expect(await ids()).toEqual([token.slice(0, 22)]);
      await move(store, token, userId);
      expect(await ids()).toEqual([token.slice(0, 22)]);
    });
  });

  describe("limits and other ways to move", () => {
    test.each<WhenFull>(["reject", "evict-oldest"])(
      "with %s, two of the sessions that updateAll moves stay",
      async (full) => {
        const { store, ids } = scene(full, 2);
        const tenant = crypto.randomUUID();
        for (let count = 0; count < 5; count++) await store.create({ tenant });
        const moving = store.updateAll({ tenant }, { userId });
        if (full === "reject") await expect(moving).rejects.toMatchObject({ reason: "limit", done: 2 });
        else await moving;
        await idle();
        expect(await ids()).toHaveLength(2);
        expect(await store.count({ tenant })).toBe(full === "reject" ? 5 : 2);
      },
    );

    test("increment and take of a field that an index reads keep to its limit", async () => {
      const level = 1 + Math.floor(Math.random() * 1e9);
      const code = crypto.randomUUID();
      const limits: Limits = { level: { max: 1, whenFull: "reject" } };
      const { store } = memberStore(ground.backend, ground.now, { limits });
      await store.create({ level });
      const { token } = await store.create({ level: level - 1, code });
      await expect(store.increment(token, "level")).rejects.toMatchObject({ reason: "limit" });
      expect((await store.get(token))?.data.level).toBe(level - 1);
      expect(await store.take(token, "code")).toBe(code);
      expect(await store.increment(token, "level", 2)).toBe(level + 1);
    });

    test("a rejected move leaves the place of a session that another process moves to the same value", async () => {
      const { store, ids, anonymous } = scene("reject", 2);
      const token = await anonymous();
      await store.create({ userId });
      let held: (() => void) | undefined;
      const waiting = intercept(ground.backend, async (method) => {
        if (method === "write") await new Promise<void>((go) => (held = go));
      });
      const slow = scene("reject", 2, {}, waiting).store.update(token, { userId });
      await expect.poll(() => held).toBeDefined();
      const strict = scene("reject", 1).store.update(token, { userId });
      await expect(strict).rejects.toMatchObject({ reason: "limit" });
      await idle();
      held?.();
      await slow;
      expect(await ids()).toContain(token.slice(0, 22));
    });

    test("a move whose eviction fails reports an unknown outcome, and the next login makes room", async () => {
      const { store, ids, anonymous } = scene("evict-oldest", 1);
      await store.create({ userId });
      const token = await anonymous();
      const failing = intercept(ground.backend, (method) => {
        if (method === "revoke") throw lost("not-applied");
      });
      const moving = scene("evict-oldest", 1, {}, failing).store.update(token, { userId });
      await expect(moving).rejects.toMatchObject({ outcome: "unknown" });
      const { session } = await store.create({ userId });
      expect(await ids()).toEqual([session.id]);
    });
  });

  describe("create with replaces", () => {
    test.each<WhenFull>(["reject", "evict-oldest"])(
      "with %s, the session that is replaced does not count, and ends",
      async (full) => {
        const { store, ids, events } = scene(full, 2);
        const phone = await store.create({ userId });
        let laptop = await store.create({ userId });
        for (let login = 0; login < 3; login++) {
          const before = laptop;
          laptop = await store.create({ userId }, { replaces: before.token });
          expect(await store.peek(before.token)).toBeNull();
          expect(await ids()).toEqual(idsOf([phone.session, laptop.session]));
        }
        expect(events.filter(({ type }) => type === "revoked")).toEqual([]);
        expect(events.filter(({ type }) => type === "destroyed")).toHaveLength(3);
      },
    );

    test.each<WhenFull>(["reject", "evict-oldest"])(
      "with %s, a session does not count whatever its place among the others is",
      async (full) => {
        const { store, ids } = scene(full, 3);
        const tokens: string[] = [];
        for (let count = 0; count < 3; count++) tokens.push((await store.create({ userId })).token);
        await store.create({ userId }, { replaces: tokens[0] });
        await store.create({ userId }, { replaces: tokens[2] });
        expect(await ids()).toContain(tokens[1]?.slice(0, 22));
        expect(await ids()).toHaveLength(3);
      },
    );

    test("a token that is not valid replaces nothing and takes no place", async () => {
      const { store, ids } = scene("reject", 1);
      const { token, session } = await store.create({ userId });
      const wrong = `${session.id}.${"A".repeat(43)}`;
      for (const replaces of [wrong, "no token", "", session.id]) {
        await expect(store.create({ userId }, { replaces })).rejects.toMatchObject({ reason: "limit" });
      }
      expect(await ids()).toEqual([session.id]);
      await store.create({ userId }, { replaces: token });
    });

    test("without limits and without indexes, the session that is replaced ends", async () => {
      const { store } = memberStore(ground.backend, ground.now, {});
      const { token } = await store.create({ userId });
      const next = await store.create({}, { replaces: token });
      expect(await store.peek(token)).toBeNull();
      expect(await store.peek(next.token)).not.toBeNull();
      await store.create({}, { replaces: null });
      await store.create({}, { replaces: undefined });
    });

    test("a create that is rejected leaves the session that it would have replaced", async () => {
      const { store, ids } = scene("reject", 1);
      const here = await store.create({});
      const other = await store.create({ userId });
      const login = store.create({ userId }, { replaces: here.token });
      await expect(login).rejects.toMatchObject({ reason: "limit" });
      expect(await store.peek(here.token)).not.toBeNull();
      expect(await ids()).toEqual([other.session.id]);
    });

    test.each(["insert", "remove"] as const)(
      "a create whose %s fails leaves the old session and no new one",
      async (step) => {
        const { store, ids } = scene("evict-oldest", 1);
        const { token, session } = await store.create({ userId });
        const failing = intercept(ground.backend, (method) => {
          if (method === step) throw lost("not-applied");
        });
        const login = scene("evict-oldest", 1, {}, failing).store.create({ userId }, { replaces: token });
        await expect(login).rejects.toBeInstanceOf(SessionBackendError);
        await expect.poll(ids).toEqual([session.id]);
        expect(await store.get(token)).not.toBeNull();
      },
    );

    test("a rotation at the same time does not save the session that is replaced", async () => {
      const { store, ids } = scene("reject", 1);
      const { token } = await store.create({ userId });
      let rotated: string | undefined;
      const rotating = intercept(ground.backend, async (method) => {
        if (method === "insert") rotated = (await store.rotate(token))?.token;
      });
      const { session } = await scene("reject", 1, {}, rotating).store.create({ userId }, { replaces: token });
      expect(rotated).toBeDefined();
      expect(await ids()).toEqual([session.id]);
    });

    test("of two logins that replace the same session, a reject limit of one accepts one", async () => {
      const { store, ids } = scene("reject", 1);
      const { token } = await store.create({ userId });
      const logins = [1, 2].map(() => scene("reject", 1).store.create({ userId }, { replaces: token }));
      const settled = await Promise.allSettled(logins);
      expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(await ids()).toHaveLength(1);
    });
  });

  describe("a login that nobody receives under a reject limit", () => {
    /** A backend that never answers one method, but performs the call. */
    function silent(step: "insert" | "confirmation"): { backend: SessionBackend; asked: () => boolean } {
      let asked = false;
      const { insert, touch } = ground.backend;
      const call = async (answer: Promise<unknown>): Promise<never> => {
        await answer;
        asked = true;
        return await never();
      };
      const backend: SessionBackend = {
        ...ground.backend,
        ...(step === "insert" ? { insert: (...args) => call(insert(...args)) } : {}),
        ...(step === "confirmation" ? { touch: (...args) => call(touch(...args)) } : {}),
      };
      return { backend, asked: () => asked };
    }

    test.each(["insert", "confirmation"] as const)(
      "a login that times out or is aborted in its %s is ended",
      async (step) => {
        const { store, ids, entered } = scene("reject", 1);
        const { backend, asked } = silent(step);
        const controller = new AbortController();
        const login = scene("reject", 1, {}, backend).store.create({ userId }, { signal: controller.signal });
        login.catch(() => {});
        await expect.poll(asked).toBe(true);
        controller.abort();
        await expect(login).rejects.toMatchObject({ reason: "aborted", outcome: "unknown" });
        await expect.poll(entered).toEqual([]);
        const { session } = await store.create({ userId });
        expect(await ids()).toEqual([session.id]);
        const late = scene("reject", 1, { operationTimeout: "20ms" }, backend).store.create({ userId });
        await expect(late).rejects.toBeInstanceOf(Error);
        expect(await ids()).toEqual([session.id]);
      },
    );

    test("a place that nobody confirmed is free again after a minute, even if the process is gone", async () => {
      const { store, ids } = scene("reject", 1);
      let dead = false;
      const confirming: SessionBackend = {
        ...ground.backend,
        async touch() {
          dead = true;
          throw lost("unknown");
        },
      };
      const dying = intercept(confirming, () => {
        if (dead) throw lost("unknown");
      });
      await expect(scene("reject", 1, {}, dying).store.create({ userId })).rejects.toBeInstanceOf(SessionBackendError);
      const [left] = await ids();
      expect(await store.peek(left ?? "")).toBeNull();
      await ground.expire(left ?? "");
      await ground.minute(`user:${userId}`);
      const { session } = await store.create({ userId });
      expect(await ids()).toEqual([session.id]);
      expect(session.idleTimeout).toBe(1800);
      expect((await allListed(store, { user: userId }))[0]).toEqual(session);
    });
  });
}

function lost(outcome: "unknown" | "not-applied"): SessionBackendError {
  return new SessionBackendError("The server is not available", { reason: "unavailable", outcome });
}
