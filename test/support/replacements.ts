import { describe, expect, test } from "vitest";
import { SessionBackendError, SessionDataError } from "../../src/index.ts";
import { reserved } from "../../src/record.ts";
import { intercept } from "./backends.ts";
import { type Data, entered, type MemberOptions, memberStore, type NewMember } from "./members.ts";
import type { PolicyPlace } from "./policies.ts";
import { plant } from "./stored.ts";

const ITEM = { sku: "a" };
/** A login that keeps the cart and the theme. */
const logIn = (previous: Readonly<Data> | null): NewMember => ({
  userId: "42",
  cart: previous?.cart ?? [],
  theme: previous?.theme ?? "none",
  flash: previous?.flash,
});

/** A `create` with a function, which carries data of the session that it replaces into the new one. */
export function replacements(open: () => PolicyPlace): void {
  async function scene(options: MemberOptions = {}) {
    const { backend, now } = open();
    const { store, events } = memberStore(backend, now, options);
    const { token, session } = await store.create({ cart: [ITEM], theme: "dark", flash: "hi" });
    events.length = 0;
    /** A store whose next calls of a method are preceded by other calls. */
    const interrupted = (method: "insert" | "remove" | "write", meanwhile: (() => Promise<unknown>)[]) =>
      memberStore(
        intercept(backend, async (called) => {
          if (called === method) await meanwhile.shift()?.();
        }),
        now,
        options,
      );
    const live = async (): Promise<Data[]> => {
      const all: Data[] = [];
      for await (const { data } of store.scan()) all.push(data);
      return all;
    };
    return { backend, now, store, events, token, session, interrupted, live };
  }

  describe("create with a function", () => {
    test("the function gets the data of the replaced session, which ends", async () => {
      const { store, token, session, events, live } = await scene();
      const seen: unknown[] = [];
      const created = await store.create(
        (previous) => {
          seen.push(previous);
          return logIn(previous);
        },
        { replaces: token, authenticated: true },
      );
      expect(seen).toEqual([session.data]);
      expect(Object.isFrozen(seen[0])).toBe(true);
      expect(created.session.data).toMatchObject({ userId: "42", cart: [ITEM], theme: "dark", flash: "hi" });
      expect(created.session.id).not.toBe(session.id);
      expect(created.session.authenticatedAt).not.toBeNull();
      expect(await store.peek(token)).toBeNull();
      expect(await live()).toEqual([created.session.data]);
      expect(events.map(({ type, id }) => [type, id])).toEqual([
        ["created", created.session.id],
        ["destroyed", session.id],
      ]);
    });

    test.each([["none"], ["wrong"], ["malformed"], ["ended"], ["null"]])(
      "the function gets null if the token is %s",
      async (kind) => {
        const { store, token, session, live } = await scene();
        const wrong = `${session.id}.${"A".repeat(43)}`;
        if (kind === "ended") await store.destroy(token);
        const replaces = { none: undefined, wrong, malformed: "no token", ended: token, null: null }[kind];
        const created = await store.create(logIn, { replaces });
        expect(created.session.data).toMatchObject({ cart: [], theme: "none" });
        expect(await live()).toHaveLength(kind === "ended" ? 1 : 2);
      },
    );

    test("the new session has a new deadline, also if the old one had a timeout of its own", async () => {
      const { store } = await scene({ absoluteTimeout: "1h" });
      const old = await store.create({}, { idleTimeout: "5m", absoluteTimeout: "10m" });
      const { session } = await store.create(logIn, { replaces: old.token });
      expect(session.deadline?.getTime()).toBe(session.createdAt.getTime() + 3_600_000);
    });

    type Write = (one: Awaited<ReturnType<typeof scene>>) => Promise<unknown>;
    test.each<[string, Write, Partial<Data>]>([
      ["a patch", ({ store, token }) => store.update(token, { theme: "new" }), { theme: "new" }],
      ["a function", ({ store, token }) => store.update(token, () => ({ cart: [] })), { cart: [] }],
      ["an increment", ({ store, token }) => store.increment(token, "views"), {}],
      ["a take", ({ store, token }) => store.take(token, "flash"), { flash: undefined }],
      [
        "a rotation with a patch",
        ({ store, token }) => store.rotate(token, { patch: { theme: "new" } }),
        { theme: "new" },
      ],
    ])("what %s writes to the old session after it was read is in the new one", async (_, write, expected) => {
      for (const method of ["insert", "remove"] as const) {
        const one = await scene();
        const { store } = one.interrupted(method, [() => write(one)]);
        const created = await store.create(logIn, { replaces: one.token });
        const { flash: _, ...withoutFlash } = expected;
        expect(created.session.data).toMatchObject({ cart: [ITEM], theme: "dark", ...withoutFlash });
        expect(created.session.data.flash).toBe("flash" in expected ? undefined : "hi");
        expect(await one.store.peek(created.token)).toEqual(created.session);
        expect(await one.live()).toEqual([created.session.data]);
      }
    });

    test("a rotation and a touch of the old session do not make the function run again", async () => {
      const { store: other, token, interrupted, live } = await scene();
      const { store } = interrupted("remove", [
        async () => {
          await other.get(token);
          await other.rotate(token);
        },
      ]);
      let calls = 0;
      const counting = (previous: Readonly<Data> | null) => {
        calls++;
        return logIn(previous);
      };
      await store.create(counting, { replaces: token });
      expect(calls).toBe(1);
      expect(await live()).toHaveLength(1);
    });

    test("a write that moves the new session to another index value enters the index", async () => {
      const { store: other, token, backend, now, interrupted } = await scene();
      const { store } = interrupted("remove", [() => other.update(token, { tenant: "acme" })]);
      const byTenant = (previous: Readonly<Data> | null) => ({ tenant: previous?.tenant ?? null });
      const { session } = await store.create(byTenant, { replaces: token });
      expect(session.data.tenant).toBe("acme");
      expect(await entered(backend, "tenant:acme", now())).toContain(session.id);
    });

    test("the new session keeps what was read if the old one is written to and then ends", async () => {
      const { store: other, token, interrupted, live } = await scene();
      const { store } = interrupted("remove", [
        async () => {
          await other.update(token, { theme: "new" });
          await other.destroy(token);
        },
      ]);
      const { session } = await store.create(logIn, { replaces: token });
      expect(session.data).toMatchObject({ cart: [ITEM], theme: "dark" });
      expect(await live()).toEqual([session.data]);
    });

    test("the new session keeps what was read if the data of the old one becomes unreadable, and the old one ends", async () => {
      const { backend, now, token, interrupted, live } = await scene();
      const spoil = () => plant(backend, token, { cart: "spoiled" }, [], now());
      const { store, events } = interrupted("remove", [spoil]);
      const { session } = await store.create(logIn, { replaces: token });
      expect(session.data).toMatchObject({ cart: [ITEM], theme: "dark" });
      expect(events.map(({ type }) => type)).toEqual(["created", "invalid", "destroyed"]);
      expect(await live()).toEqual([session.data]);
    });

    test("data of the old session that does not fit the schema is null and reported, and the session ends", async () => {
      const { store, backend, now, token, session, events, live } = await scene();
      await plant(backend, token, { cart: "spoiled" }, [], now());
      const created = await store.create(logIn, { replaces: token });
      expect(created.session.data).toMatchObject({ cart: [], theme: "none" });
      expect(events).toContainEqual(expect.objectContaining({ type: "invalid", id: session.id }));
      expect(await live()).toEqual([created.session.data]);
    });

    test("create fails as contended if the old session changes each time, and leaves it and no new one", async () => {
      const { store: other, token, session, interrupted, live } = await scene();
      const writes = Array.from({ length: 100 }, (_, n) => () => other.update(token, { theme: `${n}` }));
      const { store } = interrupted("remove", writes);
      const error = await store.create(logIn, { replaces: token }).catch((thrown) => thrown);
      expect(error).toMatchObject({ code: "ERR_SESSION_CONFLICT", reason: "contended" });
      expect(error.message).toContain("the session that it replaces was changed concurrently 24 times in a row");
      await expect.poll(live).toHaveLength(1);
      expect((await other.peek(token))?.id).toBe(session.id);
    });

    test("create fails as revoked if the new session is revoked before it can be changed", async () => {
      const { store: other, token, interrupted, live } = await scene();
      const { store } = interrupted("remove", [
        async () => {
          await other.update(token, { theme: "new" });
          await other.revokeAll({ user: "42" });
        },
      ]);
      await expect(store.create(logIn, { replaces: token })).rejects.toMatchObject({ reason: "revoked" });
      expect(await live()).toEqual([expect.objectContaining({ theme: "new" })]);
    });

    test.each<[string, unknown, string]>([
      [
        "throws",
        () => {
          throw new Error("no");
        },
        "no",
      ],
      ["returns a promise", async () => ({}), "the function must return the data: received a promise"],
      [
        "returns a promise that rejects",
        async () => {
          throw new Error("no");
        },
        "received a promise",
      ],
      ["returns nothing", () => {}, "does not fit the schema"],
      ["returns an unknown field", () => ({ more: 1 }), "does not fit the schema"],
      ["returns a wrong value", () => ({ level: "high" }), "level"],
      ["returns a function", () => () => ({}), "does not fit the schema"],
    ])("a function that %s is an error, the old session stays and nothing is written", async (_, given, message) => {
      for (const isSecond of [false, true]) {
        const { store: other, token, session, interrupted, live } = await scene();
        const { store } = interrupted("remove", [() => other.update(token, { theme: "new" })]);
        let calls = 0;
        const late = (previous: Readonly<Data> | null) =>
          isSecond && calls++ === 0 ? logIn(previous) : (given as (previous: unknown) => NewMember)(previous);
        const creating = store.create(late, { replaces: token });
        await expect(creating).rejects.toThrow(message);
        await expect(creating).rejects.not.toBeInstanceOf(SessionBackendError);
        await expect.poll(live).toEqual([{ ...session.data, theme: isSecond ? "new" : "dark" }]);
        expect(await other.peek(token)).not.toBeNull();
      }
    });

    test("a session that is bound to a device gives no data to a create without proof, and ends", async () => {
      const { backend, now, store, token, session, events, live } = await scene();
      const access = { verifier: null, previous: false, now: now() };
      await backend.write(session.id, access, { set: { [reserved.bound]: "!" }, remove: [], fields: [] });
      const seen: unknown[] = [];
      const created = await store.create(
        (previous) => {
          seen.push(previous);
          return logIn(previous);
        },
        { replaces: token },
      );
      expect(seen).toEqual([null]);
      expect(await live()).toEqual([created.session.data]);
      expect(events.map(({ type, id }) => [type, id])).toEqual([
        ["unproven", session.id],
        ["created", created.session.id],
        ["destroyed", session.id],
      ]);
    });

    test("data that is too large on the second call is refused, and the old session stays", async () => {
      const { store: other, token, interrupted, live } = await scene({ maxBytes: 200 });
      const { store } = interrupted("remove", [() => other.update(token, { flash: "x".repeat(90) })]);
      const twice = (previous: Readonly<Data> | null) => ({ flash: `${previous?.flash}${previous?.flash}` });
      await expect(store.create(twice, { replaces: token })).rejects.toThrow(SessionDataError);
      await expect.poll(live).toHaveLength(1);
      expect(await other.peek(token)).not.toBeNull();
    });

    test("of two logins from one session both succeed, and under a reject limit of one the second fails", async () => {
      const free = await scene();
      const pair = (one: typeof free) =>
        Promise.allSettled([1, 2].map(() => one.store.create(logIn, { replaces: one.token })));
      for (const settled of await pair(free)) {
        expect(settled).toMatchObject({ status: "fulfilled", value: { session: { data: { cart: [ITEM] } } } });
      }
      expect(await free.live()).toHaveLength(2);
      const limited = await scene({ limits: { user: { max: 1, whenFull: "reject" } } });
      const outcomes = (await pair(limited)).map(({ status }) => status).sort();
      expect(outcomes).toEqual(["fulfilled", "rejected"]);
      await expect.poll(limited.live).toHaveLength(1);
      const evicting = await scene({ limits: { user: { max: 1, whenFull: "evict-oldest" } } });
      await pair(evicting);
      expect(await evicting.live()).toHaveLength(1);
    });
  });
}
