import { inspect } from "node:util";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import * as z from "zod";
import {
  createSessionStore,
  memoryBackend,
  SessionBackendError,
  type SessionEvent,
  sessionExchange,
} from "../../src/index.ts";
import { reserved } from "../../src/record.ts";
import { manualClock } from "../../src/testing/index.ts";
import { intercept } from "../support/backends.ts";
import { timedOnArrival } from "../support/explore.ts";
import { never } from "../support/gate.ts";
import { requestParts } from "../support/http.ts";
import { allListed, indexes, type MemberOptions, member, memberStore, members } from "../support/members.ts";

const SECRET = "s3cret";

/** A store with two sessions of one user, five seconds after their creation. */
async function scene(options?: MemberOptions) {
  const base = members(options);
  const start = { userId: "andrew", theme: SECRET, code: SECRET, cart: [{ sku: SECRET }] };
  const phone = await base.store.create(start);
  const laptop = await base.store.create(start);
  base.advance(5);
  base.events.length = 0;
  return { ...base, phone, laptop, id: phone.session.id, token: phone.token, tokens: [phone.token, laptop.token] };
}

type Scene = Awaited<ReturnType<typeof scene>>;
type Case = readonly [
  what: string,
  act: (scene: Scene) => Promise<unknown>,
  expected: (scene: Scene) => readonly object[],
];

/** The same store on a backend that fails at each call. */
function failing({ backend, clock, events }: Scene, reason: SessionBackendError["reason"]) {
  const broken = intercept(backend, () => {
    throw new SessionBackendError("The server is not available", { reason, outcome: "unknown" });
  });
  const other = memberStore(broken, clock.now);
  return {
    store: other.store,
    fails: async (call: Promise<unknown>) => {
      await expect(call).rejects.toThrow(SessionBackendError);
      events.push(...other.events);
    },
  };
}

/** Moves the session to another index value so slowly that the update is rejected. */
async function moveTooLate({ backend, clock, events, token }: Scene): Promise<void> {
  const slow = intercept(timedOnArrival(backend, clock.now), (method) => {
    if (method === "write") clock.advance("30001ms");
  });
  const other = memberStore(slow, clock.now);
  await expect(other.store.update(token, { userId: "barbara" })).rejects.toMatchObject({ reason: "revoked" });
  events.push(...other.events);
}

async function readByAnother({ backend, clock, events, token }: Scene): Promise<void> {
  const schema = member.extend({ theme: member.shape.userId.unwrap().max(3) });
  const other = createSessionStore({ schema, backend, now: clock.now, onEvent: (event) => events.push(event) });
  await expect(other.get(token)).rejects.toMatchObject({ origin: "stored" });
}

/** The ways to cause each event. */
const cases: Readonly<Record<SessionEvent["type"], readonly Case[]>> = {
  created: [
    [
      "create",
      async ({ store, tokens }) => tokens.push((await store.create({ theme: SECRET })).token),
      ({ tokens }) => [{ id: tokens.at(-1)?.slice(0, 22) }],
    ],
  ],
  rotated: [
    [
      "rotate",
      async ({ store, token, tokens }) =>
        tokens.push((await store.rotate(token, { authenticated: true }))?.token ?? ""),
      ({ id }) => [{ id }],
    ],
  ],
  reused: [
    [
      "each use of a token from before the last rotation",
      async ({ store, token, tokens, events }) => {
        tokens.push((await store.rotate(token))?.token ?? "");
        events.length = 0;
        await store.get(token);
        await store.update(token, { theme: "light" });
        await store.update(token, ({ views }) => ({ views }));
        await store.increment(token, "views");
        await store.take(token, "code");
        await store.setIdleTimeout(token, 60);
        await store.rotate(token);
        await store.destroy(token);
      },
      ({ id, at }) => Array.from({ length: 8 }, () => ({ id, rotatedAt: at() })),
    ],
  ],
  "wrong-secret": [
    [
      "each use of a token with a wrong secret",
      async ({ store, id }) => {
        await store.get(`${id}.${"x".repeat(43)}`);
        await store.destroy(`${id}.${"x".repeat(43)}`);
      },
      ({ id }) => [{ id }, { id }],
    ],
    [
      "a use of a token from before the last two rotations",
      async ({ store, token, tokens, events }) => {
        let present = token;
        for (let at = 0; at < 2; at++) present = (await store.rotate(present))?.token ?? "";
        tokens.push(present);
        events.length = 0;
        await store.get(token);
      },
      ({ id }) => [{ id }],
    ],
  ],
  unproven: [
    [
      "each use of the token of a session that is bound to a device, but not its end",
      async ({ store, backend, clock, token, id, events }) => {
        const set = { [reserved.bound]: "!" };
        const access = { verifier: null, previous: false, now: clock.now() };
        await backend.write(id, access, { set, remove: [], fields: [] });
        expect(await store.get(token)).toBeNull();
        expect(await store.peek(token)).toBeNull();
        expect(await store.update(token, { theme: "light" })).toBeNull();
        expect(await store.increment(token, "views")).toBeNull();
        expect(await store.rotate(token)).toBeNull();
        expect((await store.list({ user: "andrew" })).sessions).toHaveLength(2);
        const seen = events.splice(0);
        expect(await store.destroy(token)).toBe(true);
        expect(events.splice(0)).toMatchObject([{ type: "destroyed" }]);
        events.push(...seen);
      },
      ({ id }) => Array.from({ length: 5 }, () => ({ id })),
    ],
  ],
  destroyed: [["destroy", ({ store, token }) => store.destroy(token), ({ id }) => [{ id }]]],
  revoked: [
    ["revoke", ({ store, id }) => store.revoke(id), ({ id }) => [{ id, reason: "id" }]],
    [
      "revokeAll",
      ({ store }) => store.revokeAll({ user: "andrew" }),
      ({ phone, laptop }) => [phone, laptop].map(({ session: { id } }) => ({ id, reason: "index" })),
    ],
    [
      "revokeAll with except",
      ({ store, laptop }) => store.revokeAll({ user: "andrew" }, { except: laptop.session }),
      ({ id }) => [{ id, reason: "index" }],
    ],
    [
      "revokeEverybody",
      ({ store }) => store.revokeEverybody(),
      ({ phone, laptop }) => [phone, laptop].map(({ session: { id } }) => ({ id, reason: "everybody" })),
    ],
    [
      "a login at an evict-oldest limit",
      async ({ backend, clock, events, tokens }) => {
        const other = memberStore(backend, clock.now, { limits: { user: { max: 2, whenFull: "evict-oldest" } } });
        tokens.push((await other.store.create({ userId: "andrew" })).token);
        events.push(...other.events.filter(({ type }) => type !== "created"));
      },
      ({ id }) => [{ id, reason: "limit" }],
    ],
  ],
  invalid: [
    [
      "a read of a record that does not fit the schema",
      readByAnother,
      ({ id }) => [{ id, issues: [{ code: "too_big", path: ["theme"] }] }],
    ],
  ],
  conflict: [["an update that takes too long", moveTooLate, ({ id }) => [{ id }]]],
  migrated: [
    [
      "the first get of a session of an earlier version",
      async ({ backend, clock, events, token }) => {
        const onEvent = (event: SessionEvent) => events.push(event);
        const schema = z.object({ code: z.string() });
        const migrations = { 1: { from: member, to: () => ({ code: SECRET }) } };
        const later = createSessionStore({ schema, backend, now: clock.now, onEvent, version: 3, migrations });
        await later.peek(token);
        await later.get(token);
        await later.get(token);
      },
      ({ id }) => [{ id, version: 1 }],
    ],
  ],
  "indexes-evictable": [
    [
      "the first session that enters an index of a backend that may evict it",
      async ({ backend, clock, events, tokens }) => {
        const policy = async () => "allkeys-lru";
        const evicting = memberStore({ ...backend, evictionPolicy: policy }, clock.now);
        tokens.push((await evicting.store.create({ userId: "andrew" })).token);
        tokens.push((await evicting.store.create({ userId: "andrew" })).token);
        events.push(...evicting.events.filter(({ type }) => type !== "created"));
      },
      () => [{ id: null, policy: "allkeys-lru" }],
    ],
  ],
  "two-cookies": [
    [
      "a request with two values of the session cookie",
      async ({ store, token }) => {
        const cookie = `__Host-Http-sid=${token}; __Host-Http-sid=${"A".repeat(22)}.${"B".repeat(43)}`;
        await sessionExchange(store)(requestParts(cookie)).session.get();
      },
      () => [{ id: null, cookieName: "__Host-Http-sid" }],
    ],
  ],
  unavailable: [
    ...(["unavailable", "rejected"] as const).map(
      (reason): Case => [
        `a failed get with the reason ${reason}`,
        async (scene) => {
          const { store, fails } = failing(scene, reason);
          await fails(store.get(scene.token));
        },
        ({ id }) => [{ id, error: expect.objectContaining({ code: "ERR_SESSION_BACKEND", reason }) }],
      ],
    ),
    [
      "a failed create",
      async (scene) => {
        const { store, fails } = failing(scene, "unavailable");
        await fails(store.create({}));
      },
      () => [{ id: null, error: expect.objectContaining({ reason: "unavailable" }) }],
    ],
    [
      "a failed list",
      async (scene) => {
        const { store, fails } = failing(scene, "unavailable");
        await fails(allListed(store, { user: "andrew" }));
      },
      () => [{ id: null, error: expect.objectContaining({ reason: "unavailable" }) }],
    ],
    [
      "a failed revoke",
      async (scene) => {
        const { store, fails } = failing(scene, "unavailable");
        await fails(store.revoke(scene.id));
      },
      ({ id }) => [{ id, error: expect.objectContaining({ reason: "unavailable" }) }],
    ],
  ],
};

for (const [type, ways] of Object.entries(cases)) {
  describe(`the event ${type}`, () => {
    test.each(ways)(
      `the event ${type} is reported after %s, with no token and no data in it`,
      async (_, act, expected) => {
        const told = await scene();
        await act(told);
        const order = (events: readonly object[]) => [...events].sort((a, b) => (inspect(a) < inspect(b) ? -1 : 1));
        const wanted = expected(told).map((more) => ({ type, at: told.at(), ...more }));
        expect(order(told.events)).toEqual(order(wanted));
        const shown = inspect(told.events, { depth: null, showHidden: true });
        for (const token of told.tokens) expect(shown).not.toContain(token.split(".")[1]);
        expect(shown).not.toContain(SECRET);
      },
    );
  });
}

describe("a stored session that does not fit the schema", () => {
  const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
  beforeEach(() => void warnings.mockClear());
  afterAll(() => warnings.mockRestore());

  async function oldSessions(onEvent?: () => void) {
    const backend = memoryBackend();
    const before = createSessionStore({ schema: z.object({ notes: z.record(z.string(), z.string()) }), backend });
    const schema = z.object({ userId: z.string(), notes: z.record(z.string(), z.int()) });
    const data = { notes: { [SECRET]: SECRET } };
    const sessions = [await before.create(data), await before.create(data)];
    const open = () => createSessionStore({ schema, backend, onEvent });
    return { open, tokens: sessions.map(({ token }) => token) };
  }

  test("is a warning once per store if nobody listens to events, with paths and codes and without data", async () => {
    const { open, tokens } = await oldSessions();
    for (const store of [open(), open()]) {
      warnings.mockClear();
      for (const token of tokens) await expect(store.get(token)).rejects.toMatchObject({ origin: "stored" });
      for await (const session of store.scan()) expect.fail(session.id);
      expect(warnings.mock.calls).toEqual([
        [expect.stringMatching(/^zession: .*userId: expected string; notes\.\[key\]: .*\(invalid_type\)/)],
      ]);
      expect(String(warnings.mock.calls)).not.toContain(SECRET);
    }
  });

  test("is no warning if the application listens to events", async () => {
    const { open, tokens } = await oldSessions(() => {});
    for (const token of tokens) await expect(open().get(token)).rejects.toMatchObject({ origin: "stored" });
    expect(warnings).not.toHaveBeenCalled();
  });
});

test("the first failure of a backend is a warning once per store if nobody listens to events", async () => {
  const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
  const down = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });
  const backend = intercept(memoryBackend(), () => Promise.reject(down));
  const schema = z.object({ userId: z.string() });
  const silent = createSessionStore({ schema, backend });
  const heard = createSessionStore({ schema, backend, onEvent() {} });
  for (const store of [silent, heard, silent]) await expect(store.create({ userId: SECRET })).rejects.toBe(down);
  const aborted = silent.create({ userId: "42" }, { signal: AbortSignal.abort() });
  await expect(aborted).rejects.toMatchObject({ reason: "aborted" });
  expect(warnings.mock.calls).toEqual([[expect.stringMatching(/^zession: The server is gone\. This is written once/)]]);
  warnings.mockRestore();
});

test("a call that times out is reported as unavailable with the reason timeout", async () => {
  const { store, events, at, token, id } = await scene();
  const clock = manualClock();
  const stalled = memberStore(intercept(memoryBackend(), never), clock.now, { operationTimeout: "1ms" });
  await expect(stalled.store.get(token)).rejects.toMatchObject({ reason: "timeout" });
  const error = expect.objectContaining({ code: "ERR_SESSION_BACKEND", reason: "timeout" });
  expect(stalled.events).toEqual([{ type: "unavailable", id, at: new Date(clock.now()), error }]);
  expect(await store.update(token, {})).toMatchObject({ lastAccessedAt: at() });
  expect(events).toEqual([]);
});

describe("calls without an event", () => {
  test.each<[string, (scene: Scene) => Promise<unknown>]>([
    ["reads", async ({ store, token }) => [await store.get(token), await store.peek(token)]],
    [
      "writes",
      async ({ store, token }) => [
        await store.update(token, { userId: "barbara" }),
        await store.increment(token, "level"),
        await store.take(token, "code"),
        await store.setIdleTimeout(token, 60),
      ],
    ],
    [
      "lookups by index",
      async ({ store }) => [
        await allListed(store, { user: "andrew" }),
        await store.count({ user: "andrew" }),
        await store.updateAll({ user: "andrew" }, { views: 1 }),
      ],
    ],
    [
      "calls with a malformed token",
      async ({ store, token }) => [await store.get("x"), await store.destroy(`${token}x`), await store.rotate("")],
    ],
    [
      "revocations of sessions that do not exist",
      async ({ store, id }) => [
        await store.revoke("x".repeat(22)),
        await store.revokeAll({ user: "nobody" }),
        await store.revoke(`${id}x`),
      ],
    ],
    [
      "calls with data that does not fit the schema",
      async ({ store, token }) => [
        await store.update(token, { level: 1.5 }).catch(() => {}),
        await store.create({ level: 1.5 }).catch(() => {}),
      ],
    ],
  ])("%s report no event", async (_, act) => {
    const told = await scene();
    await act(told);
    expect(told.events).toEqual([]);
  });
});

test("the end of a session is reported only once when several calls end it concurrently", async () => {
  const { store, events, id, token } = await scene();
  const ended = await Promise.all([store.destroy(token), store.revoke(id), store.revokeAll({ user: "andrew" })]);
  expect(ended).toEqual([true, false, 1]);
  expect(events.filter((event) => event.id === id)).toHaveLength(1);
  expect(events).toHaveLength(2);
});

describe("event listeners", () => {
  const listeners: Record<string, (event: SessionEvent) => unknown> = {
    throws: () => {
      throw new Error("listener");
    },
    "throws undefined": () => {
      throw undefined;
    },
    rejects: () => Promise.reject(new Error("listener")),
    "returns a promise that never settles": () => never(),
    "returns an object whose then getter throws": () => ({
      // biome-ignore lint/suspicious/noThenProperty: The test needs a broken thenable.
      get then() {
        throw new Error("listener");
      },
    }),
    "returns an object whose then method throws": () => ({
      // biome-ignore lint/suspicious/noThenProperty: The test needs a broken thenable.
      then() {
        throw new Error("listener");
      },
    }),
  };

  test.each(Object.entries(listeners))("a listener that %s does not affect the operations", async (_, onEvent) => {
    const clock = manualClock();
    const store = createSessionStore({
      schema: member,
      indexes: { ...indexes, user: { from: "userId", limit: { max: 2, whenFull: "evict-oldest" } } },
      backend: memoryBackend(),
      now: clock.now,
      onEvent,
    });
    const { token, session } = await store.create({ userId: "andrew" });
    const rotated = await store.rotate(token);
    expect(rotated?.session).toEqual(session);
    expect(await store.get(token)).toBeNull();
    await store.create({ userId: "andrew" });
    const newest = await store.create({ userId: "andrew" });
    expect(await store.peek(rotated?.token ?? "")).toBeNull();
    expect(await store.revoke(newest.session.id)).toBe(true);
    expect(await store.revokeAll({ user: "andrew" })).toBe(1);
    const last = await store.create({});
    expect(await store.destroy(last.token)).toBe(true);
    await expect(store.get(last.token, { signal: AbortSignal.abort() })).rejects.toMatchObject({ reason: "aborted" });
  });

  test("a listener that queries the store sees the reported change", async () => {
    const clock = manualClock();
    const found: Promise<number>[] = [];
    const store = createSessionStore({
      schema: member,
      indexes,
      backend: memoryBackend(),
      now: clock.now,
      onEvent: ({ type }) => {
        if (type === "created" || type === "destroyed") found.push(store.count({ user: "andrew" }));
      },
    });
    const { token } = await store.create({ userId: "andrew" });
    await store.destroy(token);
    expect(await Promise.all(found)).toEqual([1, 0]);
  });
});
