import type { Context } from "hono";
import { describe, expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  createSessionStore,
  type IssuedSession,
  memoryBackend,
  type NewDataOf,
  type RequestSession,
  type Session,
  type SessionExchange,
  type SessionHttpOptions,
  type SessionMiddleware,
  type SessionRequest,
  type SessionTransport,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";

const visit = z.object({ userId: z.string(), views: z.int().default(0), tenant: z.string().optional() });
type Visit = z.output<typeof visit>;

const backend = memoryBackend();
const store = createSessionStore({ schema: visit, backend });
type NewVisit = NewDataOf<typeof store>;
const indexed = createSessionStore({ schema: visit, backend, indexes: { user: "userId", tenant: "tenant" } });
const request = new Request("http://localhost/");
const parts: SessionRequest = { method: "GET", url: "/", path: "/", header: () => undefined };
const bearer = { transport: "bearer" } as const;

describe("the session of a request", () => {
  test("require returns a session that is never null", () => {
    sessionMiddleware(store)(request, async (session) => {
      expectTypeOf(session.require()).toEqualTypeOf<Promise<Session<Visit>>>();
      return Response.json((await session.require()).data.userId);
    });
  });

  test("destroyAll takes a query of the declared indexes", () => {
    sessionMiddleware(indexed)(request, async (session) => {
      expectTypeOf(session).toEqualTypeOf<RequestSession<Visit, NewVisit, "user" | "tenant">>();
      expectTypeOf(session.destroyAll({ user: "42" })).toEqualTypeOf<Promise<number>>();
      session.destroyAll({ tenant: "1" }, { signal: request.signal });
      // @ts-expect-error The index is not declared.
      session.destroyAll({ color: "red" });
      // @ts-expect-error One index at a time.
      session.destroyAll({ user: "42", tenant: "1" });
      // @ts-expect-error The value of an index is a string.
      session.destroyAll({ user: 42 });
      // @ts-expect-error It needs an index.
      session.destroyAll();
      return new Response();
    });
    sessionMiddleware(store)(request, (session) => {
      // @ts-expect-error The store has no indexes.
      session.destroyAll({ user: "42" });
      return new Response();
    });
  });

  test("a session can be passed to a function that uses some of its indexes or none", () => {
    const logOut = (of: RequestSession<Visit, NewVisit, "user">) => of.destroyAll({ user: "42" });
    const userOf = async (of: RequestSession<{ userId: string }, never>) => (await of.require()).data.userId;
    sessionMiddleware(indexed)(request, async (session) => {
      await logOut(session);
      return new Response(await userOf(session));
    });
    sessionMiddleware(store)(request, async (session) => {
      // @ts-expect-error The store has no index.
      await logOut(session);
      return new Response(await userOf(session));
    });
  });
});

describe("the transport bearer", () => {
  test("create and rotate return the token", () => {
    const middleware = sessionMiddleware(indexed, bearer);
    expectTypeOf(middleware).toEqualTypeOf<
      SessionMiddleware<RequestSession<Visit, NewVisit, "user" | "tenant", "bearer">>
    >();
    middleware(request, async (session) => {
      expectTypeOf(session.create({ userId: "42" })).toEqualTypeOf<Promise<IssuedSession<Visit>>>();
      expectTypeOf(session.rotate()).toEqualTypeOf<Promise<IssuedSession<Visit> | null>>();
      expectTypeOf(session.get()).toEqualTypeOf<Promise<Session<Visit> | null>>();
      const { token } = await session.create({ userId: "42" });
      return Response.json({ token });
    });
  });

  test("with a cookie, create and rotate return no token", () => {
    for (const options of [undefined, {}, { transport: "cookie" }, { cookie: { path: "/app" } }] as const) {
      sessionMiddleware(store, options)(request, async (session) => {
        expectTypeOf(session.create({ userId: "42" })).toEqualTypeOf<Promise<Session<Visit>>>();
        // @ts-expect-error The response carries the token.
        (await session.create({ userId: "42" })).token;
        return new Response();
      });
    }
  });

  test("a session with a token is none without, and the other way round", () => {
    const onCookie = (_: RequestSession<Visit, NewVisit>) => new Response();
    const onBearer = (_: RequestSession<Visit, NewVisit, never, "bearer">) => new Response();
    // @ts-expect-error
    sessionMiddleware(store, bearer)(request, onCookie);
    // @ts-expect-error
    sessionMiddleware(store)(request, onBearer);
  });

  test("options of the cookie are errors", () => {
    sessionMiddleware(store, { ...bearer, passive: ({ path }) => path === "/poll" });
    // @ts-expect-error
    sessionMiddleware(store, { transport: "bearer", cookie: { path: "/api" } });
    // @ts-expect-error
    sessionMiddleware(store, { transport: "bearer", persistent: true });
    // @ts-expect-error
    sessionExchange(store, { transport: "bearer", crossOriginProtection: false });
    // @ts-expect-error
    sessionMiddleware(store, { transport: "header" });
  });

  test("a wrapper can take options for any transport", () => {
    function wrapped<Transport extends SessionTransport = "cookie">(options: SessionHttpOptions<Visit, Transport>) {
      return sessionMiddleware(store, options);
    }
    expectTypeOf(wrapped({})).toEqualTypeOf<SessionMiddleware<RequestSession<Visit, NewVisit>>>();
    expectTypeOf(wrapped(bearer)).toEqualTypeOf<SessionMiddleware<RequestSession<Visit, NewVisit, never, "bearer">>>();
  });
});

describe("options of sessionMiddleware and sessionExchange", () => {
  test("functions get the parts of the request", () => {
    sessionMiddleware(store, {
      passive: (asked) => asked.header("x-poll") === "1",
      onBackendError: (error, { method, url }) => new Response(error.reason + method + url),
      onUnauthenticated: async ({ path }) => Response.redirect(`/login?next=${path}`),
    });
    // @ts-expect-error The request of an exchange is no Request.
    sessionMiddleware(store, { passive: (asked) => asked.headers.has("x-poll") });
    // @ts-expect-error A function that promises would always be true.
    sessionMiddleware(store, { passive: async () => false });
    // @ts-expect-error
    sessionMiddleware(store, { onUnauthenticated: () => "/login" });
  });

  test("the first argument is a store", () => {
    // @ts-expect-error
    sessionMiddleware({ store });
    // @ts-expect-error
    sessionExchange(Promise.resolve(store));
  });

  test("the request of Hono is a request for an exchange, and a Request or a Cookie header is none", () => {
    const begin = sessionExchange(store, { persistent: true });
    expectTypeOf(begin).returns.toEqualTypeOf<SessionExchange<RequestSession<Visit, NewVisit>>>();
    (c: Context) => begin(c.req);
    // @ts-expect-error
    begin(request);
    // @ts-expect-error
    begin("sid=1");
  });

  test("the response of an exchange has to be checked and awaited", async () => {
    const exchange = sessionExchange(store)(parts);
    // @ts-expect-error
    (await exchange.response).status;
    expectTypeOf(exchange.settle()).toEqualTypeOf<Promise<{ readonly error: unknown } | null>>();
    expectTypeOf(exchange.abandon(new Error())).toEqualTypeOf<Promise<Response | null>>();
  });
});

test("the attributes of a cookie fit the cookie jar of Next.js", () => {
  interface ResponseCookie {
    httpOnly: boolean;
    secure: boolean;
    sameSite: true | false | "lax" | "strict" | "none";
    path: string;
    domain: string;
    partitioned: boolean;
    maxAge: number;
  }
  const set = (_name: string, _value: string, _attributes?: Partial<ResponseCookie>): void => {};
  const cookie = sessionCookie();
  set(cookie.name, "", { ...cookie.attributes, maxAge: 0 });
  set(cookie.name, "token", cookie.attributes);
  // @ts-expect-error
  sessionCookie({ httpOnly: false });
});
