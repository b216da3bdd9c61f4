import { describe, expect, test } from "vitest";
import { memoryBackend, type SessionBackend, type SessionEvent } from "../../src/index.ts";
import { ownBackend } from "../support/redis.ts";
import { processOn, type Visits } from "../support/requests.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const YEAR = 365 * 24 * HOUR;

const IDLE = 1800;
const ABSOLUTE = 7200;

const { backend: onRedis, client, prefix } = await ownBackend();
const remaining = (id: string): Promise<number> => client.pTTL(prefix + id);
const stampOf = async (id: string): Promise<number> =>
  Date.parse(String(await client.hGet(prefix + id, "last_accessed_at")));

const backends: Readonly<Record<string, () => SessionBackend>> = { Redis: () => onRedis, memory: memoryBackend };

/** Two processes with clocks of their own on one backend, and one whose clock is right. */
function hosts(backend: SessionBackend, offset: { here: number; there: number }, options: object = {}) {
  const events: SessionEvent[] = [];
  const storeAt = (clock: () => number): Visits =>
    processOn(backend, clock, {
      idleTimeout: IDLE,
      absoluteTimeout: ABSOLUTE,
      onEvent: (event) => events.push(event),
      ...options,
    });
  return {
    events,
    here: storeAt(() => Date.now() + offset.here),
    there: storeAt(() => Date.now() + offset.there),
    right: storeAt(Date.now),
  };
}

const uses: Readonly<Record<string, (store: Visits, token: string) => Promise<unknown>>> = {
  get: (store, token) => store.get(token),
  peek: (store, token) => store.peek(token),
  update: (store, token) => store.update(token, { theme: "dark" }),
  "update by a function": (store, token) => store.update(token, () => ({ theme: "dark" })),
  increment: (store, token) => store.increment(token, "pageViews"),
  take: (store, token) => store.take(token, "code"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, IDLE),
  rotate: (store, token) => store.rotate(token),
};

// That a stamp never moves backwards is not wanted: one from the future would stick. Nothing rests on it (K-02, K-04).
describe("the clock of one host", () => {
  for (const [jump, milliseconds] of Object.entries({ "an hour": 3 * HOUR, "ten years": 10 * YEAR })) {
    test(`K-01 that jumps ${jump} ahead, on Redis, ends sessions for itself only: when it is right again they are there`, async () => {
      for (const [use, act] of Object.entries(uses)) {
        const { right, here } = hosts(onRedis, { here: milliseconds, there: 0 });
        const { token, session } = await right.create({ userId: "42", code: "1" });
        expect(await act(here, token), use).toBeNull();
        expect(await right.peek(token), use).toMatchObject({ id: session.id, data: session.data });
        expect(await act(right, token), use).not.toBeNull();
      }
    });
  }

  test("K-01 that jumps ahead by less than the deadline leaves is noticed by nobody", async () => {
    const { right, here } = hosts(onRedis, { here: HOUR, there: 0 });
    const { token } = await right.create({ userId: "42" });
    // An hour of idleness is measured by Redis, which has seen none.
    expect(await here.get(token)).not.toBeNull();
    expect(await right.get(token)).not.toBeNull();
  });

  test("K-02 that jumps back an hour puts off no deadline: the server's own clock counts as well", async () => {
    const { here, right } = hosts(onRedis, { here: -HOUR, there: 0 });
    const { token, session } = await right.create({ userId: "42", code: "1" }, { absoluteTimeout: IDLE });
    const deadline = session.deadline?.getTime() as number;
    for (const [use, act] of Object.entries(uses)) {
      const answer = await act(here, token);
      expect(answer, use).not.toBeNull();
      expect(Date.now() + (await remaining(session.id)), use).toBeLessThanOrEqual(deadline + SECOND);
      expect(await client.hGet(prefix + session.id, "session_deadline"), use).toBe(String(deadline));
      if (use === "rotate") break;
    }
  });

  test("K-02 that is an hour behind does not use a session whose deadline has passed", async () => {
    for (const [use, act] of Object.entries(uses)) {
      const { here, right } = hosts(onRedis, { here: -HOUR, there: 0 });
      const { token, session } = await right.create({ userId: "42", code: "1" });
      await client.hSet(prefix + session.id, "session_deadline", String(Date.now() - 1));
      // A look leaves it to the expiry of the key, which is set by every other use.
      if (use === "peek" || use === "update by a function") await client.pExpireAt(prefix + session.id, Date.now() - 1);
      expect(await act(here, token), use).toBeNull();
      expect(await client.exists(prefix + session.id), use).toBe(0);
    }
  });
});

describe("two hosts", () => {
  for (const [name, open] of Object.entries(backends)) {
    test(`K-03 whose clocks are five minutes apart use a session in turns without losing it, on ${name}`, async () => {
      const { here, there, right, events } = hosts(open(), { here: 5 * MINUTE, there: -5 * MINUTE });
      const { token } = await right.create({ userId: "42" });
      for (let turn = 0; turn < 20; turn++) {
        const host = [here, there][turn % 2] as Visits;
        expect((await host.get(token))?.data.pageViews).toBe(turn);
        expect(await host.increment(token, "pageViews")).toBe(turn + 1);
      }
      expect((await right.get(token))?.data.pageViews).toBe(20);
      expect(events.map(({ type }) => type)).toEqual(["created"]);
    });

    test(`K-03 whose clocks are five minutes apart touch when it is due and not otherwise, on ${name}`, async () => {
      const backend = open();
      const { here, there, right } = hosts(backend, { here: 5 * MINUTE, there: -5 * MINUTE }, { touchInterval: 60 });
      const { token } = await right.create({ userId: "42" });
      for (let turn = 0; turn < 6; turn++) {
        const session = await ([here, there][turn % 2] as Visits).get(token);
        // What one wrote is in the future, or long ago, for the other: both are reasons to touch.
        expect(Math.abs((session?.lastAccessedAt.getTime() as number) - Date.now())).toBeLessThan(
          5 * MINUTE + 5 * SECOND,
        );
      }
    });

    test(`K-03 whose clocks are apart grant and end a grace by the clock of whoever is asked, on ${name}`, async () => {
      const { here, there, right } = hosts(open(), { here: 2 * MINUTE, there: -2 * MINUTE });
      const { token } = await right.create({ userId: "42" });
      await right.rotate(token, { grace: 60 });
      expect(await there.get(token)).not.toBeNull();
      expect(await here.get(token)).toBeNull();
    });
  }

  test("K-03 whose clocks are apart revoke what the other created, on Redis by its own clock", async () => {
    const user = `skewed-${crypto.randomUUID()}`;
    const { here, there } = hosts(onRedis, { here: 5 * MINUTE, there: -5 * MINUTE });
    const created = [await here.create({ userId: user }), await there.create({ userId: user })];
    expect(await there.count({ user })).toBe(2);
    expect(await here.revokeAll({ user })).toBe(2);
    for (const { token } of created) expect(await there.get(token)).toBeNull();
  });
});

describe("a stamp from the future", () => {
  for (const [name, open] of Object.entries(backends)) {
    for (const [far, milliseconds] of Object.entries({ minute: MINUTE, year: YEAR })) {
      // Not an error, as nothing rests on it: idleness is measured by the key's expiry.
      test(`K-04 a ${far} away is replaced by the next touch and keeps nothing alive, on ${name}`, async () => {
        const { here, right } = hosts(
          open(),
          { here: milliseconds, there: 0 },
          { touchInterval: 60, absoluteTimeout: undefined },
        );
        const { token, session } = await here.create({ userId: "42" }, { absoluteTimeout: 2_000_000_000 });
        expect(session.lastAccessedAt.getTime()).toBeGreaterThan(Date.now() + milliseconds - 5 * SECOND);
        const touched = await right.get(token);
        expect(touched?.lastAccessedAt.getTime()).toBeLessThanOrEqual(Date.now());
        expect(touched?.expiresAt.getTime()).toBeLessThanOrEqual(Date.now() + IDLE * SECOND);
        if (name === "Redis") {
          expect(await stampOf(session.id)).toBeLessThanOrEqual(Date.now());
          expect(await remaining(session.id)).toBeLessThanOrEqual(IDLE * SECOND);
        }
      });
    }
  }
});

describe("the clock of Redis", () => {
  // It cannot be moved from outside (`faketime` is not at hand): an expiry brought forward looks the same to whoever asks.
  test("K-05 that jumps ahead ends sessions early, which is absence and no error", async () => {
    for (const [use, act] of Object.entries(uses)) {
      const { right, events } = hosts(onRedis, { here: 0, there: 0 });
      const { token, session } = await right.create({ userId: "42", code: "1" });
      await client.pExpireAt(prefix + session.id, Date.now() - 1);
      expect(await act(right, token), use).toBeNull();
      expect(
        events.map(({ type }) => type),
        use,
      ).toEqual(["created"]);
    }
  });

  test("K-05 that is ahead of the application's ends a session at its deadline all the same", async () => {
    const { here, right } = hosts(onRedis, { here: -10 * MINUTE, there: 0 });
    const { token, session } = await here.create({ userId: "42" }, { idleTimeout: 300, absoluteTimeout: 300 });
    // For the application the deadline is five minutes away, for Redis it has been for five.
    expect(session.deadline?.getTime()).toBeLessThan(Date.now());
    expect(await here.get(token)).toBeNull();
    expect(await client.exists(prefix + session.id)).toBe(0);
    expect(await right.get(token)).toBeNull();
  });
});

describe("time as such", () => {
  for (const [name, open] of Object.entries(backends)) {
    test(`K-06 that repeats a second, or stands still, changes nothing, on ${name}`, async () => {
      const start = Date.now();
      const steps = [0, 500, 999, 500, 0, 1000, 999, 2000, 2000, 2000];
      let at = 0;
      const store = processOn(open(), () => start + (steps[at] as number), {
        idleTimeout: IDLE,
        absoluteTimeout: ABSOLUTE,
      });
      const { token } = await store.create({ userId: "42" });
      for (; at < steps.length - 1; at++) {
        expect(await store.get(token)).not.toBeNull();
        expect(await store.increment(token, "pageViews")).toBe(at + 1);
      }
    });

    test(`K-06 is UTC in milliseconds whatever the zone and the season, on ${name}`, async () => {
      const clocksGoBack = Date.parse("2026-10-25T00:59:59.500Z");
      let now = clocksGoBack;
      const store = processOn(open(), () => now, { idleTimeout: IDLE, absoluteTimeout: 2_000_000_000 });
      const { token, session } = await store.create({ userId: "42" });
      expect(session.createdAt.toISOString()).toBe("2026-10-25T00:59:59.500Z");
      expect(session.expiresAt.getTime()).toBe(clocksGoBack + IDLE * SECOND);
      now += SECOND;
      expect((await store.get(token))?.lastAccessedAt.toISOString()).toBe("2026-10-25T01:00:00.500Z");
    });

    test(`K-07 that is none is the application's mistake, told by name, and changes nothing, on ${name}`, async () => {
      const backend = open();
      let now: () => unknown = Date.now;
      const store = processOn(backend, () => now() as number);
      const { token, session } = await store.create({ userId: "42" });
      const broken: Readonly<Record<string, () => unknown>> = {
        NaN: () => Number.NaN,
        Infinity: () => Number.POSITIVE_INFINITY,
        negative: () => -1,
        "beyond the year 9999": () => 1e15,
        text: () => String(Date.now()),
        date: () => new Date(),
        bigint: () => BigInt(Date.now()),
        nothing: () => undefined,
      };
      for (const [what, clock] of Object.entries(broken)) {
        now = clock;
        await expect(store.create({}), what).rejects.toThrow(TypeError);
        for (const [use, act] of Object.entries(uses)) {
          await expect(act(store, token), `${what} ${use}`).rejects.toThrow(TypeError);
        }
      }
      const failure = new Error("no clock");
      now = () => {
        throw failure;
      };
      await expect(store.get(token)).rejects.toBe(failure);
      now = Date.now;
      expect((await store.peek(token))?.data).toEqual(session.data);
    });
  }

  test("K-07 that is a fraction of a millisecond is cut off", async () => {
    const store = processOn(onRedis, () => Date.now() + 0.75);
    const { token, session } = await store.create({ userId: "42" });
    expect(Number.isInteger(session.createdAt.getTime())).toBe(true);
    expect(await store.get(token)).not.toBeNull();
  });
});

describe("at the very end", () => {
  // R16 of wire.test.ts holds Redis and memory against each other at the instant itself; test/memory/backend.test.ts is
  // exact.
  test("K-08 a session has ended at its deadline for every use, in both", async () => {
    for (const [name, open] of Object.entries(backends)) {
      for (const [use, act] of Object.entries(uses)) {
        const start = Date.now();
        let now = start;
        const store = processOn(open(), () => now, { idleTimeout: IDLE, absoluteTimeout: ABSOLUTE });
        const { token, session } = await store.create({ userId: "42", code: "1" });
        now = session.deadline?.getTime() as number;
        expect(await act(store, token), `${name} ${use}`).toBeNull();
      }
    }
  });

  test("K-08 a session that has been idle for a millisecond too long has ended for every use, in both", async () => {
    for (const [use, act] of Object.entries(uses)) {
      let now = Date.now();
      const inMemory = processOn(memoryBackend(), () => now, { idleTimeout: IDLE });
      const { token } = await inMemory.create({ userId: "42", code: "1" });
      now += IDLE * SECOND + 1;
      expect(await act(inMemory, token), use).toBeNull();
      const inRedis = processOn(onRedis, Date.now, { idleTimeout: IDLE });
      const created = await inRedis.create({ userId: "42", code: "1" });
      await client.pExpireAt(prefix + created.session.id, Date.now() - 1);
      expect(await act(inRedis, created.token), use).toBeNull();
    }
  });
});
