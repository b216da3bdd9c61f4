import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, type SessionBackend, SessionDataError } from "../../src/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { idle } from "../support/gate.ts";
import {
  allListed,
  type Data,
  idsOf,
  indexes,
  type MemberOptions,
  member,
  memberStore,
  members,
} from "../support/members.ts";
import { rawOf } from "../support/stored.ts";

const DAY_MS = 86_400_000;

/** Andrew on two devices and Barbara on one. */
async function three(options?: MemberOptions) {
  const scene = members(options);
  const phone = await scene.store.create({ userId: "andrew", tenant: "a", cart: [{ sku: "hat" }, { sku: "shoe" }] });
  const laptop = await scene.store.create({ userId: "andrew", tenant: "b" });
  const other = await scene.store.create({ userId: "barbara", tenant: "a", cart: [{ sku: "hat" }] });
  scene.calls.length = 0;
  scene.events.length = 0;
  return { ...scene, phone, laptop, other };
}

type Scene = Awaited<ReturnType<typeof three>>;

describe("list", () => {
  test("list returns the sessions whose field has the value", async () => {
    const { store, phone, laptop, other } = await three();
    expect(idsOf(await allListed(store, { user: "andrew" }))).toEqual(idsOf([phone.session, laptop.session]));
    expect(await allListed(store, { user: "barbara" })).toEqual([other.session]);
    expect(idsOf(await allListed(store, { tenant: "a" }))).toEqual(idsOf([phone.session, other.session]));
    expect(await allListed(store, { user: "nobody" })).toEqual([]);
    expect(await allListed(store, { tenant: "andrew" })).toEqual([]);
  });

  test("a pass over an index that the backend returns again and again fails instead of running for ever", async () => {
    const backend = memoryBackend();
    const score = Date.now() * 1000;
    const members = Array.from({ length: 500 }, (_, at) => ({ key: `${at}`.padStart(22, "a"), score: score + at }));
    const page: SessionBackend["page"] = async () => ({ at: Date.now(), size: 1000, members });
    const store = createSessionStore({
      schema: z.object({ userId: z.string() }),
      backend: { ...backend, page },
      indexes: { user: "userId" },
    });
    await expect(store.revokeAll({ user: "42" })).rejects.toThrow("the same page again");
    await expect(store.count({ user: "42" })).rejects.toThrow("the same page again");
  });

  test("list returns a session once for each of its values, even if a value occurs twice", async () => {
    const { store, entered, phone, other } = await three();
    const twice = await store.create({ cart: [{ sku: "bag" }, { sku: "bag" }] });
    const none = await store.create({});
    expect(idsOf(await allListed(store, { product: "hat" }))).toEqual(idsOf([phone.session, other.session]));
    expect(await allListed(store, { product: "shoe" })).toEqual([phone.session]);
    expect(await allListed(store, { product: "bag" })).toEqual([twice.session]);
    expect(await entered("product:bag")).toEqual([twice.session.id]);
    expect(await store.peek(none.token)).not.toBeNull();
  });

  test("list finds a value of any text, and never confuses values", async () => {
    const { store } = members();
    for (const userId of [
      "a:b",
      "user:a",
      " ",
      "*",
      "__proto__",
      "é",
      "e\u0301",
      "💥",
      "\0\n",
      "a\u0000b",
      "[x]",
      "{x}",
    ]) {
      const { session } = await store.create({ userId });
      expect(await allListed(store, { user: userId })).toEqual([session]);
    }
    await store.create({ userId: "b", tenant: "b" });
    expect(await allListed(store, { user: "b" })).toHaveLength(1);
  });

  test("list returns IDs and frozen data, and no token", async () => {
    const { store, phone, laptop } = await three();
    const sessions = await allListed(store, { user: "andrew" });
    expect(sessions.map(({ data }) => data.tenant).sort()).toEqual(["a", "b"]);
    for (const session of sessions) {
      expect(Object.isFrozen(session)).toBe(true);
      expect(Object.isFrozen(session.data.cart)).toBe(true);
    }
    const shown = inspect(sessions, { depth: null, showHidden: true }) + JSON.stringify(sessions);
    for (const { token } of [phone, laptop]) expect(shown).not.toContain(token.split(".")[1]);
  });

  test("a limit of list that is out of range is a RangeError", async () => {
    const { store } = await three();
    for (const limit of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1001]) {
      await expect(store.list({ user: "andrew" }, { limit })).rejects.toThrow(/^Cannot list sessions as limit must be/);
      await expect(store.list({ user: "andrew" }, { limit })).rejects.toThrow(RangeError);
    }
    // @ts-expect-error
    await expect(store.list({ user: "andrew" }, { limit: "1" })).rejects.toThrow(TypeError);
  });

  test("list reads one page of an index; count and revokeAll read all", async () => {
    const { store, calls } = members();
    const all = await Promise.all(Array.from({ length: 1201 }, () => store.create({ userId: "andrew" })));
    expect(idsOf(await allListed(store, { user: "andrew" }))).toEqual(idsOf(all.map(({ session }) => session)));
    calls.length = 0;
    expect((await store.list({ user: "andrew" }, { limit: 1000 })).sessions).toHaveLength(1000);
    expect((await store.list({ user: "andrew" }, { limit: 10 })).sessions).toHaveLength(10);
    expect(calls.filter((method) => method === "page")).toHaveLength(2);
    expect(await store.count({ user: "andrew" })).toBe(1201);
    expect(await store.revokeAll({ user: "andrew" })).toBe(1201);
    expect(await store.count({ user: "andrew" })).toBe(0);
  });

  test("list leaves out sessions that no longer fit the schema and reports them; count and revokeAll include them", async () => {
    const scene = await three();
    const { backend, clock, phone, laptop } = scene;
    await scene.store.update(phone.token, { theme: "dark" });
    const events: unknown[] = [];
    const strict = createSessionStore({
      schema: z.object({ userId: z.string(), theme: z.literal("light") }),
      backend,
      indexes: { user: "userId" },
      now: clock.now,
      onEvent: (event) => events.push(event),
    });
    expect(idsOf(await allListed(strict, { user: "andrew" }))).toEqual([laptop.session.id]);
    expect(events).toEqual([
      {
        type: "invalid",
        id: phone.session.id,
        at: new Date(clock.now()),
        issues: [expect.objectContaining({ path: ["theme"] })],
      },
    ]);
    expect(await strict.count({ user: "andrew" })).toBe(2);
    expect(await strict.updateAll({ user: "andrew" }, { userId: "andrew" })).toBe(1);
    expect(await strict.revokeAll({ user: "andrew" })).toBe(2);
    expect(await scene.store.peek(phone.token)).toBeNull();
  });
});

describe("operations that do not extend a session", () => {
  test.each<[string, (scene: Scene) => Promise<unknown>]>([
    ["list", ({ store }) => allListed(store, { user: "andrew" })],
    ["count", ({ store }) => store.count({ user: "andrew" })],
    ["peek", ({ store, phone }) => store.peek(phone.token)],
    ["updateAll", ({ store }) => store.updateAll({ user: "andrew" }, { theme: "dark" })],
    ["updateAll with a function", ({ store }) => store.updateAll({ user: "andrew" }, () => ({ theme: "dark" }))],
    ["revokeAll with except", ({ store, phone }) => store.revokeAll({ user: "andrew" }, { except: phone.session })],
  ])("%s does not extend the session", async (_, look) => {
    const scene = await three({ idleTimeout: 100 });
    const { store, phone, advance } = scene;
    advance(60);
    await look(scene);
    expect((await store.peek(phone.token))?.lastAccessedAt).toEqual(phone.session.lastAccessedAt);
    advance(41);
    expect(await store.peek(phone.token)).toBeNull();
  });

  test("an index adds no backend call to get and peek", async () => {
    const { store, phone, calls } = await three();
    await store.get(phone.token);
    await store.peek(phone.token);
    expect(calls).toEqual(["read", "read"]);
  });
});

describe("count", () => {
  test("count returns the number of sessions with the value", async () => {
    const { store, phone } = await three();
    expect(await store.count({ user: "andrew" })).toBe(2);
    expect(await store.count({ product: "hat" })).toBe(2);
    expect(await store.count({ user: "nobody" })).toBe(0);
    await store.destroy(phone.token);
    expect(await store.count({ user: "andrew" })).toBe(1);
    expect(await store.count({ product: "hat" })).toBe(1);
  });

  test("count and list leave out a session as soon as it has expired", async () => {
    const { store, advance, other } = await three();
    const short = await store.create({ userId: "barbara" }, { idleTimeout: 10 });
    advance(10);
    expect(await store.count({ user: "barbara" })).toBe(2);
    advance(0.001);
    expect(await store.count({ user: "barbara" })).toBe(1);
    expect(await allListed(store, { user: "barbara" })).toEqual([other.session]);
    expect(await store.revoke(short.session.id)).toBe(false);
    expect(await store.revokeAll({ user: "barbara" })).toBe(1);
  });
});

describe("revoke", () => {
  test("revoke ends a session by its ID and returns whether it existed", async () => {
    const { store, events, at, entered, phone, laptop } = await three();
    expect(await store.revoke(phone.session.id)).toBe(true);
    expect(await store.get(phone.token)).toBeNull();
    expect(await store.revoke(phone.session.id)).toBe(false);
    expect(events).toEqual([{ type: "revoked", id: phone.session.id, at: at(), reason: "id" }]);
    expect(await entered("user:andrew")).toEqual([laptop.session.id]);
    expect(await entered("product:shoe")).toEqual([]);
  });

  test("revoke also works on a store without indexes", async () => {
    const store = createSessionStore({ schema: member, backend: memoryBackend() });
    const { token, session } = await store.create({});
    expect(await store.revoke(session.id)).toBe(true);
    expect(await store.peek(token)).toBeNull();
  });

  test("revoke returns false for a malformed ID, without a backend call", async () => {
    const { store, calls, phone } = await three();
    const { id } = phone.session;
    for (const malformed of ["", "x", `${id}x`, id.slice(1), ` ${id}`, `${id}\n`, "index:user:andrew", "*"]) {
      expect(await store.revoke(malformed)).toBe(false);
    }
    for (const malformed of [undefined, null, 1, {}, [id]]) {
      // @ts-expect-error An id is text.
      expect(await store.revoke(malformed)).toBe(false);
    }
    expect(calls).toEqual([]);
  });

  test("revoke and indexes are rejected on a store with plainIds", async () => {
    const backend = memoryBackend();
    const bare = createSessionStore({ schema: member, backend, plainIds: true });
    const { token, session } = await bare.create({});
    for (const id of [session.id, token, ""]) await expect(bare.revoke(id)).rejects.toThrow(/plainIds/);
    expect(await bare.peek(token)).not.toBeNull();
    const both = { schema: member, backend, plainIds: true };
    expect(() => createSessionStore({ ...both, indexes: { user: "userId" } })).toThrow(TypeError);
    expect(() => createSessionStore({ ...both, indexes: {} })).toThrow(TypeError);
  });
});

describe("revokeAll", () => {
  test("revokeAll ends the sessions with the value and no others", async () => {
    const { store, events, at, backend, entered, phone, laptop, other } = await three();
    expect(await store.revokeAll({ user: "andrew" })).toBe(2);
    expect(await store.revokeAll({ user: "andrew" })).toBe(0);
    expect(await keysOf(backend)).toEqual([other.session.id]);
    expect(await store.peek(other.token)).toEqual(other.session);
    const revoked = [phone, laptop].map(({ session: { id } }) => ({ type: "revoked", id, at: at(), reason: "index" }));
    expect(events).toHaveLength(2);
    expect(events).toEqual(expect.arrayContaining(revoked));
    expect(await entered("user:andrew")).toEqual([]);
  });

  test("revokeAll spares the session given as except", async () => {
    const { store, phone, laptop } = await three();
    expect(await store.revokeAll({ user: "andrew" }, { except: phone.session })).toBe(1);
    expect(await store.peek(phone.token)).toEqual(phone.session);
    expect(await store.peek(laptop.token)).toBeNull();
    expect(await allListed(store, { user: "andrew" })).toEqual([phone.session]);
    expect(await store.revokeAll({ user: "andrew" }, { except: { id: phone.session.id } })).toBe(0);
    for (const except of [null, undefined]) {
      await store.create({ userId: "andrew" });
      expect(await store.revokeAll({ user: "andrew" }, { except })).toBeGreaterThan(0);
    }
    expect(await store.count({ user: "andrew" })).toBe(0);
  });

  test("revokeAll by one of several values ends the whole session", async () => {
    const { store, phone, other, laptop } = await three();
    expect(await store.revokeAll({ product: "hat" })).toBe(2);
    for (const { token } of [phone, other]) expect(await store.peek(token)).toBeNull();
    expect(await allListed(store, { user: "andrew" })).toEqual([laptop.session]);
  });

  test("revokeAll does not end a session whose value has changed", async () => {
    const { store, phone } = await three();
    await store.update(phone.token, { userId: "carol" });
    expect(await store.revokeAll({ user: "andrew" })).toBe(1);
    expect((await store.peek(phone.token))?.data.userId).toBe("carol");
    expect(await store.revokeAll({ user: "carol" })).toBe(1);
  });
});

describe("updateAll", () => {
  test("updateAll writes a patch to every session with the value", async () => {
    const { store, phone, laptop, other } = await three();
    expect(await store.updateAll({ user: "andrew" }, { theme: "dark" })).toBe(2);
    for (const { token } of [phone, laptop]) expect((await store.peek(token))?.data.theme).toBe("dark");
    expect(await store.peek(other.token)).toEqual(other.session);
    expect(await store.updateAll({ user: "nobody" }, { theme: "dark" })).toBe(0);
  });

  test("updateAll calls a function with the data of each session", async () => {
    const { store, laptop } = await three();
    await store.update(laptop.token, { views: 10 });
    expect(await store.updateAll({ user: "andrew" }, ({ views }) => ({ views: views + 1 }))).toBe(2);
    expect((await allListed(store, { user: "andrew" })).map(({ data }) => data.views).sort()).toEqual([1, 11]);
  });

  test("updateAll moves the sessions in the index if the patch changes their value", async () => {
    const { store } = await three();
    expect(await store.updateAll({ user: "andrew" }, { userId: "carol" })).toBe(2);
    expect(await store.count({ user: "andrew" })).toBe(0);
    expect(await store.count({ user: "carol" })).toBe(2);
    expect(await store.updateAll({ user: "carol" }, { userId: undefined })).toBe(2);
    expect(await store.count({ user: "carol" })).toBe(0);
    expect(await store.count({ tenant: "a" })).toBe(2);
  });

  test("updateAll skips a session whose value changes before it is reached", async () => {
    const { backend, clock, store, other } = await three();
    let reads = 0;
    const moving = intercept(backend, async (method) => {
      if (method === "read" && ++reads === 2) await store.update(other.token, { userId: "carol" });
    });
    expect(await memberStore(moving, clock.now).store.updateAll({ user: "barbara" }, { theme: "dark" })).toBe(0);
    expect((await store.peek(other.token))?.data).toMatchObject({ userId: "carol", theme: "light" });
  });

  test("updateAll validates the patch even if no session has the value, and writes nothing if it is invalid", async () => {
    const { store, calls } = await three();
    // @ts-expect-error
    await expect(store.updateAll({ user: "nobody" }, { level: "1" })).rejects.toThrow(SessionDataError);
    // @ts-expect-error
    await expect(store.updateAll({ user: "nobody" }, { unknown: 1 })).rejects.toThrow(SessionDataError);
    await expect(store.updateAll({ user: "andrew" }, { level: 1.5 })).rejects.toThrow(SessionDataError);
    expect(calls).toEqual([]);
  });
});

describe("a change of an index value", () => {
  const bags = [{ sku: "bag" }, { sku: "bag" }];
  type Move = (store: Scene["store"], token: string) => Promise<unknown>;
  const values = [
    { user: "andrew" },
    { user: "carol" },
    { code: "1" },
    { code: "2" },
    { level: "1" },
    { level: "2" },
    { product: "hat" },
    { product: "bag" },
  ];
  const textOf = (by: object): string => Object.entries(by).flat().join(":");

  test.each<[string, gone: string, come: string | null, Move]>([
    ["a patch", "user:andrew", "user:carol", (store, token) => store.update(token, { userId: "carol" })],
    ["a patch that removes", "user:andrew", null, (store, token) => store.update(token, { userId: undefined })],
    ["a function", "user:andrew", "user:carol", (store, token) => store.update(token, () => ({ userId: "carol" }))],
    ["a patch of a list", "product:hat", "product:bag", (store, token) => store.update(token, { cart: bags })],
    ["a patch that empties a list", "product:hat", null, (store, token) => store.update(token, { cart: [] })],
    ["an increment", "level:1", "level:2", (store, token) => store.increment(token, "level")],
    ["an increment to no value", "level:1", null, (store, token) => store.increment(token, "level", -1)],
    ["a take", "code:1", null, (store, token) => store.take(token, "code")],
    ["a rotation", "user:andrew", "user:carol", (store, token) => store.rotate(token, { patch: { userId: "carol" } })],
    [
      "a rotation with a function",
      "code:1",
      "code:2",
      (store, token) => store.rotate(token, { patch: () => ({ code: "2" }) }),
    ],
  ])("%s changes the session's index value from %s to %s", async (_, gone, come, move) => {
    const { store, advance } = members();
    const start = { userId: "andrew", code: "1", level: 1, cart: [{ sku: "hat" }] };
    const { token, session } = await store.create(start);
    async function listedUnder(): Promise<string[]> {
      const listed = await Promise.all(values.map((by) => allListed(store, by)));
      return values.filter((_, at) => idsOf(listed[at] ?? []).includes(session.id)).map(textOf);
    }
    const before = ["user:andrew", "code:1", "level:1", "product:hat"];
    expect(await listedUnder()).toEqual(before);
    advance(61);
    expect(await move(store, token)).not.toBeNull();
    const after = [...before.filter((entry) => entry !== gone), ...(come === null ? [] : [come])];
    expect((await listedUnder()).sort()).toEqual(after.sort());
  });

  test("a session that moves to another value and back is listed once", async () => {
    const { store, phone, entered, advance } = await three();
    for (const userId of ["carol", "andrew", "carol", "andrew"]) {
      await store.update(phone.token, { userId });
      expect(idsOf(await allListed(store, { user: userId }))).toContain(phone.session.id);
    }
    expect(await allListed(store, { user: "carol" })).toEqual([]);
    expect(await entered("user:andrew")).toHaveLength(2);
    advance(61);
    await allListed(store, { user: "carol" });
    expect(await entered("user:carol")).toEqual([]);
    expect(await store.count({ user: "andrew" })).toBe(2);
  });

  test("an update of other fields makes no call to the index", async () => {
    const { store, phone, calls } = await three();
    await store.update(phone.token, { theme: "dark" });
    await store.update(phone.token, ({ views }) => ({ views: views + 1 }));
    await store.increment(phone.token, "views");
    await store.setIdleTimeout(phone.token, 60);
    await store.rotate(phone.token, { patch: { theme: "light" } });
    expect(calls).toEqual(["write", "read", "write", "increment", "write", "read", "write"]);
  });

  test("an update that leaves the index values unchanged makes no call to the index", async () => {
    const { store, phone, calls } = await three();
    await store.update(phone.token, { userId: "andrew", cart: [{ sku: "shoe" }, { sku: "hat" }, { sku: "hat" }] });
    expect(calls).toEqual(["read", "write"]);
  });

  test("a session that is destroyed during an update is listed under neither value", async () => {
    const { store, phone, entered } = await three();
    const [moved, ended] = await Promise.all([
      store.update(phone.token, { userId: "carol" }),
      store.destroy(phone.token),
    ]);
    expect(ended).toBe(true);
    expect(moved).toBeNull();
    for (const user of ["andrew", "carol"])
      expect(idsOf(await allListed(store, { user }))).not.toContain(phone.session.id);
    expect(await entered("user:andrew")).not.toContain(phone.session.id);
  });

  test("a session that was created without indexes is listed once its indexed field is written", async () => {
    const scene = await three();
    const { store, backend, clock } = scene;
    const plain = createSessionStore({ schema: member, backend, now: clock.now });
    const { token, session } = await plain.create({ userId: "dave" }, { absoluteTimeout: "none" });
    expect(session.deadline).toBeNull();
    expect(await store.count({ user: "dave" })).toBe(0);
    const moved = await store.update(token, { userId: "dave" });
    expect(idsOf(await allListed(store, { user: "dave" }))).toEqual([session.id]);
    expect(moved?.deadline).toBeNull();
    expect(await store.revokeAll({ user: "dave" })).toBe(1);
  });
});

describe("an index", () => {
  test("a store with indexes gives sessions the same deadline as one without", async () => {
    const { store, at } = members();
    const inDays = (days: number) => new Date(at().getTime() + days * DAY_MS);
    expect((await store.create({ userId: "dave" })).session.deadline).toEqual(inDays(30));
    expect((await store.create({ userId: "dave" }, { absoluteTimeout: "none" })).session.deadline).toBeNull();
    const day = await store.create({ userId: "dave" }, { absoluteTimeout: "1d" });
    expect(day.session.deadline).toEqual(inDays(1));
    const limited = members({ absoluteTimeout: "7d" });
    expect((await limited.store.create({ userId: "dave" })).session.deadline).toEqual(inDays(7));
  });

  test("a store with an empty indexes option has no index, and no deadline if none is wanted", async () => {
    const store = createSessionStore({
      schema: member,
      backend: memoryBackend(),
      indexes: {},
      absoluteTimeout: "none",
    });
    expect((await store.create({})).session.deadline).toBeNull();
    // @ts-expect-error There is no index.
    await expect(allListed(store, { user: "andrew" })).rejects.toThrow(TypeError);
  });

  test("an index entry expires after the latest deadline of its sessions", async () => {
    const { store, entered, advance } = members();
    const long = await store.create({ userId: "andrew" }, { absoluteTimeout: "100000s", idleTimeout: "100000s" });
    await store.create({ userId: "andrew" }, { absoluteTimeout: 2000 });
    advance(100_000);
    expect(await entered("user:andrew")).toContain(long.session.id);
    expect(await store.count({ user: "andrew" })).toBe(0);
    advance(61);
    expect(await entered("user:andrew")).toEqual([]);
  });

  test("list and count remove ended sessions from the index a minute after they were added", async () => {
    const { store, entered, advance } = members();
    const short = await store.create({ userId: "andrew" }, { idleTimeout: 1 });
    const long = await store.create({ userId: "andrew" });
    const both = [short, long].map(({ session }) => session.id);
    advance(2);
    expect(await allListed(store, { user: "andrew" })).toHaveLength(1);
    advance(57.9);
    expect(await store.count({ user: "andrew" })).toBe(1);
    expect(await entered("user:andrew")).toEqual(both);
    advance(0.1);
    expect(await store.count({ user: "andrew" })).toBe(1);
    expect(await entered("user:andrew")).toEqual([long.session.id]);
  });

  test("an index that nobody lists does not accumulate ended sessions", async () => {
    const { store, entered, advance } = members();
    for (let login = 0; login < 3000; login++) {
      await store.create({ userId: "andrew" }, { idleTimeout: 1 });
      advance(10);
    }
    await idle();
    expect((await entered("user:andrew")).length).toBeLessThan(20);
  });

  test("an index that nobody lists does not accumulate ended sessions beside live ones", async () => {
    const { store, entered, advance } = members();
    const lasting = await Promise.all(
      Array.from({ length: 5 }, () => store.create({ userId: "andrew" }, { idleTimeout: 86_400 })),
    );
    for (let login = 0; login < 3000; login++) {
      await store.create({ userId: "andrew" }, { idleTimeout: 1 });
      advance(10);
    }
    await idle();
    expect((await entered("user:andrew")).length).toBeLessThan(40);
    expect(await store.count({ user: "andrew" })).toBe(lasting.length);
  });

  test("an index that nobody lists does not accumulate ended sessions that moved into it", async () => {
    const { store, entered, advance } = members();
    for (let login = 0; login < 1000; login++) {
      const { token } = await store.create({}, { idleTimeout: 1 });
      await store.rotate(token, { patch: { userId: "andrew" }, authenticated: true });
      advance(10);
    }
    await idle();
    expect((await entered("user:andrew")).length).toBeLessThan(20);
  });

  test("a destroyed session is removed from its indexes", async () => {
    const { store, entered, phone, laptop } = await three();
    await store.destroy(phone.token);
    await idle();
    expect(await entered("user:andrew")).toEqual([laptop.session.id]);
    expect(await entered("product:shoe")).toEqual([]);
  });

  test("destroy and revoke succeed even if removing the session from its indexes fails", async () => {
    const inner = memoryBackend();
    const failing: SessionBackend = { ...inner, leave: () => Promise.reject(new Error("leave")) };
    const { store, phone, laptop } = await three({ backend: failing });
    expect(await store.destroy(phone.token)).toBe(true);
    expect(await store.revoke(laptop.session.id)).toBe(true);
    expect(await store.count({ user: "andrew" })).toBe(0);
  });
});

describe("index values", () => {
  const store = (values: (field: string) => unknown, backend = memoryBackend()) =>
    createSessionStore({
      schema: z.object({ name: z.string(), theme: z.string().default("light") }),
      backend,
      // @ts-expect-error Any value.
      indexes: { user: { from: "name", values } },
    });

  test.each<[string, unknown]>([
    ["an empty string", ""],
    ["a number", 42],
    ["a bigint", 42n],
    ["true", true],
    ["an object", { id: "42" }],
    ["a date", new Date(0)],
    ["a promise", Promise.resolve("42")],
    ["a list with an empty string", ["42", ""]],
    ["a list with null", [null]],
    ["a list in a list", [["42"]]],
  ])(
    "an index value that is %s is rejected with a TypeError that names the index, and nothing is written",
    async (_, value) => {
      const backend = memoryBackend();
      const failing = store((name) => (name === "fine" ? "42" : value), backend);
      await expect(failing.create({ name: "eve" })).rejects.toThrow(TypeError);
      await expect(failing.create({ name: "eve" })).rejects.toThrow(/index "user" /);
      expect(await keysOf(backend)).toEqual([]);
      const { token, session } = await failing.create({ name: "fine" });
      await expect(failing.update(token, { name: "eve" })).rejects.toThrow(/index "user" /);
      await expect(failing.rotate(token, { patch: { name: "eve" } })).rejects.toThrow(/index "user" /);
      await expect(failing.updateAll({ user: "42" }, { name: "eve" })).rejects.toThrow(/index "user" /);
      expect(await failing.peek(token)).toEqual(session);
    },
  );

  test.each([[null], [undefined], [[]]])(
    "an index value of %j means that the session is not in the index",
    async (value) => {
      const backend = memoryBackend();
      const { token } = await store(() => value, backend).create({ name: "eve" });
      expect(await rawOf(backend, token)).not.toHaveProperty("session_index");
    },
  );

  test("an index value has 1 to 512 bytes of well-formed text", async () => {
    const plain = store((name) => name);
    for (const name of ["x".repeat(512), "é".repeat(256), "💥".repeat(128)]) {
      const { session } = await plain.create({ name });
      expect(await allListed(plain, { user: name })).toEqual([session]);
    }
    for (const name of ["x".repeat(513), "é".repeat(257), `${"💥".repeat(128)}x`]) {
      await expect(plain.create({ name })).rejects.toThrow(TypeError);
      await expect(allListed(plain, { user: name })).rejects.toThrow(/index "user" /);
    }
    for (const lone of ["\ud800", "a\udc00b", "\udc00\ud800"]) {
      await expect(store(() => lone).create({ name: "eve" })).rejects.toThrow(TypeError);
      await expect(allListed(plain, { user: lone })).rejects.toThrow(/index "user" /);
      await expect(plain.create({ name: lone })).rejects.toThrow(SessionDataError);
    }
  });

  test("an error of the values function rejects the call, and nothing is written", async () => {
    const backend = memoryBackend();
    const failing = store(() => {
      throw new Error("values");
    }, backend);
    await expect(failing.create({ name: "eve" })).rejects.toThrow("values");
    expect(await keysOf(backend)).toEqual([]);
  });

  test("an error about an index value does not show the value", async () => {
    const name = "s3cret".repeat(100);
    await expect(store(() => name).create({ name })).rejects.toThrow(/^((?!s3cret).)*$/);
    await expect(store(() => name).list({ user: name })).rejects.toThrow(/^((?!s3cret).)*$/);
  });
});

describe("index queries", () => {
  const methods: Record<string, (store: Scene["store"], by: never) => Promise<unknown>> = {
    list: (store, by) => allListed(store, by),
    count: (store, by) => store.count(by),
    revokeAll: (store, by) => store.revokeAll(by),
    updateAll: (store, by) => store.updateAll(by, { theme: "dark" }),
  };

  test.each(Object.keys(methods))(
    "%s rejects a query that does not name exactly one index and a value",
    async (method) => {
      const { store, calls, backend } = await three();
      const wrong: unknown[] = [
        {},
        null,
        undefined,
        "user",
        ["andrew"],
        { unknown: "andrew" },
        { userId: "andrew" },
        { toString: "andrew" },
        JSON.parse('{"__proto__":"andrew"}'),
        { user: "andrew", tenant: "a" },
        { user: "andrew", tenant: undefined },
        { user: "" },
        { user: null },
        { user: undefined },
        { user: 42 },
        { user: ["andrew"] },
        { user: "x".repeat(513) },
        { user: "\ud800" },
      ];
      for (const by of wrong) {
        await expect(methods[method]?.(store, by as never), inspect(by)).rejects.toThrow(TypeError);
      }
      expect(calls).toEqual([]);
      expect(await keysOf(backend)).toHaveLength(3);
    },
  );

  test("TypeScript rejects queries with unknown indexes, several indexes or values that are not text", async () => {
    const { store } = members();
    // @ts-expect-error No such index.
    await expect(allListed(store, { unknown: "andrew" })).rejects.toThrow(/user, tenant, code, product, level/);
    // @ts-expect-error Two names.
    await expect(store.count({ user: "andrew", tenant: "a" })).rejects.toThrow(TypeError);
    // @ts-expect-error No text.
    await expect(store.revokeAll({ user: 42 })).rejects.toThrow(/index "user" /);
    // @ts-expect-error None.
    await expect(store.updateAll({}, { theme: "dark" })).rejects.toThrow(TypeError);
  });
});

describe("index and limit options", () => {
  const declare = (declared: unknown) => () =>
    createSessionStore({ schema: member, backend: memoryBackend(), indexes: declared as typeof indexes });
  const limited = (limit: unknown) => declare({ user: { from: "userId", limit } });
  const values = (cart: Data["cart"]) => cart.map(({ sku }) => sku);

  test.each<[string, unknown]>([
    ["an empty name", { "": "userId" }],
    ["a name with a colon", { "a:b": "userId" }],
    ["a name with a space", { "a b": "userId" }],
    ["a name with a brace", { "{a}": "userId" }],
    ["a name beyond ASCII", { é: "userId" }],
    ["a name of 65 characters", { ["x".repeat(65)]: "userId" }],
    ["an unknown field", { user: "user" }],
    ["an inherited property instead of a field", { user: "toString" }],
    ["an unknown field as from", { user: { from: "user", values } }],
    ["a declaration without from", { user: { values } }],
    ["values that are not a function", { product: { from: "cart", values: ["hat"] } }],
    ["an unknown member", { product: { from: "cart", values, unique: true } }],
    ["a list", { user: ["userId"] }],
    ["null", { user: null }],
    ["undefined", { user: undefined }],
    ["a function", { user: () => "andrew" }],
    ["a list of declarations", ["userId"]],
    ["text instead of declarations", "userId"],
  ])("indexes with %s are rejected with a TypeError", (_, declared) => {
    expect(declare(declared)).toThrow(TypeError);
    expect(declare(declared)).toThrow(/^Cannot create a session store as .*\bindexes\b/);
  });

  test("an index name may have 1 to 64 letters, digits, _ and -", async () => {
    for (const name of ["a", "A-1_b", "toString", "__proto__", "x".repeat(64)]) {
      const store = createSessionStore({
        schema: member,
        backend: memoryBackend(),
        indexes: { [name]: "userId" as const },
      });
      const { session } = await store.create({ userId: "andrew" });
      expect(await allListed(store, { [name]: "andrew" })).toEqual([session]);
    }
  });

  test.each<[string, unknown]>([
    ["that is a number", 5],
    ["that is null", null],
    ["without max", { whenFull: "reject" }],
    ["whose max is text", { max: "5", whenFull: "reject" }],
    ["without whenFull", { max: 5 }],
    ["with an unknown whenFull", { max: 5, whenFull: "evict" }],
    ["with an unknown member", { max: 5, whenFull: "reject", per: "day" }],
    ["in a list", [{ max: 5, whenFull: "reject" }]],
  ])("a limit %s is rejected with a TypeError that names the option", (_, limit) => {
    expect(limited(limit)).toThrow(TypeError);
    expect(limited(limit)).toThrow(/^Cannot create a session store as .*\bindexes\.user\.limit\b/);
  });

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 100_001])(
    "a limit of %d sessions is rejected with a RangeError",
    (max) => {
      expect(limited({ max, whenFull: "reject" })).toThrow(RangeError);
      expect(limited({ max, whenFull: "reject" })).toThrow(/ as indexes\.user\.limit\.max must be /);
    },
  );

  test("the option limits is rejected with a TypeError that says where limits are declared", () => {
    const options = { schema: member, backend: memoryBackend(), indexes };
    const limits = { user: { max: 5, whenFull: "reject" } };
    const create = () => createSessionStore({ ...options, limits } as typeof options);
    expect(create).toThrow(TypeError);
    expect(create).toThrow(/no option "limits": each index has its own limit, as in indexes: \{ user: /);
  });

  test("an index with a limit may be a string field, or have a function for its values", async () => {
    const limit = { max: 1, whenFull: "reject" } as const;
    const store = createSessionStore({
      schema: member,
      backend: memoryBackend(),
      indexes: {
        user: { from: "userId", limit },
        tenant: { from: "tenant" },
        product: { from: "cart", values: (cart) => cart.map(({ sku }) => sku), limit },
      },
    });
    await store.create({ userId: "andrew", tenant: "a", cart: [{ sku: "hat" }] });
    await expect(store.create({ userId: "andrew" })).rejects.toMatchObject({ reason: "limit" });
    await expect(store.create({ cart: [{ sku: "hat" }] })).rejects.toMatchObject({ reason: "limit" });
    await store.create({ userId: "barbara", tenant: "a" });
    expect(await store.count({ tenant: "a" })).toBe(2);
  });

  test("a limit may be undefined", async () => {
    const store = limited(undefined)();
    await store.create({ userId: "andrew" });
    expect(await store.count({ user: "andrew" })).toBe(1);
  });
});

test("list and count go by an absolute timeout that was shortened, before it is stored", async () => {
  const { backend, clock, store } = members({ absoluteTimeout: "30d", idleTimeout: "1d" });
  const { session } = await store.create({ userId: "42" });
  const { store: shorter } = memberStore(backend, clock.now, { absoluteTimeout: "3h", idleTimeout: "1h" });
  const deadline = new Date(session.createdAt.getTime() + 3 * 3_600_000);
  expect((await shorter.list({ user: "42" })).sessions).toMatchObject([{ id: session.id, deadline }]);
  clock.advance("3h");
  expect(await shorter.list({ user: "42" })).toEqual({ sessions: [], cursor: null });
  expect(await shorter.count({ user: "42" })).toBe(0);
  expect(await store.count({ user: "42" })).toBe(1);
});
