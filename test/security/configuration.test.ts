import { describe, expect, test } from "vitest";
import { z } from "zod";
import { z as otherZod } from "zod-floor";
import {
  type CookieOptions,
  createSessionStore,
  memoryBackend,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { request } from "../support/http.ts";
import { visit, visits } from "../support/visits.ts";

/** Options as JavaScript passes them. */
function storeWith(options: object): () => unknown {
  return () => createSessionStore({ schema: visit, backend: memoryBackend(), ...options });
}

function cookieWith(options: object): () => unknown {
  return () => sessionCookie(options as CookieOptions);
}

/** Has the methods of a node-redis client; none is called when a backend is made. */
function client() {
  const unused = (): never => expect.fail("Something was sent");
  return { evalSha: unused, eval: unused, hGetAll: unused, hmGet: unused, scan: unused, on: () => undefined };
}

const message = /^Cannot create a session (store|cookie|middleware|exchange) as /;

describe("T-01 a duration is a positive whole number", () => {
  const wrong: readonly (readonly [unknown, ErrorConstructor])[] = [
    [0, RangeError],
    [-1, RangeError],
    [Number.NaN, RangeError],
    [Number.POSITIVE_INFINITY, RangeError],
    [1.5, RangeError],
    [2 ** 53, RangeError],
    [2 ** 31, RangeError],
    ["30m", TypeError],
    ["abc", TypeError],
    ["1800", TypeError],
    [null, TypeError],
    [true, TypeError],
    [1800n, TypeError],
    [[1800], TypeError],
    [new Date(), TypeError],
  ];
  test.each(wrong)("not %s", (value, kind) => {
    for (const name of ["idleTimeout", "absoluteTimeout", "operationTimeoutMs"]) {
      expect(storeWith({ [name]: value })).toThrow(kind);
      expect(storeWith({ [name]: value })).toThrow(message);
      expect(storeWith({ [name]: value })).toThrow(name);
    }
  });

  test.each(wrong.filter(([value]) => value !== 0))("for touchInterval 0 does, but not %s", (value, kind) => {
    expect(storeWith({ touchInterval: value })).toThrow(kind);
    expect(storeWith({ touchInterval: 0 })).not.toThrow();
  });

  test("an operation has at most 30 seconds", () => {
    expect(storeWith({ operationTimeoutMs: 30_000 })).not.toThrow();
    expect(storeWith({ operationTimeoutMs: 30_001 })).toThrow(RangeError);
  });

  test.each([0, -1, 1.5, Number.NaN, "5", null])("a capacity is one, too: not %s", (capacity) => {
    expect(() => memoryBackend({ capacity: capacity as number })).toThrow(/^Cannot create a memory backend as /);
  });
});

describe("T-02 durations fit each other", () => {
  test("idle <= absolute", () => {
    expect(storeWith({ idleTimeout: 60, absoluteTimeout: 60 })).not.toThrow();
    expect(storeWith({ idleTimeout: 61, absoluteTimeout: 60 })).toThrow(RangeError);
    expect(storeWith({ absoluteTimeout: 1799 })).toThrow(RangeError);
  });

  test("touchInterval < idle", () => {
    expect(storeWith({ idleTimeout: 60, touchInterval: 59 })).not.toThrow();
    expect(storeWith({ idleTimeout: 60, touchInterval: 60 })).toThrow(RangeError);
  });

  test("grace < idle", async () => {
    const { store } = visits({ idleTimeout: 60 });
    const { token } = await store.create({});
    await expect(store.rotate(token, { grace: 60 })).rejects.toThrow(RangeError);
    expect(await store.rotate(token, { grace: 59 })).not.toBeNull();
  });

  test("a cookie that persists is cut at 400 days, however long the session may last", async () => {
    const { store } = visits({ absoluteTimeout: 500 * 86_400 });
    const handle = sessionMiddleware(store, { persistent: true });
    const response = await handle(request(), async (session) => {
      await session.create({});
      return new Response();
    });
    expect(response.headers.get("set-cookie")).toContain("Max-Age=34560000");
  });
});

// T-03 is not applicable by design: every positive number of seconds is a timeout, as a test of one second wants it,
// and a unit in the wrong place is what the word "seconds" beside each option is for.

test.each([25, 365, 400])("T-04 a timeout of %d days works in memory", async (days) => {
  const { store, advance } = visits({ idleTimeout: days * 86_400 });
  const { token } = await store.create({});
  advance(days * 86_400);
  expect(await store.get(token)).not.toBeNull();
  advance(days * 86_400 + 0.001);
  expect(await store.get(token)).toBeNull();
});

describe("T-05 a cookie's name is a token of RFC 9110", () => {
  test.each([
    "",
    "a b",
    "a;b",
    "a=b",
    "a,b",
    "a\r\nb",
    "a\0b",
    "ä",
    "a\tb",
    'a"b',
    "a/b",
    "a[b]",
    "__proto__",
    "a".repeat(4100),
  ])("not %j", (name) => {
    expect(cookieWith({ name })).toThrow(TypeError);
    expect(cookieWith({ name })).toThrow(message);
  });

  test.each([null, 5, ["sid"], {}])("not %j", (name) => {
    expect(cookieWith({ name })).toThrow(TypeError);
  });

  test.each(["sid", "SID", "my.app_sid", "!#$%&'*+-.^_`|~", "a".repeat(4000)])("%j is one", (name) => {
    expect(sessionCookie({ name }).name).toBe(name);
  });
});

describe("T-06 a prefix of the name is kept to", () => {
  test.each(["__Host-sid", "__HOST-sid", "__host-sid", "__Host-Http-sid", "__hOsT-hTTp-sid"])("%s", (name) => {
    expect(cookieWith({ name, domain: "app.example" })).toThrow(TypeError);
    expect(cookieWith({ name, path: "/app" })).toThrow(TypeError);
    expect(cookieWith({ name, secure: false })).toThrow(TypeError);
    expect(cookieWith({ name })).not.toThrow();
  });

  test.each(["__Secure-sid", "__SECURE-sid", "__Http-sid", "__HTTP-sid"])("%s", (name) => {
    expect(cookieWith({ name, secure: false })).toThrow(TypeError);
    expect(cookieWith({ name, domain: "app.example", path: "/app" })).not.toThrow();
  });
});

describe("T-07 path and domain", () => {
  test.each(["/a;b", "/a, b", "/a\rb", "/a\nb", "/a\0b", "/ä", "", "app", `/${"a".repeat(1024)}`, null, 5])(
    "not the path %j",
    (path) => {
      expect(cookieWith({ path })).toThrow(TypeError);
      expect(cookieWith({ path })).toThrow(message);
    },
  );

  test.each([
    "",
    ".app.example",
    "app.example.",
    "app..example",
    "a;b",
    "a,b",
    "a b",
    "a\r\nb",
    "127.0.0.1",
    "[::1]",
    "::1",
    "münchen.example",
    "https://app.example",
    "app.example:443",
    "app.example/",
    "-app.example",
    "a".repeat(1025),
    `${"a.".repeat(127)}example`,
    null,
    5,
  ])("not the domain %j", (domain) => {
    expect(cookieWith({ domain })).toThrow(TypeError);
    expect(cookieWith({ domain })).toThrow(message);
  });

  test.each(["app.example", "localhost", "xn--mnchen-3ya.example", "APP.example", "1.example"])(
    "the domain %s",
    (domain) => {
      expect(cookieWith({ domain })).not.toThrow();
    },
  );
});

describe("the previous scopes of a cookie", () => {
  const nine = Array.from({ length: 9 }, (_, at) => ({ name: `sid${at}` }));

  test.each<[string, object, string]>([
    ["are an array", { previous: { name: "old" } }, "received object"],
    ["are an array and not null", { previous: null }, "received null"],
    ["are at most eight", { previous: nine }, "at most 8 scopes: received 9"],
    ["are objects", { previous: ["old"] }, "received string"],
    ["are objects and no holes", { previous: new Array(1) }, "received undefined"],
    ["have no other options", { previous: [{ name: "old", sameSite: "lax" }] }, '"sameSite"'],
    ["have a name that is a token", { previous: [{ name: "a b" }] }, "RFC 9110"],
    ["have a name that is text", { previous: [{ name: 5 }] }, "RFC 9110"],
    ["have a name, and it is not null", { previous: [{ name: null }] }, "RFC 9110"],
    ["have a path that begins with a slash", { name: "sid", previous: [{ path: "app" }] }, "path must begin with /"],
    ["have a path, and it is not null", { name: "sid", previous: [{ path: null }] }, "path must begin with /"],
    ["have a domain that is a host name", { name: "sid", previous: [{ domain: ".app.example" }] }, "host name"],
    ["have no empty domain", { name: "sid", previous: [{ domain: "" }] }, "host name"],
    ["have no domain with __Host-", { previous: [{ domain: "app.example" }] }, "__Host-"],
    ["have no path with __Host-", { previous: [{ name: "__host-old", path: "/app" }] }, "__Host-"],
    ["have no __Host- without secure", { secure: false, previous: [{ name: "__Host-sid" }] }, "__Host-"],
    ["have no __Secure- without secure", { secure: false, previous: [{ name: "__Secure-sid" }] }, "__Secure-"],
    ["differ from the present one", { previous: [{}] }, '{"name":"__Host-sid","path":"/"}'],
    ["differ from it by more than undefined", { previous: [{ name: undefined, path: "/" }] }, "must differ"],
    ["differ from it though it is spelt out", { name: "sid", previous: [{ name: "sid", path: "/" }] }, "must differ"],
    [
      "differ from it by more than the case of the domain",
      { domain: "app.example", previous: [{ domain: "APP.example" }] },
      "must differ",
    ],
    ["differ from each other", { previous: [{ name: "old" }, { name: "old", path: "/" }] }, "must differ"],
  ])("%s", (_, options, named) => {
    expect(cookieWith(options)).toThrow(TypeError);
    expect(cookieWith(options)).toThrow(message);
    expect(cookieWith(options)).toThrow(named);
  });

  test("may be eight, and differ in the case of a name or a path", () => {
    expect(sessionCookie({ previous: nine.slice(1) }).clearPrevious()).toHaveLength(8);
    const previous = [{ name: "SID" }, { path: "/a" }, { path: "/A" }];
    expect(sessionCookie({ name: "sid", previous }).clearPrevious()).toHaveLength(3);
  });
});

describe("T-08 SameSite", () => {
  test.each(["LAX", "Lax", true, "", "unknown", null, "toString", "__proto__"])("not %j", (sameSite) => {
    expect(cookieWith({ sameSite })).toThrow(TypeError);
    expect(cookieWith({ sameSite })).toThrow(message);
  });

  test("none only with Secure", () => {
    expect(cookieWith({ sameSite: "none", secure: false })).toThrow(TypeError);
    expect(cookieWith({ sameSite: "none" })).not.toThrow();
  });

  test("Partitioned only with Secure", () => {
    expect(cookieWith({ partitioned: true, secure: false })).toThrow(TypeError);
    expect(cookieWith({ partitioned: true })).not.toThrow();
  });

  test.each(["true", 1, 0, null])("flags are true or false: not %j", (flag) => {
    expect(cookieWith({ secure: flag })).toThrow(TypeError);
    expect(cookieWith({ partitioned: flag })).toThrow(TypeError);
  });
});

describe("T-09 a prefix of keys has no character that means something", () => {
  test.each(["", " ", "a b", "a*", "a?", "[a]", "{a}", "a\n", "a\r\n", "a\0", "a\\", "ä", "a".repeat(1024), null, 5])(
    "not %j",
    (prefix) => {
      expect(() => redisBackend(client(), { prefix: prefix as string })).toThrow(/^Cannot create a Redis backend as /);
      expect(() => redisBackend(client(), { prefix: prefix as string })).toThrow(TypeError);
    },
  );

  test.each(["session:", "a", "my-app:v2/sid.", "a".repeat(128)])("%j is one", (prefix) => {
    expect(() => redisBackend(client(), { prefix })).not.toThrow();
  });
});

describe("T-10 a schema is a zod 4 object", () => {
  test.each([
    ["none", undefined, "received undefined"],
    ["null", null, "received null"],
    ["a string", z.string(), "type string"],
    ["a transformed object", z.object({}).transform((data) => data), "type pipe"],
    ["a shape", { userId: z.string() }, "no zod schema"],
    ["a schema of zod 3", { _def: { typeName: "ZodObject" }, parse: () => ({}) }, "zod 3"],
    ["a function", () => z.object({}), "received function"],
  ])("not %s", (_, schema, cause) => {
    expect(storeWith({ schema })).toThrow(TypeError);
    expect(storeWith({ schema })).toThrow(message);
    expect(storeWith({ schema })).toThrow(cause);
  });

  test("of whichever copy of zod", async () => {
    const schema = otherZod.object({ userId: otherZod.string(), pageViews: otherZod.number().default(0) });
    const store = createSessionStore({ schema, backend: memoryBackend() });
    const { token } = await store.create({ userId: "42" });
    await expect(store.update(token, { userId: 42 as never })).rejects.toMatchObject({ name: "SessionDataError" });
    expect((await store.get(token))?.data).toEqual({ userId: "42", pageViews: 0 });
  });
});

describe("T-11 a backend is one, and so is a client", () => {
  test.each([
    ["undefined", undefined],
    ["null", null],
    ["nothing", {}],
    ["a name", "memory"],
    ["a Map", new Map()],
    ["a function that makes one", memoryBackend],
    ["a Redis client", client()],
    ["one without all methods", { ...memoryBackend(), keys: undefined }],
  ])("a backend is not %s", (_, backend) => {
    expect(storeWith({ backend })).toThrow(TypeError);
    expect(storeWith({ backend })).toThrow(message);
  });

  test.each([
    ["undefined", undefined],
    ["null", null],
    ["nothing", {}],
    ["an address", "redis://localhost"],
    ["a client of another library", { evalsha() {}, eval() {}, hgetall() {}, hmget() {}, on() {} }],
    ["a transaction", { evalSha() {}, eval() {}, hGetAll() {}, hmGet() {}, exec() {} }],
  ])("a client is not %s", (_, other) => {
    expect(() => redisBackend(other as never)).toThrow(TypeError);
    expect(() => redisBackend(other as never)).toThrow("client must be a node-redis client");
  });
});

describe("T-12 an unknown option is an error that names it", () => {
  const { store } = visits();
  test.each([
    ["ttl", storeWith({ ttl: 30 })],
    ["idletimeout", storeWith({ idletimeout: 30 })],
    ["httpOnly", cookieWith({ httpOnly: false })],
    ["maxage", cookieWith({ maxage: 30 })],
    ["persist", () => sessionMiddleware(store, { persist: true } as object)],
    ["name", () => sessionMiddleware(store, { name: "sid" } as object)],
    ["httpOnly", () => sessionMiddleware(store, { cookie: { httpOnly: false } as object })],
    ["persist", () => sessionExchange(store, { persist: true } as object)],
    ["max", () => memoryBackend({ max: 5 } as object)],
    ["keyPrefix", () => redisBackend(client(), { keyPrefix: "a:" } as object)],
  ])("%s", (name, make) => {
    expect(make).toThrow(TypeError);
    expect(make).toThrow(`"${name}"`);
  });

  test.each([null, "options", 5, [], () => ({})])("options are an object: not %s", (options) => {
    for (const make of [createSessionStore, sessionCookie, memoryBackend]) {
      expect(() => make(options as never)).toThrow(TypeError);
    }
    expect(() => sessionMiddleware(store, options as never)).toThrow(TypeError);
  });

  test("callbacks are functions", () => {
    for (const name of ["migrate", "onEvent", "now"]) expect(storeWith({ [name]: "now" })).toThrow(TypeError);
    expect(() => sessionMiddleware(store, { onBackendError: 503 as never })).toThrow(TypeError);
  });

  test("persistent is true, false or a function", () => {
    expect(() => sessionMiddleware(store, { persistent: "yes" as never })).toThrow(TypeError);
    expect(() => sessionExchange(store, { persistent: 5 as never })).toThrow(TypeError);
  });

  test("plainIds is true or false", () => {
    expect(storeWith({ plainIds: "yes" })).toThrow(TypeError);
  });
});

describe("T-13 options are taken as they are when something is made", () => {
  test("of a store", async () => {
    const options = { schema: visit, backend: memoryBackend(), idleTimeout: 60 };
    const store = createSessionStore(options);
    options.idleTimeout = 7;
    options.backend = memoryBackend();
    expect((await store.create({})).session.idleTimeout).toBe(60);
  });

  test("of a cookie", () => {
    const options = { name: "sid", path: "/", previous: [{ name: "old" }] };
    const cookie = sessionCookie(options);
    options.name = "other";
    options.path = "/other";
    options.previous.push({ name: "older" });
    expect(cookie.clear()).toMatch(/^sid=; .*Path=\/;/);
    expect(cookie.clearPrevious()).toEqual([expect.stringMatching(/^old=;/)]);
    expect([Object.isFrozen(cookie), Object.isFrozen(cookie.clearPrevious())]).toEqual([true, true]);
  });

  test("and read once, where a getter answers differently each time", async () => {
    let asked = 0;
    const store = createSessionStore({
      schema: visit,
      backend: memoryBackend(),
      get idleTimeout() {
        return ++asked;
      },
    });
    await store.create({});
    expect((await store.create({})).session.idleTimeout).toBe(1);
    expect(asked).toBe(1);
  });
});

describe("T-14 one cookie has one middleware", () => {
  const { store } = visits();

  test("a second one inside the first is a TypeError", async () => {
    const outer = sessionMiddleware(store);
    const inner = sessionMiddleware(store);
    const asked = request();
    const nested = outer(asked, () => inner(asked, () => new Response()));
    await expect(nested).rejects.toThrow(TypeError);
    expect((await outer(asked, () => new Response())).status).toBe(200);
  });

  test("two with cookies of their own go together", async () => {
    const outer = sessionMiddleware(store);
    const inner = sessionMiddleware(visits().store, { cookie: { name: "__Host-admin" } });
    const asked = request();
    const response = await outer(asked, (session) =>
      inner(asked, async (admin) => {
        await session.create({});
        await admin.create({});
        return new Response();
      }),
    );
    expect(response.headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["__Host-admin", "__Host-sid"]);
  });
});

// T-15 is not applicable by design: stores have no names, and two of them on one prefix are how a program whose parts
// see different fields of a session is written.

test("a clock that does not tell the time is a TypeError", async () => {
  for (const now of [() => Number.NaN, () => -1, () => "now" as never, () => 1e15]) {
    const store = createSessionStore({ schema: visit, backend: memoryBackend(), now });
    await expect(store.create({})).rejects.toThrow(TypeError);
  }
});
