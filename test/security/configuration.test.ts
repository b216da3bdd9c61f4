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

/** Creates a store with options that TypeScript would reject. */
function storeWith(options: object): () => unknown {
  return () => createSessionStore({ schema: visit, backend: memoryBackend(), ...options });
}

function cookieWith(options: object): () => unknown {
  return () => sessionCookie(options as CookieOptions);
}

/** Has the methods of a node-redis client. The test fails if one of them sends a command. */
function client() {
  const unused = (): never => expect.fail("Something was sent");
  const commands = { evalSha: unused, eval: unused, hGetAll: unused, hmGet: unused, scan: unused };
  return { ...commands, on: () => undefined, close: unused, destroy: unused };
}

const message = /^Cannot create a session (store|cookie|middleware|exchange) as /;

describe("T-01 durations and capacities", () => {
  const wrong: readonly (readonly [unknown, ErrorConstructor])[] = [
    [0, RangeError],
    [-1, RangeError],
    [Number.NaN, RangeError],
    [Number.POSITIVE_INFINITY, RangeError],
    [2 ** 53, RangeError],
    [2 ** 31, RangeError],
    ["0s", RangeError],
    ["-5m", RangeError],
    ["30 minutes", RangeError],
    ["1e3s", RangeError],
    [" 30m", RangeError],
    ["1.2.3s", RangeError],
    ["30M", RangeError],
    ["", RangeError],
    ["abc", RangeError],
    ["1800", RangeError],
    ["24856d", RangeError],
    [null, TypeError],
    [true, TypeError],
    [1800n, TypeError],
    [[1800], TypeError],
    [new Date(), TypeError],
  ];
  test.each(wrong)("%O is rejected as idleTimeout, absoluteTimeout and operationTimeout", (value, kind) => {
    for (const name of ["idleTimeout", "absoluteTimeout", "operationTimeout"]) {
      expect(storeWith({ [name]: value })).toThrow(kind);
      expect(storeWith({ [name]: value })).toThrow(message);
      expect(storeWith({ [name]: value })).toThrow(name);
    }
  });

  test.each([1.5, "1500ms", "0.001m"])("%O is rejected as a timeout, because Redis keeps whole seconds", (value) => {
    for (const name of ["idleTimeout", "absoluteTimeout"]) {
      expect(storeWith({ [name]: value })).toThrow(`${name} must be a whole number of seconds`);
    }
    expect(storeWith({ operationTimeout: value })).not.toThrow();
  });

  test("an operationTimeout and a touchInterval must be whole milliseconds", () => {
    for (const name of ["operationTimeout", "touchInterval"]) {
      expect(storeWith({ [name]: "1.1s" })).not.toThrow();
      expect(storeWith({ [name]: "1.5ms" })).toThrow(`${name} must be a whole number of milliseconds`);
      expect(storeWith({ [name]: 0.0015 })).toThrow(`${name} must be a whole number of milliseconds`);
    }
  });

  test("a malformed duration is quoted if it looks like one, and never if it could be a secret", () => {
    expect(storeWith({ idleTimeout: "30 minutes" })).toThrow(
      'Cannot create a session store as idleTimeout must be a number of seconds or a duration such as "30m": received "30 minutes"',
    );
    expect(storeWith({ idleTimeout: "hunter2" })).toThrow(/received string$/);
    expect(storeWith({ operationTimeout: "31s" })).toThrow(
      'Cannot create a session store as operationTimeout must be from "1ms" to "30s": received "31s"',
    );
  });

  test.each(wrong.filter(([value]) => value !== 0 && value !== "0s"))(
    "%O is rejected as touchInterval, while 0 is accepted",
    (value, kind) => {
      expect(storeWith({ touchInterval: value })).toThrow(kind);
      expect(storeWith({ touchInterval: 0 })).not.toThrow();
    },
  );

  test("an operationTimeout of more than 30 seconds is rejected", () => {
    expect(storeWith({ operationTimeout: "30s" })).not.toThrow();
    expect(storeWith({ operationTimeout: "30001ms" })).toThrow(RangeError);
  });

  test.each([0, -1, 1.5, Number.NaN, "5", null])("%O is rejected as the capacity of a memory backend", (capacity) => {
    expect(() => memoryBackend({ capacity: capacity as number })).toThrow(/^Cannot create a memory backend as /);
  });
});

describe("T-02 combinations of durations", () => {
  test("an idleTimeout longer than the absoluteTimeout is rejected", () => {
    expect(storeWith({ idleTimeout: 60, absoluteTimeout: 60 })).not.toThrow();
    expect(storeWith({ idleTimeout: 61, absoluteTimeout: 60 })).toThrow(RangeError);
    expect(storeWith({ absoluteTimeout: 1799 })).toThrow(RangeError);
  });

  test("a touchInterval that is not shorter than the idleTimeout is rejected", () => {
    expect(storeWith({ idleTimeout: 60, touchInterval: 59 })).not.toThrow();
    expect(storeWith({ idleTimeout: 60, touchInterval: 60 })).toThrow(RangeError);
  });

  test("a grace period that is not shorter than the idle timeout is rejected", async () => {
    const { store } = visits({ idleTimeout: 60 });
    const { token } = await store.create({});
    await expect(store.rotate(token, { grace: 60 })).rejects.toThrow(RangeError);
    expect(await store.rotate(token, { grace: 59 })).not.toBeNull();
  });

  test("a persistent cookie lasts at most 400 days, even if the session lasts longer", async () => {
    const { store } = visits({ absoluteTimeout: "500d" });
    const handle = sessionMiddleware(store, { persistent: true });
    const response = await handle(request(), async (session) => {
      await session.create({});
      return new Response();
    });
    expect(response.headers.get("set-cookie")).toContain("Max-Age=34560000");
  });
});

// T-03 (implausible units) does not apply: every positive number of seconds is valid, as tests need short timeouts. The
// documentation of each option names the unit.

test.each([25, 365, 400])("T-04 an idle timeout of %d days is exact on the memory backend", async (days) => {
  const { store, advance } = visits({ idleTimeout: `${days}d`, absoluteTimeout: "none" });
  const { token } = await store.create({});
  advance(days * 86_400);
  expect(await store.get(token)).not.toBeNull();
  advance(days * 86_400 + 0.001);
  expect(await store.get(token)).toBeNull();
});

describe("T-05 the cookie name", () => {
  test.each(["", "a b", "a;b", "a=b", "a,b", "a\r\nb", "a\0b", "ä", "a\tb", 'a"b', "a/b", "a[b]", "__proto__"])(
    "the cookie name %j is rejected",
    (name) => {
      expect(cookieWith({ name })).toThrow(TypeError);
      expect(cookieWith({ name })).toThrow(message);
    },
  );

  test("a cookie name of 4100 characters is rejected", () => {
    expect(cookieWith({ name: "a".repeat(4100) })).toThrow(TypeError);
    expect(cookieWith({ name: "a".repeat(4100) })).toThrow(message);
  });

  test.each([[null], [5], [["sid"]], [{}]])("the cookie name %j is rejected as it is not a string", (name) => {
    expect(cookieWith({ name })).toThrow(TypeError);
  });

  test.each(["sid", "SID", "my.app_sid", "!#$%&'*+-.^_`|~"])("the cookie name %j is accepted", (name) => {
    expect(sessionCookie({ name }).name).toBe(name);
  });

  test("a cookie name of 4000 characters is accepted", () => {
    const name = "a".repeat(4000);
    expect(sessionCookie({ name }).name).toBe(name);
  });
});

describe("T-06 cookie names with a prefix must follow the rules of the prefix", () => {
  test.each(["__Host-sid", "__HOST-sid", "__host-sid", "__Host-Http-sid", "__hOsT-hTTp-sid"])(
    "the cookie name %s is rejected with a domain, with another path or without Secure",
    (name) => {
      expect(cookieWith({ name, domain: "app.example" })).toThrow(TypeError);
      expect(cookieWith({ name, path: "/app" })).toThrow(TypeError);
      expect(cookieWith({ name, secure: false })).toThrow(TypeError);
      expect(cookieWith({ name })).not.toThrow();
    },
  );

  test.each(["__Secure-sid", "__SECURE-sid", "__Http-sid", "__HTTP-sid"])(
    "the cookie name %s is rejected without Secure",
    (name) => {
      expect(cookieWith({ name, secure: false })).toThrow(TypeError);
      expect(cookieWith({ name, domain: "app.example", path: "/app" })).not.toThrow();
    },
  );
});

describe("T-07 the path and domain of the cookie", () => {
  test.each(["/a;b", "/a, b", "/a\rb", "/a\nb", "/a\0b", "/ä", "", "app", null, 5])(
    "the cookie path %j is rejected",
    (path) => {
      expect(cookieWith({ path })).toThrow(TypeError);
      expect(cookieWith({ path })).toThrow(message);
    },
  );

  test.each([
    ["a path of 1025 characters", { path: `/${"a".repeat(1024)}` }],
    ["a domain of 1025 characters without a dot", { domain: "a".repeat(1025) }],
    ["a domain of 261 characters", { domain: `${"a.".repeat(127)}example` }],
  ])("%s is rejected", (_, options) => {
    expect(cookieWith(options)).toThrow(TypeError);
    expect(cookieWith(options)).toThrow(message);
  });

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
    null,
    5,
  ])("the cookie domain %j is rejected", (domain) => {
    expect(cookieWith({ domain })).toThrow(TypeError);
    expect(cookieWith({ domain })).toThrow(message);
  });

  test.each(["app.example", "localhost", "xn--mnchen-3ya.example", "APP.example", "1.example"])(
    "the cookie domain %s is accepted",
    (domain) => {
      expect(cookieWith({ domain })).not.toThrow();
    },
  );
});

describe("invalid values of the option previous", () => {
  const nine = Array.from({ length: 9 }, (_, at) => ({ name: `sid${at}` }));

  test.each<[string, object, string]>([
    ["previous must be an array", { previous: { name: "old" } }, "received object"],
    ["previous must not be null", { previous: null }, "received null"],
    ["previous must have at most eight scopes", { previous: nine }, "at most 8 scopes: received 9"],
    ["a previous scope must be an object", { previous: ["old"] }, "received string"],
    ["previous must not have holes", { previous: new Array(1) }, "received undefined"],
    ["a previous scope must not have other options", { previous: [{ name: "old", sameSite: "lax" }] }, '"sameSite"'],
    ["a previous name must be a token", { previous: [{ name: "a b" }] }, "RFC 9110"],
    ["a previous name must be a string", { previous: [{ name: 5 }] }, "RFC 9110"],
    ["a previous name must not be null", { previous: [{ name: null }] }, "RFC 9110"],
    ["a previous path must begin with a slash", { name: "sid", previous: [{ path: "app" }] }, "path must begin with /"],
    ["a previous path must not be null", { name: "sid", previous: [{ path: null }] }, "path must begin with /"],
    ["a previous domain must be a host name", { name: "sid", previous: [{ domain: ".app.example" }] }, "host name"],
    ["a previous domain must not be empty", { name: "sid", previous: [{ domain: "" }] }, "host name"],
    ["a previous __Host- name must not have a domain", { previous: [{ domain: "app.example" }] }, "__Host-"],
    [
      "a previous __Host- name must not have another path",
      { previous: [{ name: "__host-old", path: "/app" }] },
      "__Host-",
    ],
    ["a previous __Host- name needs secure", { secure: false, previous: [{ name: "__Host-sid" }] }, "__Host-"],
    ["a previous __Secure- name needs secure", { secure: false, previous: [{ name: "__Secure-sid" }] }, "__Secure-"],
    [
      "a previous scope must differ from the current scope",
      { previous: [{}] },
      '{"name":"__Host-Http-sid","path":"/"}',
    ],
    [
      "a previous scope must differ from the current one after defaults are applied",
      { previous: [{ name: undefined, path: "/" }] },
      "must differ",
    ],
    [
      "a previous scope must differ from the current one even if name and path are given",
      { name: "sid", previous: [{ name: "sid", path: "/" }] },
      "must differ",
    ],
    [
      "a previous scope must differ from the current one by more than the case of the domain",
      { domain: "app.example", previous: [{ domain: "APP.example" }] },
      "must differ",
    ],
    [
      "previous scopes must differ from each other",
      { previous: [{ name: "old" }, { name: "old", path: "/" }] },
      "must differ",
    ],
  ])("sessionCookie enforces this rule: %s", (_, options, named) => {
    expect(cookieWith(options)).toThrow(TypeError);
    expect(cookieWith(options)).toThrow(message);
    expect(cookieWith(options)).toThrow(named);
  });

  test("eight previous scopes are accepted, also scopes that differ only in the case of name or path", () => {
    expect(sessionCookie({ previous: nine.slice(1) }).clearPrevious()).toHaveLength(8);
    const previous = [{ name: "SID" }, { path: "/a" }, { path: "/A" }];
    expect(sessionCookie({ name: "sid", previous }).clearPrevious()).toHaveLength(3);
  });
});

describe("T-08 SameSite, Secure and Partitioned", () => {
  test.each(["LAX", "Lax", true, "", "unknown", null, "toString", "__proto__"])(
    "the sameSite value %j is rejected",
    (sameSite) => {
      expect(cookieWith({ sameSite })).toThrow(TypeError);
      expect(cookieWith({ sameSite })).toThrow(message);
    },
  );

  test("sameSite none is rejected without secure", () => {
    expect(cookieWith({ sameSite: "none", secure: false })).toThrow(TypeError);
    expect(cookieWith({ sameSite: "none" })).not.toThrow();
  });

  test("partitioned is rejected without secure", () => {
    expect(cookieWith({ partitioned: true, secure: false })).toThrow(TypeError);
    expect(cookieWith({ partitioned: true })).not.toThrow();
  });

  test.each(["true", 1, 0, null])("%j is rejected as the value of secure and partitioned", (flag) => {
    expect(cookieWith({ secure: flag })).toThrow(TypeError);
    expect(cookieWith({ partitioned: flag })).toThrow(TypeError);
  });
});

describe("T-09 the key prefix of a Redis backend", () => {
  test.each(["", " ", "a b", "a*", "a?", "[a]", "{a}", "a\n", "a\r\n", "a\0", "a\\", "ä", null, 5])(
    "the key prefix %j is rejected",
    (prefix) => {
      expect(() => redisBackend(client(), { prefix: prefix as string })).toThrow(/^Cannot create a Redis backend as /);
      expect(() => redisBackend(client(), { prefix: prefix as string })).toThrow(TypeError);
    },
  );

  test("a key prefix of 1024 characters is rejected", () => {
    const prefix = "a".repeat(1024);
    expect(() => redisBackend(client(), { prefix })).toThrow(/^Cannot create a Redis backend as /);
    expect(() => redisBackend(client(), { prefix })).toThrow(TypeError);
  });

  test.each(["session:", "a", "my-app:v2/sid."])("the key prefix %j is accepted", (prefix) => {
    expect(() => redisBackend(client(), { prefix })).not.toThrow();
  });

  test("a key prefix of 128 characters is accepted", () => {
    expect(() => redisBackend(client(), { prefix: "a".repeat(128) })).not.toThrow();
  });
});

describe("T-10 the schema of a store", () => {
  test.each([
    ["undefined", undefined, "received undefined"],
    ["null", null, "received null"],
    ["a string schema", z.string(), "type string"],
    ["a transformed object", z.object({}).transform((data) => data), "type pipe"],
    ["a plain object of schemas", { userId: z.string() }, "no zod schema"],
    ["a schema of zod 3", { _def: { typeName: "ZodObject" }, parse: () => ({}) }, "zod 3"],
    ["a function", () => z.object({}), "received function"],
  ])("createSessionStore rejects %s as the schema, and the error says why", (_, schema, cause) => {
    expect(storeWith({ schema })).toThrow(TypeError);
    expect(storeWith({ schema })).toThrow(message);
    expect(storeWith({ schema })).toThrow(cause);
  });

  test("a schema made with another copy of zod is accepted", async () => {
    const schema = otherZod.object({ userId: otherZod.string(), pageViews: otherZod.number().default(0) });
    const store = createSessionStore({ schema, backend: memoryBackend() });
    const { token } = await store.create({ userId: "42" });
    await expect(store.update(token, { userId: 42 as never })).rejects.toMatchObject({ name: "SessionDataError" });
    expect((await store.get(token))?.data).toEqual({ userId: "42", pageViews: 0 });
  });
});

describe("T-11 backends and Redis clients", () => {
  test.each([
    ["undefined", undefined],
    ["null", null],
    ["an empty object", {}],
    ["a name", "memory"],
    ["a Map", new Map()],
    ["the function memoryBackend itself", memoryBackend],
    ["a Redis client", client()],
    ["a backend with a missing method", { ...memoryBackend(), keys: undefined }],
  ])("createSessionStore rejects %s as the backend", (_, backend) => {
    expect(storeWith({ backend })).toThrow(TypeError);
    expect(storeWith({ backend })).toThrow(message);
  });

  test.each([
    ["null", null],
    ["an empty object", {}],
    ["a client of another library", { evalsha() {}, eval() {}, hgetall() {}, hmget() {}, on() {} }],
    ["a transaction", { evalSha() {}, eval() {}, hGetAll() {}, hmGet() {}, exec() {} }],
  ])("redisBackend rejects %s as the client", (_, other) => {
    expect(() => redisBackend(other as never)).toThrow(TypeError);
    expect(() => redisBackend(other as never)).toThrow("client must be a node-redis client");
  });
});

describe("T-12 unknown options and options of the wrong type", () => {
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
  ])("the unknown option %s is rejected with an error that names it", (name, make) => {
    expect(make).toThrow(TypeError);
    expect(make).toThrow(`"${name}"`);
  });

  test.each([[null], ["options"], [5], [[]], [() => ({})]])("%O is rejected as an options object", (options) => {
    for (const make of [createSessionStore, sessionCookie, memoryBackend]) {
      expect(() => make(options as never)).toThrow(TypeError);
    }
    expect(() => sessionMiddleware(store, options as never)).toThrow(TypeError);
  });

  test("a callback option that is not a function is rejected", () => {
    for (const name of ["onEvent", "now"]) expect(storeWith({ [name]: "now" })).toThrow(TypeError);
    for (const name of ["onBackendError", "onUnauthenticated", "passive"]) {
      expect(() => sessionMiddleware(store, { [name]: 503 })).toThrow(`${name} must be a function: received number`);
    }
  });

  test("a value of persistent that is not a boolean or a function is rejected", () => {
    expect(() => sessionMiddleware(store, { persistent: "yes" as never })).toThrow(TypeError);
    expect(() => sessionExchange(store, { persistent: 5 as never })).toThrow(TypeError);
  });

  test.each<[string, unknown, string]>([
    ["an object with the store", { store }, "object"],
    ["undefined", undefined, "undefined"],
    ["a promise of the store", Promise.resolve(store), "a promise"],
  ])("%s in the place of the store is rejected with a TypeError that says what to pass", (_, given, kind) => {
    for (const [make, name] of [
      [sessionMiddleware, "middleware"],
      [sessionExchange, "exchange"],
    ] as const) {
      expect(() => make(given as never)).toThrow(
        new TypeError(
          `Cannot create a session ${name} as its first argument must be a session store, the result of createSessionStore: received ${kind}`,
        ),
      );
    }
  });

  test("a middleware that is called without a handler or without a Request rejects with a TypeError that says what to pass", async () => {
    const handle = sessionMiddleware(store) as (...args: unknown[]) => Promise<Response>;
    await expect(handle(request())).rejects.toThrow(
      new TypeError(
        "Cannot handle a request as the second argument must be a handler, a function of the session: received undefined",
      ),
    );
    await expect(handle({ req: {} }, () => new Response())).rejects.toThrow(
      new TypeError("Cannot handle a request as it must be a web-standard Request: received object"),
    );
  });

  test("a value of plainIds that is not a boolean is rejected", () => {
    expect(storeWith({ plainIds: "yes" })).toThrow(TypeError);
  });
});

describe("T-13 changes to an options object after its use", () => {
  test("later changes to the options object do not affect the store", async () => {
    const options = { schema: visit, backend: memoryBackend(), idleTimeout: 60 };
    const store = createSessionStore(options);
    options.idleTimeout = 7;
    options.backend = memoryBackend();
    expect((await store.create({})).session.idleTimeout).toBe(60);
  });

  test("later changes to the options object do not affect the cookie", () => {
    const options = { name: "sid", path: "/", previous: [{ name: "old" }] };
    const cookie = sessionCookie(options);
    options.name = "other";
    options.path = "/other";
    options.previous.push({ name: "older" });
    expect(cookie.clear()).toMatch(/^sid=; .*Path=\/;/);
    expect(cookie.clearPrevious()).toEqual([expect.stringMatching(/^old=;/)]);
    expect([Object.isFrozen(cookie), Object.isFrozen(cookie.clearPrevious())]).toEqual([true, true]);
  });

  test("each option is read only once, so a getter cannot return different values", async () => {
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

test("T-13 each option of sessionMiddleware is read only once", () => {
  const read: string[] = [];
  const options = new Proxy(
    { transport: "cookie", cookie: {}, persistent: true, crossOriginProtection: true },
    {
      get(target, name, receiver) {
        read.push(String(name));
        return Reflect.get(target, name, receiver);
      },
    },
  );
  sessionMiddleware(visits().store, options as object);
  expect(read.length).toBe(new Set(read).size);
  expect(read).toContain("cookie");
});

describe("T-14 nested middlewares", () => {
  const { store } = visits();

  test("two nested middlewares with the same cookie name are rejected with a TypeError", async () => {
    const outer = sessionMiddleware(store);
    const inner = sessionMiddleware(store);
    const asked = request();
    const nested = outer(asked, () => inner(asked, () => new Response()));
    await expect(nested).rejects.toThrow(TypeError);
    expect((await outer(asked, () => new Response())).status).toBe(200);
  });

  test("two nested middlewares with different cookie names both set their cookies", async () => {
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
    expect(response.headers.getSetCookie().map((line) => line.split("=")[0])).toEqual([
      "__Host-admin",
      "__Host-Http-sid",
    ]);
  });
});

// T-15 (two stores with one name) does not apply: stores have no names, and two stores may share a prefix so that parts
// of a program see different fields of a session.

test("create is rejected with a TypeError if the clock returns an invalid time", async () => {
  for (const now of [() => Number.NaN, () => -1, () => "now" as never, () => 1e15]) {
    const store = createSessionStore({ schema: visit, backend: memoryBackend(), now });
    await expect(store.create({})).rejects.toThrow(TypeError);
  }
});
