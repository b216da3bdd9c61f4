import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequest, setResponse } from "@sveltejs/kit/node";
import {
  createContext,
  createRequestHandler,
  type LoaderFunctionArgs,
  type MiddlewareFunction,
  RouterContextProvider,
  redirect,
  type ServerBuild,
} from "react-router";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RequestSession, type SessionMiddleware, sessionMiddleware } from "../../src/index.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";
import { browser, listOf, sessionCookies } from "./browser.ts";

type VisitSession = RequestSession<Visit, NewVisit>;
type Body = (session: VisitSession) => Promise<Response>;
type WithSession = SessionMiddleware<RequestSession<Visit, NewVisit>>;

/** A place where an application can put the session middleware. */
interface Place {
  /** Whether pages get the middleware's caching headers. React Router copies only the cookies of a loader's response. */
  readonly keepsPagesPrivate: boolean;
  /** Runs the body of a loader or an action with the session. */
  readonly run: (withSession: WithSession, args: LoaderFunctionArgs, body: Body) => Promise<Response>;
  readonly middleware?: (withSession: WithSession) => MiddlewareFunction<Response>;
  readonly handle?: (
    withSession: WithSession,
    handler: ReturnType<typeof createRequestHandler>,
  ) => (request: Request) => Promise<Response>;
}

const sessionContext = createContext<VisitSession>();
const fromContext: Place["run"] = (_, { context }, body) => body(context.get(sessionContext));

const places: Readonly<Record<string, Place>> = {
  "each loader and action": {
    keepsPagesPrivate: false,
    run: (withSession, { request }, body) => withSession(request, body),
  },
  "a route middleware": {
    keepsPagesPrivate: true,
    run: fromContext,
    middleware:
      (withSession) =>
      ({ request, context }, next) =>
        withSession(request, (session) => {
          context.set(sessionContext, session);
          return next();
        }),
  },
  "the whole request handler": {
    keepsPagesPrivate: true,
    run: fromContext,
    handle: (withSession, handler) => (request) =>
      withSession(request, (session) => {
        const context = new RouterContextProvider();
        context.set(sessionContext, session);
        return handler(request, context);
      }),
  },
};

/** A server build like the compiler's, without rendering: a page is the data of its loaders. */
function serverBuild(withSession: WithSession, { run, middleware }: Place): ServerBuild {
  const action = (body: Body) => ({ action: (args: LoaderFunctionArgs) => run(withSession, args, body) });
  const loader = (body: Body) => ({ loader: (args: LoaderFunctionArgs) => run(withSession, args, body) });
  const page = { default: () => null };
  const modules = {
    login: {
      ...page,
      ...action(async (session) => {
        await session.create({ userId: "42" });
        throw redirect("/account");
      }),
    },
    "login-returned": {
      ...page,
      ...action(async (session) => {
        await session.create({ userId: "42" });
        return redirect("/account");
      }),
    },
    rotate: {
      ...page,
      ...action(async (session) => {
        await session.rotate();
        throw redirect("/account");
      }),
    },
    logout: {
      ...page,
      ...action(async (session) => {
        await session.destroy();
        throw redirect("/login");
      }),
    },
    // A route without a component is a resource route.
    "resource-login": action(async (session) => {
      await session.create({ userId: "42" });
      throw redirect("/account");
    }),
    account: {
      ...page,
      ...loader(async (session) => {
        const current = await session.get();
        if (current === null) throw redirect("/login");
        return Response.json(current.data.userId);
      }),
    },
    renew: {
      ...page,
      ...loader(async (session) => Response.json((await session.rotate())?.data.userId ?? null)),
    },
    whoami: loader(async (session) => Response.json((await session.get())?.data.userId ?? null)),
  };
  const root = { ...page, ...(middleware && { middleware: [middleware(withSession)] }) };
  const routes = {
    root: { id: "root", path: "", children: [], module: root },
    ...Object.fromEntries(
      Object.entries(modules).map(([id, module]) => [id, { id, parentId: "root", path: id, children: [], module }]),
    ),
  };
  return {
    entry: {
      module: {
        default: (_request, status, headers, { staticHandlerContext }) =>
          Response.json(staticHandlerContext.loaderData, { status, headers }),
      },
    },
    routes,
    assets: { entry: { imports: [], module: "" }, routes: {}, url: "", version: "1" },
    publicPath: "/",
    assetsBuildDirectory: "",
    future: {},
    ssr: true,
    isSpaMode: false,
    prerender: [],
    routeDiscovery: { mode: "initial", manifestPath: "/__manifest" },
  };
}

describe.each(Object.keys(places))("React Router with the session middleware around %s", (name) => {
  const { store } = visits();
  const place = places[name]!;
  const withSession = sessionMiddleware(store);
  const handler = createRequestHandler(serverBuild(withSession, place), "production");
  const handle = place.handle?.(withSession, handler) ?? ((request: Request) => handler(request));
  let url: string;
  const server = createServer(async (incoming, outgoing) => {
    try {
      // Any adapter from node:http to Request and Response will do; this one happens to be SvelteKit's.
      await setResponse(outgoing, await handle(await getRequest({ request: incoming, base: url })));
    } catch (error) {
      outgoing.writeHead(500).end(String(error));
    }
  });

  beforeAll(async () => {
    await once(server.listen(0, "127.0.0.1"), "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.close();
  });

  const post = { method: "POST", body: new URLSearchParams({ a: "b" }) };

  async function signedIn() {
    const client = browser(url);
    await client.visit("/login-returned", post);
    expect(await userOf(client)).toBe("42");
    return client;
  }

  async function userOf(client: ReturnType<typeof browser>): Promise<unknown> {
    return await (await client.visit("/whoami")).json();
  }

  test.each(["login", "login-returned", "resource-login"])(
    "a redirect from the action of /%s carries the cookie of the new session, and the session works",
    async (path) => {
      const client = browser(url);
      const response = await client.visit(`/${path}`, post);
      expect(response.status).toBe(302);
      expect(response.headers.get("location")).toBe("/account");
      expect(sessionCookies(response)).toHaveLength(1);
      expect(listOf(response, "cache-control")).toEqual(["no-store"]);
      expect(await userOf(client)).toBe("42");
    },
  );

  test("a redirect that an action throws during client-side navigation carries the cookie of the new session", async () => {
    const client = browser(url);
    const response = await client.visit("/login.data", post);
    // The status that tells React Router in the browser to read the redirect from the body.
    expect(response.status).toBe(202);
    expect(await response.text()).toContain("/account");
    expect(sessionCookies(response)).toHaveLength(1);
    expect(await userOf(client)).toBe("42");
  });

  test.each(["/rotate", "/rotate.data"])(
    "a redirect that is thrown after a rotation by %s carries the new cookie, and the user stays logged in",
    async (path) => {
      const client = await signedIn();
      const before = client.cookie;
      const response = await client.visit(path, post);
      expect(response.status).toBe(path === "/rotate" ? 302 : 202);
      expect(sessionCookies(response)).toHaveLength(1);
      expect(client.cookie).not.toBe(before);
      expect(await userOf(client)).toBe("42");
    },
  );

  test("a redirect that is thrown after a logout clears the cookie, and the session has ended", async () => {
    const client = await signedIn();
    const headers = { cookie: client.cookie ?? "" };
    const response = await client.visit("/logout", post);
    expect(response.status).toBe(302);
    expect(response.headers.get("location")).toBe("/login");
    expect(sessionCookies(response)).toEqual([expect.stringContaining("Max-Age=0")]);
    expect(await (await fetch(`${url}/whoami`, { headers })).json()).toBeNull();
    expect(client.cookie).toBeNull();
  });

  test("a redirect that a loader throws after a read of the session is kept out of shared caches", async () => {
    const response = await browser(url).visit("/account");
    expect(response.status).toBe(302);
    expect(response.headers.get("location")).toBe("/login");
    expect(listOf(response, "vary")).toContain("cookie");
    expect(listOf(response, "cache-control")).toContain("private");
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("a page whose loader reads the session shows the user's data", async () => {
    const client = await signedIn();
    const response = await client.visit("/account");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ account: "42" });
    expect(listOf(response, "cache-control").includes("private")).toBe(place.keepsPagesPrivate);
    expect(listOf(response, "vary").includes("cookie")).toBe(place.keepsPagesPrivate);
  });

  test("a page whose loader rotates the session carries the new cookie", async () => {
    const client = await signedIn();
    const before = client.cookie;
    const response = await client.visit("/renew");
    expect(await response.json()).toMatchObject({ renew: "42" });
    expect(sessionCookies(response)).toHaveLength(1);
    expect(client.cookie).not.toBe(before);
    expect(await userOf(client)).toBe("42");
  });
});
