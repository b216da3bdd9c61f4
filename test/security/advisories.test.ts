import { describe, expect, test } from "vitest";
import {
  memoryBackend,
  SessionBackendError,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { accounts, advisories, expectNothingOpens, type Ground, madeUp } from "../support/advisories.ts";
import { counted, intercept, keysOf } from "../support/backends.ts";
import { never } from "../support/gate.ts";
import { request, requestParts } from "../support/http.ts";
import { visits } from "../support/visits.ts";

// One test or more for each vulnerability of other libraries. Those about storage also run on Redis:
// test/redis/advisories.test.ts.

const ground = (): Ground => ({ backend: memoryBackend(), clock: manualClock() });

advisories(ground);

describe("R-15 empty tokens", () => {
  test("an empty token is invalid for every operation and causes no backend call", async () => {
    const { backend, calls } = counted(memoryBackend());
    await expectNothingOpens(accounts({ ...ground(), backend }), "");
    expect(calls).toEqual([]);
  });

  test("after destroy, writes in the same request return null and cause no backend call", async () => {
    const { backend, calls } = counted(memoryBackend());
    const store = accounts({ ...ground(), backend });
    const { token } = await store.create({});
    const { session } = sessionExchange(store)(requestParts(`__Host-Http-sid=${token}`));
    await session.destroy();
    calls.length = 0;
    expect(await session.update({ role: "admin" })).toBeNull();
    expect(await session.increment("views")).toBeNull();
    expect(await session.rotate()).toBeNull();
    expect(calls).toEqual([]);
    expect(await keysOf(backend)).toEqual([]);
  });
});

// R-17 (caches) is in test/http/cache-safety.test.ts.

test.each(["; ", ";", "\r", "\n", "\0", ",", "\x7f", "\x01", "é"])(
  "R-18 a cookie name, path, domain or token that contains %j is rejected",
  (text) => {
    expect(() => sessionCookie({ name: `a${text}b` })).toThrow(TypeError);
    expect(() => sessionCookie({ path: `/a${text}b` })).toThrow(TypeError);
    expect(() => sessionCookie({ domain: `a${text}b.example` })).toThrow(TypeError);
    expect(() => sessionCookie().write(`${madeUp()}${text}`)).toThrow(TypeError);
  },
);

test.each([
  "%5F%5FHost-sid=",
  "__Host%2Dsid=",
  "__Host.sid=",
  "=__Host-Http-sid=",
  "\u00a0__Host-Http-sid=",
  "\u2003__Host-Http-sid=",
  "__host-sid=",
])("R-19 a cookie that starts with %j is not the session cookie and does not hide it", (look) => {
  const { read } = sessionCookie();
  const [fake, genuine] = [madeUp(), madeUp()];
  expect(read(`${look}${fake}`)).toBeNull();
  expect(read(`${look}${fake}; __Host-Http-sid=${genuine}`)).toBe(genuine);
  expect(read(`__Host-Http-sid=${genuine}; ${look}${fake}`)).toBe(genuine);
});

test("R-20 cookies named like properties of Object.prototype have no effect", () => {
  const genuine = madeUp();
  const header = `__proto__=${madeUp()}; constructor=x; toString=y; __Host-Http-sid=${genuine}; hasOwnProperty=z`;
  expect(sessionCookie().read(header)).toBe(genuine);
  expect(sessionCookie({ name: "constructor" }).read("a=b")).toBeNull();
  expect(Object.keys(Object.prototype)).toEqual([]);
});

test("R-21 the Cookie header is read in linear time, and not at all if it is longer than 32 KiB", () => {
  const { read } = sessionCookie();
  const time = (header: string): number => {
    const runs = Array.from({ length: 7 }, () => {
      const start = performance.now();
      for (let round = 0; round < 5; round++) read(header);
      return performance.now() - start;
    });
    return Math.min(...runs);
  };
  for (const piece of ["a=b;", ";", "=", '"', '\\"', " ", "__Host-Http-sid", "__Host-Http-sid=;", "\t="]) {
    const [short, long] = [1, 2].map((times) => time(piece.repeat(Math.floor((times * 16_000) / piece.length))));
    // A quadratic reader takes four times as long. Times below 5 ms are too short to compare.
    if ((long ?? 0) > 5) expect((long ?? 0) / (short ?? 1), piece).toBeLessThan(3.5);
    expect(long, piece).toBeLessThan(100);
  }
  const genuine = `__Host-Http-sid=${madeUp()}`;
  expect(read(`${genuine}; ${"a".repeat(40_000)}`)).toBeNull();
});

test.each(["../../etc/passwd", "a/b", "\0", "*", "a:b", "{slot}", "index:user:42"])(
  "R-22 a token or session ID that contains %j never reaches the backend",
  async (text) => {
    const { backend, calls } = counted(memoryBackend());
    const store = accounts({ ...ground(), backend });
    for (const token of [text, `${text.padEnd(22, "A")}.${"A".repeat(43)}`, text.padEnd(66, "A")]) {
      await expectNothingOpens(store, token);
    }
    expect(await store.revoke(text)).toBe(false);
    expect(await store.revoke(text.padEnd(22, "A").slice(0, 22))).toBe(false);
    expect(calls).toEqual([]);
  },
);

// R-23 (a session of one store used in another) is in test/redis/advisories.test.ts, as it needs a shared server.

// R-26 (tokens in logs) is in test/security/secrecy.test.ts.

// R-28 and R-29 (keys that never expire) are in test/redis/advisories.test.ts, as every record in memory expires.

test("R-32 an expired session is removed from the memory backend without any cleanup call", async () => {
  const { store, advance, backend } = visits({ idleTimeout: 60, absoluteTimeout: 3600 });
  const idle = await store.create({});
  advance(60.001);
  expect(await store.peek(idle.token)).toBeNull();
  expect(await keysOf(backend)).toEqual([]);
});

test("R-34 a request gets 503 within the operation timeout if the backend never responds", async () => {
  const backend = intercept(memoryBackend(), never);
  const { store } = visits({ backend, operationTimeout: "20ms" });
  await expect(store.get(madeUp())).rejects.toMatchObject({ name: "SessionBackendError", reason: "timeout" });
  const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${madeUp()}`), async (session) => {
    await session.get();
    return new Response("anonymous");
  });
  expect(response.status).toBe(503);
});

test("R-35 a request is answered with 503, not treated as anonymous, if the backend fails", async () => {
  const error = new SessionBackendError("down", { reason: "unavailable", outcome: "not-applied" });
  const { store } = visits({ backend: intercept(memoryBackend(), () => Promise.reject(error)) });
  const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${madeUp()}`), async (session) => {
    const found = await session.get();
    return new Response(found === null ? "anonymous" : "known");
  });
  expect(response.status).toBe(503);
  expect(response.headers.getSetCookie()).toEqual([]);
  expect(await response.text()).not.toContain("anonymous");
});

test("R-40 only the cookie of a request affects the session, not its URL, body or other headers", async () => {
  const { store } = visits();
  const asked = new Request("https://app.example/?userId=root&sid=x", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${madeUp()}`, "x-user-id": "root" },
    body: JSON.stringify({ userId: "root" }),
  });
  await sessionMiddleware(store)(asked, async (session) => {
    expect(await session.get()).toBeNull();
    expect((await session.create({})).data).toEqual({ theme: "light", pageViews: 0, cart: [] });
    expect(asked.bodyUsed).toBe(false);
    return new Response();
  });
});

// R-41 (header arrays in Node) does not apply, as there is no adapter for Node's own requests.

// R-42 (Redis scripts) is in test/redis/advisories.test.ts.
