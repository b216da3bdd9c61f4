import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  memoryBackend,
  SessionBackendError,
  type SessionHttpOptions,
  type SessionRequest,
  SessionRequiredError,
  sessionExchange,
} from "../../src/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { cookieJar, requestParts, tokenOf } from "../support/http.ts";
import { nodeListener } from "../support/node-http.ts";
import { onNode } from "../support/runtime.ts";
import { type Visit, visits } from "../support/visits.ts";

const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });
const foreign = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };

/** A store with one session, whose cookie each exchange sends. */
async function member(options: SessionHttpOptions<Visit> = {}) {
  const made = visits();
  const { token } = await made.store.create({ userId: "42" });
  made.calls.length = 0;
  const begin = sessionExchange(made.store, options);
  const parts = requestParts(`__Host-Http-sid=${token}`);
  return { ...made, token, begin, parts, exchange: begin(parts) };
}

describe("the response of an exchange before any handler", () => {
  test("a safe request has none", async () => {
    const { exchange } = await member();
    expect(exchange.response).toBeNull();
  });

  test("an unsafe request from another origin has a 403 response, and nothing is read", async () => {
    const { begin, calls } = await member();
    const parts: SessionRequest = { ...requestParts(null, foreign), method: "POST" };
    for (let time = 0; time < 2; time++) {
      const response = await begin(parts).response;
      expect([response?.status, await response?.text()]).toEqual([403, "Cross-origin request refused"]);
    }
    expect(calls).toEqual([]);
  });

  test("crossOriginProtection applies to the exchange", async () => {
    const parts = (): SessionRequest => ({ ...requestParts(null, foreign), method: "POST" });
    const trusting = await member({ crossOriginProtection: { trustedOrigins: ["https://evil.example"] } });
    expect(trusting.begin(parts()).response).toBeNull();
    const unprotected = await member({ crossOriginProtection: false });
    expect(unprotected.begin(parts()).response).toBeNull();
  });
});

describe("the response of abandon", () => {
  test("a backend failure is answered with 503 and Retry-After", async () => {
    const { exchange } = await member();
    await exchange.session.get();
    const response = await exchange.abandon(failure);
    expect(response?.status).toBe(503);
    expect(Object.fromEntries(response?.headers ?? [])).toMatchObject({
      "cache-control": "no-store",
      "retry-after": "5",
      vary: "Cookie",
    });
  });

  test("a missing session that the handler requires is answered with 401", async () => {
    const { begin } = await member();
    const { session, abandon } = begin(requestParts());
    const error = await session.require().catch((error) => error);
    expect(error).toBeInstanceOf(SessionRequiredError);
    const response = await abandon(error);
    expect([response?.status, await response?.text()]).toEqual([401, "Unauthorized"]);
    expect(response?.headers.get("vary")).toBe("Cookie");
  });

  test.each<[string, unknown]>([
    ["an error of the handler", new Error("handler")],
    ["no error", undefined],
    ["an abort by the caller", new SessionBackendError("Aborted", { reason: "aborted", outcome: "unknown" })],
  ])("%s has no response, and a session that was created ends", async (_, error) => {
    const { begin, backend, store } = await member();
    await store.revokeEverybody();
    const { session, abandon } = begin(requestParts());
    await session.create({});
    expect(await abandon(error)).toBeNull();
    expect(await keysOf(backend)).toEqual([]);
  });

  test("the 503 response carries the cookie of a rotation, and finish keeps it when an adapter applies it again", async () => {
    const { exchange, store } = await member();
    await exchange.session.rotate();
    const response = await exchange.abandon(failure);
    const lines = response?.headers.getSetCookie();
    expect(await store.peek(tokenOf(lines?.[0]))).not.toBeNull();
    expect(exchange.finish(response?.headers ?? null)).toEqual([["Set-Cookie", ...(lines ?? [])]]);
  });

  test("onBackendError and onUnauthenticated get the request and replace the response", async () => {
    const seen: unknown[] = [];
    const { begin, exchange, parts } = await member({
      onBackendError(error, request) {
        seen.push(error, request);
        return new Response("later", { status: 500 });
      },
      onUnauthenticated: async ({ path }) => Response.redirect(`https://app.example/login?next=${path}`, 303),
    });
    expect((await exchange.abandon(failure))?.status).toBe(500);
    expect(seen).toEqual([failure, parts]);
    const { abandon } = begin({ ...requestParts(), path: "/account" });
    const response = await abandon(new SessionRequiredError());
    expect([response?.status, response?.headers.get("location")]).toEqual([
      303,
      "https://app.example/login?next=/account",
    ]);
  });

  test("a Response that onUnauthenticated throws is the response", async () => {
    const { exchange } = await member({
      onUnauthenticated() {
        throw new Response("Log in first", { status: 403 });
      },
    });
    expect((await exchange.abandon(new SessionRequiredError()))?.status).toBe(403);
  });

  test("a TypeError names onUnauthenticated if it returns no Response, and a rotated session ends", async () => {
    const { backend, exchange } = await member({ onUnauthenticated: () => "/login" as never });
    await exchange.session.rotate();
    await expect(exchange.abandon(new SessionRequiredError())).rejects.toThrow(
      new TypeError("Cannot answer a request as onUnauthenticated must return a Response: received string"),
    );
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("settle", () => {
  test("settle returns the failure of an operation that was in progress and that nobody awaited", async () => {
    const held = gate();
    let isBroken = false;
    const backend = intercept(memoryBackend(), async () => {
      if (!isBroken) return;
      await held.passed;
      throw failure;
    });
    const { store } = visits({ backend });
    const { token } = await store.create({});
    const { session, settle, abandon } = sessionExchange(store)(requestParts(`__Host-Http-sid=${token}`));
    isBroken = true;
    session.increment("pageViews");
    held.open();
    const found = await settle();
    expect(found).toEqual({ error: failure });
    expect((await abandon(found?.error))?.status).toBe(503);
  });

  test("settle returns null if the handler dealt with every failure, or called nothing", async () => {
    const { begin, exchange } = await member();
    expect(await exchange.settle()).toBeNull();
    const { session, settle } = begin(requestParts());
    await session.require().catch(() => {});
    expect(await settle()).toBeNull();
  });
});

describe("the request of an exchange", () => {
  test("two exchanges of one request object share the session until both are over", async () => {
    const { begin, calls, exchange, parts } = await member();
    const other = begin(parts);
    expect(await other.session.get()).toBe(await exchange.session.get());
    expect(calls).toEqual(["read"]);
    for (const { finish } of [exchange, other]) finish(new Headers());
    await begin(parts).session.get();
    expect(calls).toEqual(["read", "read"]);
  });

  test("a request object that is used again with another token has another session, also if its first exchange never ended", async () => {
    const { begin, exchange, parts, store } = await member();
    expect((await exchange.session.get())?.data.userId).toBe("42");
    const { token } = await store.create({ userId: "7" });
    Object.assign(parts, { header: () => `__Host-Http-sid=${token}` });
    const again = begin(parts);
    expect((await again.session.get())?.data.userId).toBe("7");
    await again.session.destroy();
    expect((await exchange.session.get())?.data.userId).toBe("42");
  });

  test("a web-standard Request is rejected with a TypeError that says what an exchange needs", async () => {
    const { begin } = await member();
    const given = new Request("https://app.example/") as never;
    expect(() => begin(given)).toThrow(
      new TypeError(
        "Cannot begin a session exchange as the request must have method, url, path and header(name): received object",
      ),
    );
  });
});

describe("an adapter for node:http that is made of an exchange", () => {
  const { backend, store } = visits({
    backend: intercept(memoryBackend(), (method) => (method === "increment" ? Promise.reject(failure) : undefined)),
  });
  const server = createServer(
    nodeListener(sessionExchange(store), async (session, request) => {
      switch (request.url) {
        case "/login":
          await session.create({ userId: "42" });
          return { status: 303, headers: { location: "/", "set-cookie": "theme=dark" } };
        case "/logout":
          await session.destroy();
          return { status: 204 };
        case "/count":
          session.increment("pageViews");
          return {};
        case "/broken":
          await session.create({ userId: "43" });
          throw new Error("handler");
        default:
          return { body: (await session.require()).data.userId ?? "", headers: { "cache-control": "public" } };
      }
    }),
  );
  const jar = cookieJar();

  beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  async function visit(path: string, method = "GET", headers: Readonly<Record<string, string>> = {}) {
    const { port } = server.address() as AddressInfo;
    const cookie: Record<string, string> = jar.cookie === null ? {} : { cookie: jar.cookie };
    const init = { method, headers: { ...headers, ...cookie }, redirect: "manual" } as const;
    return jar.receive(await fetch(`http://127.0.0.1:${port}${path}`, init));
  }

  test("a user logs in, is recognized, and logs out", async () => {
    const login = await visit("/login", "POST");
    expect(login.status).toBe(303);
    expect(login.headers.get("cache-control")).toBe("no-store");
    expect(login.headers.getSetCookie()).toEqual(["theme=dark", expect.stringMatching(/^__Host-Http-sid=/)]);
    const home = await visit("/?a=1");
    expect([await home.text(), home.headers.get("cache-control"), home.headers.get("vary")]).toEqual([
      "42",
      "private",
      "Cookie",
    ]);
    await visit("/logout", "POST");
    expect(jar.cookie).toBeNull();
    expect((await visit("/")).status).toBe(401);
  });

  test("an unsafe request from another origin gets 403", async () => {
    expect((await visit("/login", "POST", { origin: "https://evil.example" })).status).toBe(403);
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a backend failure of a call that the handler does not await gets 503", async () => {
    await visit("/login", "POST");
    const response = await visit("/count");
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
  });

  test("an error of the handler gets 500, and the session that it created ends", async () => {
    const before = await keysOf(backend);
    const response = await visit("/broken", "POST");
    expect([response.status, response.headers.getSetCookie()]).toEqual([500, []]);
    expect((await keysOf(backend)).filter((key) => !before.includes(key))).toEqual([]);
  });
});

describe.runIf(onNode)("an adapter for node:http that adds the headers when they are about to be sent", () => {
  const { store } = visits();
  const begin = sessionExchange(store);

  /** As in Express, the handler ends the response itself, and errors reach a handler of their own. */
  const server = createServer(async (request, response) => {
    const { headers, method = "GET", url = "/" } = request;
    const exchange = begin({ method, url, path: url, header: (name) => headers[name]?.toString() });
    const { writeHead } = response;
    response.writeHead = (...args: never[]) => {
      const given = new Headers();
      for (const name of response.getHeaderNames()) {
        for (const value of [response.getHeader(name)].flat()) given.append(name, String(value));
      }
      for (const [name, ...values] of exchange.finish(given)) {
        if (values.length === 0) response.removeHeader(name);
        else response.setHeader(name, values);
      }
      return Reflect.apply(writeHead, response, args);
    };
    try {
      if (method === "POST") await (url === "/login" ? exchange.session.create({}) : exchange.session.rotate());
      if (url === "/down") throw failure;
      response.setHeader("set-cookie", ["theme=dark"]);
      response.end((await exchange.session.require()).id);
    } catch (error) {
      const answer = await exchange.abandon(error);
      response.statusCode = answer?.status ?? 500;
      if (answer !== null) response.setHeaders(answer.headers);
      response.end(await answer?.text());
    }
  });
  const jar = cookieJar();

  beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  async function visit(path: string, method = "GET"): Promise<Response> {
    const { port } = server.address() as AddressInfo;
    const init = { method, headers: { cookie: jar.cookie ?? "" } };
    return jar.receive(await fetch(`http://127.0.0.1:${port}${path}`, init));
  }

  test("the response has one session cookie beside those of the handler", async () => {
    const response = await visit("/login", "POST");
    expect(response.headers.getSetCookie()).toEqual(["theme=dark", expect.stringMatching(/^__Host-Http-sid=/)]);
    expect(await (await visit("/")).text()).toBe(tokenOf(jar.cookie).slice(0, 22));
  });

  test("the 503 response has the cookie of a rotation once, although finish is called for it again", async () => {
    const before = jar.cookie;
    const response = await visit("/down", "POST");
    expect([response.status, response.headers.getSetCookie().length]).toEqual([503, 1]);
    expect(response.headers.get("vary")).toBe("Cookie");
    expect(jar.cookie).not.toBe(before);
    expect((await visit("/")).status).toBe(200);
  });
});
