import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { Hono } from "hono";
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RequestSession, type SessionMiddleware, sessionMiddleware } from "../../src/index.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";
import { browser, listOf, sessionCookies } from "./browser.ts";

/** `serve` of @hono/node-server, as far as both versions agree. */
export type Serve = (
  options: { fetch: (request: Request) => Response | Promise<Response>; hostname: string; port: number },
  listening: (info: AddressInfo) => void,
) => { close(done?: () => void): unknown };

type VisitSession = RequestSession<Visit, NewVisit>;
type Handler = (session: VisitSession, user: string | undefined) => Promise<Response>;
type Handlers = Readonly<Record<string, Handler>>;
type Glue = (withSession: SessionMiddleware<RequestSession<Visit, NewVisit>>, handlers: Handlers) => Hono;

const FRONT = "https://front.example";
const UPSTREAM_TEXT = "from upstream";
const LONG_TEXT = "word ".repeat(1000);

/** Ways to apply the middleware: to the whole application, or to each route. */
const glues: Readonly<Record<string, Glue>> = {
  "app.use": (withSession, handlers) => {
    const app = new Hono<{ Variables: { session: VisitSession } }>();
    app.use("/*", async (c, next) => {
      const answer = await withSession(c.req.raw, async (session) => {
        c.set("session", session);
        await next();
        return c.res;
      });
      // Hono drops what a middleware returns after next(). When c.res is replaced, Hono merges the old headers into the new
      // response, where the old Set-Cookie and Cache-Control would win.
      c.res = undefined;
      c.res = answer;
    });
    for (const [path, handler] of Object.entries(handlers)) {
      app.all(path, (c) => handler(c.get("session"), c.req.query("user")));
    }
    return app as Hono<object> as Hono;
  },
  "a route": (withSession, handlers) => {
    const app = new Hono();
    for (const [path, handler] of Object.entries(handlers)) {
      app.all(path, (c) => withSession(c.req.raw, (session) => handler(session, c.req.query("user"))));
    }
    return app;
  },
};

/** Another HTTP server that the handlers fetch from. */
async function startUpstream(): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((request, response) => {
    const gzipped = request.url === "/gzipped";
    response.writeHead(200, {
      "content-type": "text/plain",
      ...(request.url === "/public" && { "cache-control": "public, max-age=600" }),
      ...(gzipped && { "content-encoding": "gzip" }),
    });
    response.end(gzipped ? gzipSync(UPSTREAM_TEXT) : UPSTREAM_TEXT);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => void server.close() };
}

async function listen(serve: Serve, app: Hono): Promise<{ readonly url: string; close(): void }> {
  return await new Promise((resolve) => {
    const fetch = (request: Request) => app.fetch(request);
    const server = serve({ fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) =>
      resolve({ url: `http://127.0.0.1:${port}`, close: () => void server.close() }),
    );
  });
}

/** Tests sessions in Hono on this version of @hono/node-server, which replaces the global `Response`. */
export function honoSuite(version: string, serve: Serve): void {
  // Created before the server replaces the class, as by modules at start; `late` is created afterwards.
  const early = new Response(null, { status: 204 });

  describe.each(Object.keys(glues))(`Hono on @hono/node-server ${version} with the middleware in %s`, (glue) => {
    const { store } = visits();
    const closing: (() => void)[] = [];
    let late: Response;
    let url: string;

    beforeAll(async () => {
      const upstream = await startUpstream();
      const handlers: Handlers = {
        "/login/early": async (session, userId) => {
          await session.create({ userId });
          return early;
        },
        "/login/late": async (session, userId) => {
          await session.create({ userId });
          return late;
        },
        "/unused/early": async () => early,
        "/unused/late": async () => late,
        "/whoami": async (session) => Response.json((await session.get())?.data.userId ?? null),
        "/rotate": async (session) => {
          await session.rotate();
          return late;
        },
        "/logout": async (session) => {
          await session.destroy();
          return late;
        },
        "/start": async (session) => {
          await session.create({ userId: "guest" });
          return new Response(LONG_TEXT, { headers: { "content-type": "text/plain" } });
        },
        "/page": async (session) => {
          await session.get();
          return new Response(LONG_TEXT, { headers: { "content-type": "text/plain", "cache-control": "max-age=600" } });
        },
        ...Object.fromEntries(
          ["plain", "public", "gzipped"].flatMap((kind): [string, Handler][] => [
            [
              `/fetch/${kind}`,
              async (session) => {
                await session.get();
                return await fetch(`${upstream.url}/${kind}`);
              },
            ],
            [
              `/rotate-and-fetch/${kind}`,
              async (session) => {
                await session.rotate();
                return await fetch(`${upstream.url}/${kind}`);
              },
            ],
          ]),
        ),
      };
      const sessions = glues[glue]!(sessionMiddleware(store), handlers);
      const app = new Hono();
      app.all("/bare/early", () => early);
      app.all("/bare/late", () => late);
      app.use("/outside/*", compress({ threshold: 1 }), cors({ origin: FRONT, credentials: true }));
      app.route("/outside", sessions);
      app.route("/", sessions);
      const server = await listen(serve, app);
      late = new Response(null, { status: 204 });
      url = server.url;
      closing.push(server.close, upstream.close);
    });
    afterAll(() => {
      for (const close of closing) close();
    });

    async function signedIn() {
      const client = browser(url);
      await client.visit("/login/late?user=42", { method: "POST" });
      expect(await (await client.visit("/whoami")).json()).toBe("42");
      return client;
    }

    test.each(["early", "late"])(
      "20 concurrent logins get their own cookies, even if the routes return the same constant response (%s)",
      async (constant) => {
        const users = Array.from({ length: 20 }, (_, at) => `user-${at}`);
        const logins = users.map(async (user) => {
          const client = browser(url);
          const response = await client.visit(`/login/${constant}?user=${user}`, { method: "POST" });
          return { user, client, lines: sessionCookies(response), status: response.status };
        });
        const answers = await Promise.all(logins);
        expect(answers.map(({ status }) => status)).toEqual(users.map(() => 204));
        expect(answers.map(({ lines }) => lines.length)).toEqual(users.map(() => 1));
        expect(new Set(answers.map(({ client }) => client.cookie)).size).toBe(users.length);
        const seen = answers.map(async ({ client }) => await (await client.visit("/whoami")).json());
        expect(await Promise.all(seen)).toEqual(users);
      },
    );

    test.each(["early", "late"])(
      "routes that return the same constant response as a login, without using the session, send no cookie (%s)",
      async (constant) => {
        const visit = (path: string) => browser(url).visit(path, { method: "POST" });
        const [, beside] = await Promise.all([visit(`/login/${constant}?user=a`), visit(`/bare/${constant}`)]);
        const bare = await visit(`/bare/${constant}`);
        const unused = await visit(`/unused/${constant}`);
        for (const response of [beside, bare, unused]) {
          expect(response.status).toBe(204);
          expect(response.headers.getSetCookie()).toEqual([]);
        }
      },
    );

    test("a logout clears the cookie only for its own user, even if others get the same constant response", async () => {
      const client = await signedIn();
      const other = await signedIn();
      const response = await client.visit("/logout", { method: "POST" });
      expect(sessionCookies(response)).toEqual([expect.stringContaining("Max-Age=0")]);
      await other.visit("/bare/late", { method: "POST" });
      await other.visit("/unused/late", { method: "POST" });
      expect(await (await other.visit("/whoami")).json()).toBe("42");
      expect(await (await client.visit("/whoami")).json()).toBeNull();
    });

    test.each(["plain", "public", "gzipped"])(
      "a fetched response (%s) after a read of the session arrives complete and is kept out of shared caches",
      async (kind) => {
        const client = await signedIn();
        const response = await client.visit(`/fetch/${kind}`);
        expect(response.status).toBe(200);
        expect(await response.text()).toBe(UPSTREAM_TEXT);
        expect(listOf(response, "vary")).toContain("cookie");
        expect(listOf(response, "cache-control")).toContain("private");
        expect(listOf(response, "cache-control")).not.toContain("public");
        expect(response.headers.getSetCookie()).toEqual([]);
      },
    );

    test.each(["plain", "public", "gzipped"])(
      "a fetched response (%s) after a rotation carries the new cookie",
      async (kind) => {
        const client = await signedIn();
        const before = client.cookie;
        const response = await client.visit(`/rotate-and-fetch/${kind}`, { method: "POST" });
        expect(response.status).toBe(200);
        expect(await response.text()).toBe(UPSTREAM_TEXT);
        expect(sessionCookies(response)).toHaveLength(1);
        expect(listOf(response, "cache-control")).toEqual(["no-store"]);
        expect(client.cookie).not.toBe(before);
        expect(await (await client.visit("/whoami")).json()).toBe("42");
      },
    );

    test("a response that an outer middleware compresses and gives CORS headers keeps its session cookie", async () => {
      const client = browser(url);
      const headers = { origin: FRONT, "accept-encoding": "gzip" };
      const response = await client.visit("/outside/start", { headers });
      expect(await response.text()).toBe(LONG_TEXT);
      expect(response.headers.get("content-encoding")).toBe("gzip");
      expect(response.headers.get("access-control-allow-origin")).toBe(FRONT);
      expect(listOf(response, "vary")).toEqual(expect.arrayContaining(["cookie", "origin", "accept-encoding"]));
      expect(listOf(response, "cache-control")).toEqual(["no-store"]);
      expect(sessionCookies(response)).toHaveLength(1);
      expect(await (await client.visit("/whoami")).json()).toBe("guest");
    });

    test("a response that an outer middleware compresses is kept out of shared caches after a read of the session", async () => {
      const client = await signedIn();
      const response = await client.visit("/outside/page", { headers: { "accept-encoding": "gzip" } });
      expect(await response.text()).toBe(LONG_TEXT);
      expect(response.headers.get("content-encoding")).toBe("gzip");
      expect(listOf(response, "vary")).toContain("cookie");
      expect(listOf(response, "cache-control").toSorted()).toEqual(["max-age=600", "private"]);
    });

    test.each(["early", "late"])("a thrown response is of the same class after the middleware (%s)", async (kind) => {
      const thrown = kind === "early" ? early : late;
      const handled = sessionMiddleware(store)(new Request(url), async (session) => {
        await session.create({ userId: "42" });
        throw thrown;
      });
      const answer: unknown = await handled.catch((error: unknown) => error);
      expect(answer).toBeInstanceOf(thrown.constructor);
    });

    test("a constant response that an outer middleware gives CORS headers keeps its session cookie", async () => {
      const client = await signedIn();
      const before = client.cookie;
      const response = await client.visit("/outside/rotate", { headers: { origin: FRONT } });
      expect(response.status).toBe(204);
      expect(response.headers.get("access-control-allow-origin")).toBe(FRONT);
      expect(sessionCookies(response)).toHaveLength(1);
      expect(client.cookie).not.toBe(before);
      expect(await (await client.visit("/whoami")).json()).toBe("42");
    });
  });
}
