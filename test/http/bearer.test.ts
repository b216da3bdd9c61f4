import { describe, expect, test } from "vitest";
import {
  type IssuedSession,
  type RequestSession,
  SessionBackendError,
  type SessionHttpOptions,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import { testSession } from "../../src/testing/index.ts";
import { keysOf } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { setCookies } from "../support/sites.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";

type Handler = (session: RequestSession<Visit, NewVisit, never, "bearer">) => unknown;

const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });

/** An API with one session. */
async function api(options: Omit<SessionHttpOptions<Visit, "bearer">, "transport"> = {}) {
  const made = visits();
  const handle = sessionMiddleware(made.store, { transport: "bearer", ...options });
  const { token, bearer } = await testSession(made.store, { userId: "42" });
  made.calls.length = 0;
  return {
    ...made,
    token,
    bearer,
    call: (headers: HeadersInit, handler: Handler, init: RequestInit = {}) =>
      handle(new Request("https://api.example/", { ...init, headers }), async (session) => {
        const answer = await handler(session);
        return answer instanceof Response ? answer : Response.json(answer ?? null);
      }),
  };
}

const userOf: Handler = async (session) => (await session.get())?.data.userId;

describe("the transport bearer", () => {
  test("create returns the token to the handler, and the response sets no cookie and is not cached", async () => {
    const { call, store } = await api();
    const response = await call({}, async (session) => {
      const { token, session: created } = await session.create({ userId: "7" });
      expect(await session.get()).toBe(created);
      return { token };
    });
    const { token } = await response.json();
    expect((await store.peek(token))?.data.userId).toBe("7");
    expect(setCookies(response)).toEqual([]);
    expect([response.headers.get("cache-control"), response.headers.get("vary")]).toEqual([
      "no-store",
      "Authorization",
    ]);
  });

  test("rotate returns the new token, and the old one is invalid", async () => {
    const { call, store, bearer, token } = await api();
    const issued: IssuedSession<Visit>[] = [];
    const response = await call(bearer, async (session) => {
      const rotated = await session.rotate();
      if (rotated !== null) issued.push(rotated);
    });
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(setCookies(response)).toEqual([]);
    expect(await store.peek(token)).toBeNull();
    expect((await store.peek(issued[0]?.token ?? ""))?.data.userId).toBe("42");
    expect(await (await call({}, (session) => session.rotate())).json()).toBeNull();
  });

  test("the session of a token is found, and the response varies by Authorization and is private", async () => {
    const { call, bearer } = await api();
    const response = await call(bearer, userOf);
    expect(await response.json()).toBe("42");
    expect([response.headers.get("cache-control"), response.headers.get("vary")]).toEqual(["private", "Authorization"]);
  });

  test.each(["public", "s-maxage=60", "public, must-revalidate, max-age=60"])(
    "a response with Cache-Control: %s is kept out of shared caches",
    async (given) => {
      const { call, bearer } = await api();
      const headers = { "cache-control": given, vary: "Accept" };
      const response = await call(bearer, async (session) => Response.json(await session.get(), { headers }));
      const directives = response.headers.get("cache-control")?.split(", ") ?? [];
      expect(directives).toContain("private");
      for (const shared of ["public", "s-maxage=60"]) expect(directives).not.toContain(shared);
      expect(response.headers.get("vary")).toBe("Accept, Authorization");
    },
  );

  test("a response whose handler did not use the session keeps its headers, also cookies of any name", async () => {
    const { call, bearer } = await api();
    const headers = { "cache-control": "public", "set-cookie": "__Host-Http-sid=x" };
    const response = await call(bearer, () => new Response(null, { headers }));
    expect([...response.headers]).toEqual([
      ["cache-control", "public"],
      ["set-cookie", "__Host-Http-sid=x"],
    ]);
  });

  test("create ends the session of the token that came with the request", async () => {
    const { call, bearer, store, token } = await api();
    await call(bearer, (session) => session.create({}));
    expect(await store.peek(token)).toBeNull();
  });

  test("destroy ends the session and sets no cookie", async () => {
    const { call, bearer, store, token } = await api();
    const response = await call(bearer, (session) => session.destroy());
    expect([await response.json(), setCookies(response)]).toEqual([true, []]);
    expect(await store.peek(token)).toBeNull();
  });

  test("an unsafe request from another origin is handled, as browsers do not add the header by themselves", async () => {
    const { call, bearer } = await api();
    const foreign = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
    expect((await call({ ...bearer, ...foreign }, userOf, { method: "POST" })).status).toBe(200);
  });

  test("a token in a cookie does not authenticate the request, and is not reported if there are two", async () => {
    const { call, token, events } = await api();
    events.length = 0;
    const cookie = `__Host-Http-sid=${token}; __Host-Http-sid=${"A".repeat(43)}; sid=${token}`;
    expect(await (await call({ cookie }, userOf)).json()).toBeNull();
    expect(events).toEqual([]);
  });

  test("a middleware with a cookie ignores the Authorization header", async () => {
    const { store, bearer } = await api();
    const response = await sessionMiddleware(store)(
      new Request("https://app.example/", { headers: bearer }),
      async (session) => Response.json(await session.get()),
    );
    expect(await response.json()).toBeNull();
    expect(response.headers.get("vary")).toBe("Cookie");
  });

  test("a handler may return undefined after it created a session, as it has the token itself", async () => {
    const { store } = visits();
    const handle = sessionMiddleware(store, { transport: "bearer" });
    const tokens: string[] = [];
    const answer = await handle(new Request("https://api.example/"), async (session) => {
      tokens.push((await session.create({})).token);
      return undefined;
    });
    expect(answer).toBeUndefined();
    expect(await store.peek(tokens[0] ?? "")).not.toBeNull();
  });

  test("a request can be handled by a middleware with a cookie and one with bearer tokens at the same time", async () => {
    const { store, bearer } = await api();
    const { headers } = await testSession(store, { userId: "43" });
    const request = new Request("https://app.example/", { headers: { ...headers, ...bearer } });
    const response = await sessionMiddleware(store)(request, (own) =>
      sessionMiddleware(store, { transport: "bearer" })(request, async (other) =>
        Response.json([(await own.get())?.data.userId, (await other.get())?.data.userId]),
      ),
    );
    expect(await response.json()).toEqual(["43", "42"]);
    expect(response.headers.get("vary")).toBe("Authorization, Cookie");
  });
});

test("a request can be handled by two middlewares with bearer tokens at the same time", async () => {
  const { store, bearer } = await api();
  const request = new Request("https://api.example/", { headers: bearer });
  const users: unknown[] = [];
  await sessionMiddleware(visits().store, { transport: "bearer" })(request, (own) =>
    sessionMiddleware(store, { transport: "bearer" })(request, async (other) => {
      users.push(await own.get(), (await other.get())?.data.userId);
      return new Response();
    }),
  );
  expect(users).toEqual([null, "42"]);
});

describe("Authorization headers", () => {
  const id = "A".repeat(22);
  const secret = "b".repeat(43);

  test.each<[string, (token: string) => string]>([
    ["another spelling of the scheme", (token) => `bEaReR ${token}`],
    ["several spaces", (token) => `Bearer    ${token}`],
    ["blanks around it", (token) => `  Bearer ${token}  `],
  ])("a token with %s is found", async (_, authorization) => {
    const { call, token } = await api();
    const response = await call({ authorization: authorization(token) }, userOf);
    expect(await response.json()).toBe("42");
  });

  test.each<[string, (token: string) => string]>([
    ["without a scheme", (token) => token],
    ["with another scheme", (token) => `Basic ${token}`],
    ["with no space after the scheme", (token) => `Bearer${token}`],
    ["with a tab after the scheme", (token) => `Bearer\t${token}`],
    ["with the scheme only", () => "Bearer"],
    ["with a shorter token", (token) => `Bearer ${token.slice(1)}`],
    ["with a longer token", (token) => `Bearer ${token}A`],
    ["with padding", (token) => `Bearer ${token}=`],
    ["with quotes", (token) => `Bearer "${token}"`],
    ["with a parameter", (token) => `Bearer ${token}, realm=x`],
    ["with a slash in the token", (token) => `Bearer ${token.slice(0, -1)}/`],
    ["with a plus sign in the token", (token) => `Bearer ${token.slice(0, -1)}+`],
    ["with a percent-encoded dot", (token) => `Bearer ${token.replace(".", "%2E")}`],
    ["with another secret", (token) => `Bearer ${token.slice(0, 23)}${secret}`],
    ["with a Latin-1 character", (token) => `Bearer ${token}\u00e9`],
    ["with a million characters", () => `Bearer ${"A".repeat(1_000_000)}`],
    ["of an unknown session", () => `Bearer ${id}.${secret}`],
    ["twice, with one token", (token) => `Bearer ${token}, Bearer ${token}`],
    ["twice, without a token in the first", (token) => `Bearer, Bearer ${token}`],
  ])("a header %s means that there is no session, and nothing fails", async (_, authorization) => {
    const { call, token } = await api();
    const response = await call({ authorization: authorization(token) }, userOf);
    expect([response.status, await response.json()]).toEqual([200, null]);
  });

  test("two Authorization headers with different tokens mean that there is no session", async () => {
    const { call, store, token } = await api();
    const other = await store.create({});
    const headers = new Headers({ authorization: `Bearer ${token}` });
    headers.append("authorization", `Bearer ${other.token}`);
    expect(await (await call(headers, userOf)).json()).toBeNull();
  });

  test("a malformed header causes no backend call", async () => {
    const { call, calls, token } = await api();
    await call({ authorization: `Bearer ${token}!` }, userOf);
    expect(calls).toEqual([]);
  });

  test("an exchange rejects an Authorization header that is not a string with a TypeError", () => {
    const begin = sessionExchange(visits().store, { transport: "bearer" });
    const header = () => ["Bearer x"] as never;
    expect(() => begin({ method: "GET", url: "/", path: "/", header })).toThrow(
      new TypeError("Cannot read the session token as the Authorization header must be a string: received an array"),
    );
  });
});

describe("failures with the transport bearer", () => {
  test.each([
    ["no Authorization header", {}, "Bearer"],
    ["another scheme", { authorization: "Basic eDp5" }, "Bearer"],
    ["a scheme that begins with Bearer", { authorization: "Bearers x" }, "Bearer"],
    ["a parameter named bearer", { authorization: "Digest bearer=1" }, "Bearer"],
    ["a malformed token", { authorization: "Bearer x" }, 'Bearer error="invalid_token"'],
    ["the scheme only", { authorization: "bearer" }, 'Bearer error="invalid_token"'],
  ])("a required session with %s gets 401 with a challenge", async (_, headers, challenge) => {
    const { call } = await api();
    const response = await call(headers, async (session) => (await session.require()).data);
    expect([response.status, response.headers.get("www-authenticate")]).toEqual([401, challenge]);
    expect([response.headers.get("cache-control"), response.headers.get("vary")]).toEqual([
      "no-store",
      "Authorization",
    ]);
  });

  test("a backend failure gets 503, and a session that was rotated ends, as nobody receives its token", async () => {
    const { call, bearer, backend } = await api();
    const response = await call(bearer, async (session) => {
      await session.rotate();
      throw failure;
    });
    expect([response.status, setCookies(response)]).toEqual([503, []]);
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a session that was created ends if the handler throws", async () => {
    const { call, backend, store } = await api();
    await store.revokeEverybody();
    const answer = call({}, async (session) => {
      await session.create({});
      throw new Error("handler");
    });
    await expect(answer).rejects.toThrow("handler");
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("concurrent handlers of one request with the transport bearer", () => {
  /** Handles one request twice at the same time. The first handler creates a session, and then the second one ends. */
  async function twice(endOfFirst: () => unknown, endOfSecond: () => unknown) {
    const { store, backend } = visits();
    const handle = sessionMiddleware(store, { transport: "bearer" });
    const request = new Request("https://api.example/");
    const created = gate();
    const second = gate();
    const handled = await Promise.allSettled([
      handle(request, async (session) => {
        await session.create({});
        created.open();
        await endOfFirst();
        return new Response();
      }).finally(second.open),
      handle(request, async () => {
        await created.passed;
        await second.passed;
        await endOfSecond();
        return new Response();
      }),
    ]);
    return { statuses: handled.map(({ status }) => status), keys: await keysOf(backend) };
  }
  const fail = () => Promise.reject(new Error("handler"));

  test("a session stays if the handler that created it answered and another one fails", async () => {
    const { statuses, keys } = await twice(() => {}, fail);
    expect([statuses, keys.length]).toEqual([["fulfilled", "rejected"], 1]);
  });

  test("a session ends if the handler that created it fails, as no other handler has its token", async () => {
    const { statuses, keys } = await twice(fail, () => {});
    expect([statuses, keys.length]).toEqual([["rejected", "fulfilled"], 0]);
  });
});

describe("options with the transport bearer", () => {
  const { store } = visits();
  const bearer = { transport: "bearer" } as const;

  test.each([
    ["cookie", { cookie: {} }],
    ["persistent", { persistent: false }],
    ["crossOriginProtection", { crossOriginProtection: false }],
  ])("the option %s is rejected with a TypeError that names it", (name, options) => {
    for (const make of [sessionMiddleware, sessionExchange]) {
      expect(() => make(store, { ...bearer, ...options } as never)).toThrow(
        new RegExp(`^Cannot create a session (middleware|exchange) as the option "${name}" needs a cookie`),
      );
    }
    expect(() => sessionMiddleware(store, { ...bearer, [name]: undefined })).not.toThrow();
  });

  test("an unknown transport is rejected with a TypeError that lists the transports", () => {
    expect(() => sessionMiddleware(store, { transport: "Bearer" as never })).toThrow(
      new TypeError('Cannot create a session middleware as transport must be "cookie" or "bearer": received string'),
    );
  });
});
