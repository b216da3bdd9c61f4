import { Hono } from "hono";
import { describe, expect, test } from "vitest";
import { memoryBackend, type RequestSession, SessionBackendError, sessionExchange } from "../../src/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { cookieJar } from "../support/http.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";
import { sessionCookies } from "./browser.ts";

/** Hono with an exchange for each request. `c.req` is the request of the exchange as it is. */
function start() {
  const backend = intercept(memoryBackend(), (method) => {
    if (method === "increment") throw new SessionBackendError("gone", { reason: "unavailable", outcome: "unknown" });
  });
  const { store } = visits({ backend });
  const begin = sessionExchange(store);
  const app = new Hono<{ Variables: { session: RequestSession<Visit, NewVisit> } }>();
  app.use(async (c, next) => {
    const exchange = begin(c.req);
    if (exchange.response !== null) return await exchange.response;
    c.set("session", exchange.session);
    await exchange.run(next);
    const failure = c.error === undefined ? await exchange.settle() : { error: c.error };
    if (failure !== null) {
      const answer = await exchange.abandon(failure.error);
      c.res = undefined;
      c.res = answer ?? c.text("Internal Server Error", 500);
      return undefined;
    }
    for (const [name, first, ...more] of exchange.finish(c.res.headers)) {
      c.header(name, first);
      for (const value of more) c.header(name, value, { append: true });
    }
    return undefined;
  });
  app.onError((_, c) => c.text("sorry", 500));
  app.post("/login", async (c) => {
    await c.var.session.create({ userId: "42" });
    c.header("set-cookie", "theme=dark; Path=/");
    if (c.req.query("fails")) throw new Error("handler");
    return c.redirect("/", 303);
  });
  app.get("/", async (c) => {
    c.header("cache-control", "public, max-age=60");
    return c.text((await c.var.session.require()).data.userId ?? "");
  });
  app.post("/count", async (c) => {
    await c.var.session.rotate();
    c.var.session.increment("pageViews");
    return c.text("counted");
  });
  const jar = cookieJar();
  const visit = async (path: string, method = "GET", headers: Readonly<Record<string, string>> = {}) =>
    jar.receive(await app.request(path, { method, headers: { ...headers, cookie: jar.cookie ?? "" } }));
  return { backend, jar, visit };
}

describe("Hono with an exchange", () => {
  test("a login sets the session cookie beside other cookies, and the next request has the session", async () => {
    const { visit } = start();
    const login = await visit("/login", "POST");
    expect([login.status, login.headers.get("cache-control")]).toEqual([303, "no-store"]);
    expect(login.headers.getSetCookie()).toEqual(["theme=dark; Path=/", ...sessionCookies(login)]);
    expect(sessionCookies(login)).toHaveLength(1);
    const home = await visit("/");
    expect([await home.text(), home.headers.get("cache-control"), home.headers.get("vary")]).toEqual([
      "42",
      "private, max-age=60",
      "Cookie",
    ]);
  });

  test("a request without a session gets 401 if it needs one", async () => {
    expect((await start().visit("/")).status).toBe(401);
  });

  test("an unsafe request from another origin gets 403 before the handler", async () => {
    const { backend, visit } = start();
    const response = await visit("/login", "POST", { origin: "https://evil.example" });
    expect([response.status, await keysOf(backend)]).toEqual([403, []]);
  });

  test("a backend failure of a call that nobody awaits gets 503 with the cookie of a rotation", async () => {
    const { jar, visit } = start();
    await visit("/login", "POST");
    const before = jar.cookie;
    const response = await visit("/count", "POST");
    expect([response.status, sessionCookies(response).length]).toEqual([503, 1]);
    expect(jar.cookie).not.toBe(before);
    expect((await visit("/")).status).toBe(200);
  });

  test("an error of the handler gets 500, and the session that it created ends", async () => {
    const { backend, visit } = start();
    const response = await visit("/login?fails=1", "POST");
    expect([response.status, sessionCookies(response)]).toEqual([500, []]);
    expect(await keysOf(backend)).toEqual([]);
  });
});
