import { describe, expect, test } from "vitest";
import { memoryBackend, type SessionBackend, type SessionEvent } from "../../src/index.ts";
import { STAMP } from "../../src/redis/lua.ts";
import { manualClock } from "../../src/testing/index.ts";
import { allListed } from "../support/members.ts";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";
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

const offsets = {
  "ten years slow": -10 * YEAR,
  "an hour slow": -HOUR,
  "three hours fast": 3 * HOUR,
  "ten years fast": 10 * YEAR,
};

describe.each(Object.entries(offsets))("a host whose clock is %s", (_, offset) => {
  const user = () => `skewed-${crypto.randomUUID()}`;

  test("K-01 K-02 can use a session on Redis, and gives it neither a shorter nor a longer life", async () => {
    for (const [use, act] of Object.entries(uses)) {
      const { right, here } = hosts(onRedis, { here: offset, there: 0 });
      const { token, session } = await right.create({ userId: user(), code: "1" });
      const answer = await act(here, token);
      expect(answer, use).not.toBeNull();
      const present = use === "rotate" ? (answer as { token: string }).token : token;
      const left = await remaining(session.id);
      expect(left, use).toBeGreaterThan(IDLE * SECOND - 10 * SECOND);
      expect(left, use).toBeLessThanOrEqual(IDLE * SECOND);
      expect(await right.peek(present), use).toMatchObject({ id: session.id, deadline: session.deadline });
      expect(Math.abs((await stampOf(session.id)) - Date.now()), use).toBeLessThan(10 * SECOND);
    }
  });

  test("K-01 K-02 creates sessions on Redis that end as those of any other host", async () => {
    const { here } = hosts(onRedis, { here: offset, there: 0 });
    const timeouts = { idleTimeout: 4, absoluteTimeout: 4 };
    const { session } = await here.create({ userId: user() }, { authenticated: true, ...timeouts });
    for (const time of [session.createdAt, session.lastAccessedAt, session.authenticatedAt]) {
      expect(Math.abs((time?.getTime() ?? 0) - Date.now())).toBeLessThan(10 * SECOND);
    }
    expect(session.deadline?.getTime()).toBe(session.createdAt.getTime() + 4 * SECOND);
    expect(await remaining(session.id)).toBeLessThanOrEqual(4 * SECOND);
  });

  test("K-02 cannot use a session past its deadline", async () => {
    for (const [use, act] of Object.entries(uses)) {
      const { backend, clock } = await redisWithClock(client, `${prefix}${crypto.randomUUID()}:`);
      const store = processOn(backend, () => clock.now() + offset, { idleTimeout: IDLE, absoluteTimeout: IDLE });
      const { token } = await store.create({ userId: user(), code: "1" });
      await clock.advance(IDLE - 2);
      expect(await store.peek(token), use).not.toBeNull();
      await clock.advance(2);
      expect(await act(store, token), use).toBeNull();
    }
  });

  test("K-01 K-02 can count, list, update and limit sessions without making any of them unlisted", async () => {
    const { here, right } = hosts(onRedis, { here: offset, there: 0 });
    const userId = user();
    const { token } = await right.create({ userId });
    await here.create({ userId });
    const limited = hosts(
      onRedis,
      { here: offset, there: 0 },
      {
        indexes: { user: { from: "userId", limit: { max: 5, whenFull: "reject" } } },
      },
    );
    await limited.here.create({ userId });
    expect(await here.count({ user: userId })).toBe(3);
    expect(await allListed(here, { user: userId })).toHaveLength(3);
    expect(await here.updateAll({ user: userId }, { theme: "dark" })).toBe(3);
    expect(await right.count({ user: userId })).toBe(3);
    expect(await right.revokeAll({ user: userId })).toBe(3);
    expect(await right.peek(token)).toBeNull();
  });

  test("K-01 K-02 keeps an index alive as long as its sessions, by creating, moving and using them", async () => {
    const indexOf = (userId: string) => client.pTTL(`${prefix}index:user:${userId}`);
    const { here, right } = hosts(onRedis, { here: offset, there: 0 });
    const [created, moved] = [user(), user()];
    const { token } = await here.create({ userId: created });
    expect(await indexOf(created)).toBeGreaterThan(1.5 * IDLE * SECOND);
    await here.update(token, { userId: moved });
    expect(await indexOf(moved)).toBeGreaterThan(1.5 * IDLE * SECOND);
    await here.setIdleTimeout(token, 3 * IDLE);
    expect(await indexOf(moved)).toBeGreaterThan(4.5 * IDLE * SECOND);
    expect(await right.revokeAll({ user: moved })).toBe(1);
  });

  test("K-03 gives a grace period its length by the clock of Redis", async () => {
    const { backend, clock } = await redisWithClock(client, `${prefix}${crypto.randomUUID()}:`);
    const here = processOn(backend, () => clock.now() + offset);
    const right = processOn(backend, clock.now);
    const { token } = await right.create({ userId: user() });
    await here.rotate(token, { grace: 60 });
    await clock.advance(59);
    for (const host of [here, right]) expect(await host.get(token)).not.toBeNull();
    await clock.advance(1);
    for (const host of [here, right]) expect(await host.get(token)).toBeNull();
  });
});

test("K-02 a clock that jumps at every question for the time does no harm to sessions on Redis", async () => {
  const jumps = [0, 10 * YEAR, -HOUR, 5 * MINUTE, -10 * YEAR, 3 * HOUR];
  let asked = 0;
  const { backend, clock } = await redisWithClock(client, `${prefix}${crypto.randomUUID()}:`);
  const store = processOn(backend, () => clock.now() + (jumps[asked++ % jumps.length] ?? 0), { touchInterval: 60 });
  const userId = `skewed-${crypto.randomUUID()}`;
  const { token, session } = await store.create({ userId });
  for (let use = 0; use < 50; use++) {
    await clock.advance(0.4 * IDLE);
    expect(await store.get(token), `${use}`).not.toBeNull();
    expect(await store.increment(token, "pageViews")).toBe(use + 1);
    expect(await store.count({ user: userId })).toBe(1);
  }
  expect((await allListed(store, { user: userId })).map(({ id }) => id)).toEqual([session.id]);
  expect(await store.revokeAll({ user: userId })).toBe(1);
  expect(await store.get(token)).toBeNull();
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
  }
});

test("K-04 a last-access time in the future is replaced by the next touch and extends nothing", async () => {
  for (const far of [MINUTE, YEAR]) {
    const { right } = hosts(onRedis, { here: 0, there: 0 }, { touchInterval: 60 });
    const { token, session } = await right.create({ userId: "42" });
    await client.hSet(prefix + session.id, "last_accessed_at", new Date(Date.now() + far).toISOString());
    const touched = await right.get(token);
    expect(touched?.lastAccessedAt.getTime()).toBeLessThanOrEqual(Date.now());
    expect(touched?.expiresAt.getTime()).toBeLessThanOrEqual(Date.now() + IDLE * SECOND);
    expect(await stampOf(session.id)).toBeLessThanOrEqual(Date.now());
    expect(await remaining(session.id)).toBeLessThanOrEqual(IDLE * SECOND);
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

  test("K-05 a jump of Redis's clock ends sessions early or late by the jump at most, and no session becomes unlisted", async () => {
    for (const jump of [HOUR, -HOUR, 10 * MINUTE, -10 * MINUTE]) {
      const { backend, clock } = await redisWithClock(client, `${prefix}${crypto.randomUUID()}:`);
      const store = processOn(backend, clock.now, { idleTimeout: IDLE, absoluteTimeout: ABSOLUTE });
      const { token, session } = await store.create({ userId: "42" });
      // Redis keeps the moment at which a key expires, so that a jump changes the time that each key has left.
      await clock.advance(jump / SECOND);
      for (let use = 0; use < 30; use++) {
        const found = await store.get(token);
        const listed = (await allListed(store, { user: "42" })).map(({ id }) => id);
        expect(listed).toEqual(found === null ? [] : [session.id]);
        if (found === null) break;
        await clock.advance(0.4 * IDLE);
      }
      expect(await store.get(token)).toBeNull();
      expect(clock.now()).toBeLessThanOrEqual((session.deadline?.getTime() ?? 0) + 0.4 * IDLE * SECOND);
    }
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

  test("K-06 times are UTC and ignore the end of daylight saving time, in memory and on Redis", async () => {
    const clocksGoBack = Date.parse("2026-10-25T00:59:59.500Z");
    const grounds = [
      { backend: memoryBackend(), clock: manualClock(new Date(clocksGoBack)) },
      await redisWithClock(client, `${prefix}${crypto.randomUUID()}:`, clocksGoBack),
    ];
    for (const { backend, clock } of grounds) {
      const store = processOn(backend, clock.now, { idleTimeout: IDLE, absoluteTimeout: 2_000_000_000 });
      const { token, session } = await store.create({ userId: "42" });
      expect(session.createdAt.toISOString()).toBe("2026-10-25T00:59:59.500Z");
      expect(session.expiresAt.getTime()).toBe(clocksGoBack + IDLE * SECOND);
      await clock.advance(1);
      expect((await store.update(token, {}))?.lastAccessedAt.toISOString()).toBe("2026-10-25T01:00:00.500Z");
    }
  });

  test("K-06 Redis writes every day as RFC 3339 does", async () => {
    const script = `local here = tonumber(ARGV[1]) ${STAMP} return stamp`;
    const day = 24 * HOUR;
    const starts = [
      0,
      Date.parse("1999-12-25"),
      Date.parse("2000-02-20"),
      Date.parse("2026-01-01"),
      Date.parse("9999-12-01"),
    ];
    const leaps = [1972, 1996, 2024, 2028, 2096, 2100, 2104, 2200, 2396, 2400, 2800].map((year) =>
      Date.UTC(year, 1, 20),
    );
    for (const start of [...starts, ...leaps]) {
      for (let at = 0; at < 25; at++) {
        const time = start + at * day + ((at * 7_654_321) % day);
        const text = await client.eval(script, { keys: [], arguments: [String(time)] });
        expect(text).toBe(new Date(time).toISOString());
      }
    }
  });

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
    for (const [use, act] of Object.entries(uses)) {
      const grounds = [
        { backend: memoryBackend(), clock: manualClock() },
        await redisWithClock(client, `${prefix}${crypto.randomUUID()}:`),
      ];
      for (const { backend, clock } of grounds) {
        const store = processOn(backend, clock.now, { idleTimeout: IDLE, absoluteTimeout: IDLE });
        const { token } = await store.create({ userId: "42", code: "1" });
        await clock.advance(IDLE);
        expect(await act(store, token), use).toBeNull();
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
