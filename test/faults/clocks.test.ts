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

/** Two processes with different clocks on one backend, and one whose clock is right. */
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

// A last-access time may move backwards: otherwise one in the future would stay. Nothing depends on it (K-02, K-04).
describe("a host whose clock is wrong", () => {
  for (const [jump, milliseconds] of Object.entries({ "three hours": 3 * HOUR, "ten years": 10 * YEAR })) {
    test(`K-01 a host whose clock is ${jump} fast sees sessions on Redis as expired, and others can still use them`, async () => {
      for (const [use, act] of Object.entries(uses)) {
        const { right, here } = hosts(onRedis, { here: milliseconds, there: 0 });
        const { token, session } = await right.create({ userId: "42", code: "1" });
        expect(await act(here, token), use).toBeNull();
        expect(await right.peek(token), use).toMatchObject({ id: session.id, data: session.data });
        expect(await act(right, token), use).not.toBeNull();
      }
    });
  }

  test("K-01 a clock that is fast by less than the time to the deadline has no effect", async () => {
    const { right, here } = hosts(onRedis, { here: HOUR, there: 0 });
    const { token } = await right.create({ userId: "42" });
    // The idle timeout is measured by Redis, for which no time has passed.
    expect(await here.get(token)).not.toBeNull();
    expect(await right.get(token)).not.toBeNull();
  });

  test("K-02 a host whose clock is an hour slow cannot extend a session beyond its deadline", async () => {
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

  test("K-02 a host whose clock is an hour slow cannot use a session past its deadline", async () => {
    for (const [use, act] of Object.entries(uses)) {
      const { here, right } = hosts(onRedis, { here: -HOUR, there: 0 });
      const { token, session } = await right.create({ userId: "42", code: "1" });
      await client.hSet(prefix + session.id, "session_deadline", String(Date.now() - 1));
      // A peek relies on the expiry of the key, which every other operation sets.
      if (use === "peek" || use === "update by a function") await client.pExpireAt(prefix + session.id, Date.now() - 1);
      expect(await act(here, token), use).toBeNull();
      expect(await client.exists(prefix + session.id), use).toBe(0);
    }
  });
});

describe("two hosts with different clocks", () => {
  for (const [name, open] of Object.entries(backends)) {
    test(`K-03 hosts whose clocks are ten minutes apart can use the same session in turns, on ${name}`, async () => {
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

    test(`K-03 hosts whose clocks are ten minutes apart still extend a session when the touch interval has passed, on ${name}`, async () => {
      const backend = open();
      const { here, there, right } = hosts(backend, { here: 5 * MINUTE, there: -5 * MINUTE }, { touchInterval: 60 });
      const { token } = await right.create({ userId: "42" });
      for (let turn = 0; turn < 6; turn++) {
        const session = await ([here, there][turn % 2] as Visits).get(token);
        // The time that one host writes is in the future, or long past, for the other. Both cause a touch.
        expect(Math.abs((session?.lastAccessedAt.getTime() as number) - Date.now())).toBeLessThan(
          5 * MINUTE + 5 * SECOND,
        );
      }
    });

    test(`K-03 a grace period ends by the clock of the host that is asked, on ${name}`, async () => {
      const { here, there, right } = hosts(open(), { here: 2 * MINUTE, there: -2 * MINUTE });
      const { token } = await right.create({ userId: "42" });
      await right.rotate(token, { grace: 60 });
      expect(await there.get(token)).not.toBeNull();
      expect(await here.get(token)).toBeNull();
    });
  }

  test("K-03 a host can list and revoke sessions that a host with another clock created, on Redis", async () => {
    const user = `skewed-${crypto.randomUUID()}`;
    const { here, there } = hosts(onRedis, { here: 5 * MINUTE, there: -5 * MINUTE });
    const created = [await here.create({ userId: user }), await there.create({ userId: user })];
    expect(await there.count({ user })).toBe(2);
    expect(await here.revokeAll({ user })).toBe(2);
    for (const { token } of created) expect(await there.get(token)).toBeNull();
  });
});

describe("a last-access time in the future", () => {
  for (const [name, open] of Object.entries(backends)) {
    for (const [far, milliseconds] of Object.entries({ minute: MINUTE, year: YEAR })) {
      // Not an error, as nothing depends on it: the key's expiry measures the idle timeout.
      test(`K-04 a last-access time one ${far} in the future is replaced by the next touch and extends nothing, on ${name}`, async () => {
        const { here, right } = hosts(
          open(),
          { here: milliseconds, there: 0 },
          { touchInterval: 60, absoluteTimeout: undefined },
        );
        const { token, session } = await here.create({ userId: "42" }, { absoluteTimeout: "2000000000s" });
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
  // A test cannot move Redis's clock. An expiry that is brought forward looks the same to a client.
  test("K-05 sessions that end early as Redis's clock jumps ahead are absent, not an error", async () => {
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

  test("K-05 a session ends at its deadline even if Redis's clock is ahead of the application's", async () => {
    const { here, right } = hosts(onRedis, { here: -10 * MINUTE, there: 0 });
    const { token, session } = await here.create({ userId: "42" }, { idleTimeout: 300, absoluteTimeout: 300 });
    // By the application's clock the deadline is five minutes away, by Redis's it passed five minutes ago.
    expect(session.deadline?.getTime()).toBeLessThan(Date.now());
    expect(await here.get(token)).toBeNull();
    expect(await client.exists(prefix + session.id)).toBe(0);
    expect(await right.get(token)).toBeNull();
  });
});

describe("unusual clocks", () => {
  for (const [name, open] of Object.entries(backends)) {
    test(`K-06 a clock that repeats a second or stands still has no effect on sessions, on ${name}`, async () => {
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

    test(`K-06 times are UTC and ignore the end of daylight saving time, on ${name}`, async () => {
      const clocksGoBack = Date.parse("2026-10-25T00:59:59.500Z");
      let now = clocksGoBack;
      const store = processOn(open(), () => now, { idleTimeout: IDLE, absoluteTimeout: "2000000000s" });
      const { token, session } = await store.create({ userId: "42" });
      expect(session.createdAt.toISOString()).toBe("2026-10-25T00:59:59.500Z");
      expect(session.expiresAt.getTime()).toBe(clocksGoBack + IDLE * SECOND);
      now += SECOND;
      expect((await store.get(token))?.lastAccessedAt.toISOString()).toBe("2026-10-25T01:00:00.500Z");
    });

    test(`K-07 a clock that returns no valid time rejects every call with a TypeError and changes nothing, on ${name}`, async () => {
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

  test("K-07 fractions of a millisecond that a clock returns are cut off", async () => {
    const store = processOn(onRedis, () => Date.now() + 0.75);
    const { token, session } = await store.create({ userId: "42" });
    expect(Number.isInteger(session.createdAt.getTime())).toBe(true);
    expect(await store.get(token)).not.toBeNull();
  });
});

describe("the last millisecond of a session", () => {
  // R16 of wire.test.ts compares Redis and memory at the moment of expiry; test/memory/backend.test.ts is exact.
  test("K-08 a session has expired for every operation at its deadline, in memory and on Redis", async () => {
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

  test("K-08 a session has expired for every operation a millisecond after its idle timeout, in memory and on Redis", async () => {
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
