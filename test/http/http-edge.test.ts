import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sessionCookie, sessionExchange } from "../../src/index.ts";
import { keysOf } from "../support/backends.ts";
import { idle } from "../support/gate.ts";
import { cookieJar, request, requestParts, tokenOf } from "../support/http.ts";
import { type Handler, setCookies, signedIn, site } from "../support/sites.ts";

const rotate: Handler = (session) => session.rotate();

/** Set-Cookie lines of a handler that use the session cookie's name. */
const planted = [
  "__Host-Http-sid=planted",
  " __Host-Http-sid = planted; Path=/",
  "__Host-Http-sid=x; Max-Age=0",
  `=__Host-Http-sid=${"i".repeat(22)}.${"s".repeat(43)}`,
  sessionCookie().write(`${"i".repeat(22)}.${"s".repeat(43)}`, 60),
];
/** Set-Cookie lines of a handler for other cookies. */
const others = [
  "a=1; Path=/",
  "__host-http-sid=2",
  "b=2, 3; Expires=Thu, 01 Jan 2026 00:00:00 GMT",
  "__Host-Http-sidx=3",
  "a=4",
];
const mixed = [
  others[0],
  planted[0],
  planted[1],
  others[1],
  others[2],
  planted[2],
  planted[3],
  others[3],
  others[4],
  planted[4],
];

function answerWith(lines: readonly (string | undefined)[], init: ResponseInit = {}): Response {
  const answer = new Response(init.status === 204 ? null : "ok", init);
  for (const line of lines) answer.headers.append("set-cookie", line ?? "");
  return answer;
}

/** Makes the headers of the response immutable, as those of a fetched response are. */
function frozen(answer: Response): Response {
  const refuse = () => {
    throw new TypeError("immutable");
  };
  for (const name of ["append", "set", "delete"] as const)
    Object.defineProperty(answer.headers, name, { value: refuse });
  return answer;
}

/** A server whose responses also set cookies with the session cookie's name. */
const server = createServer((asked, response) => {
  response.setHeader("Set-Cookie", mixed as string[]);
  response.setHeader("X-Upstream", "1");
  if (asked.url === "/moved") response.writeHead(302, { location: "/there" });
  response.end("from upstream");
});
let upstream = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

describe("handlers that set a cookie with the session cookie's name", () => {
  const kinds: Readonly<Record<string, () => Response | Promise<Response>>> = {
    "that the handler made": () => answerWith(mixed),
    "that is a redirect": () => answerWith(mixed, { status: 302, headers: { location: "/home" } }),
    "without a body": () => answerWith(mixed, { status: 204 }),
    "that is immutable": () => frozen(answerWith(mixed)),
    "that was fetched": () => fetch(`${upstream}/`),
    "that is a fetched redirect": () => fetch(`${upstream}/moved`, { redirect: "manual" }),
  };

  describe.each(Object.entries(kinds))("H-06 a response %s", (_, answer) => {
    test.each<[string, Handler]>([
      ["create", (session) => session.create({})],
      ["rotate", rotate],
      ["create and rotate", async (session) => [await session.create({}), await session.rotate()]],
    ])(
      "after %s, the only session cookie is the new one, and it follows the handler's other cookies",
      async (_, handler) => {
        const { visit, jar, store } = await signedIn();
        const given = await answer();
        const response = await visit(handler, () => given);
        const lines = setCookies(response);
        expect(lines.slice(0, -1)).toEqual(others);
        expect(lines.at(-1)).toMatch(/^__Host-Http-sid=.{66}; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
        expect(await store.peek(tokenOf(jar.cookie))).not.toBeNull();
        expect(response.status).toBe(given.status);
      },
    );

    test("after destroy, the session cookie is cleared and the handler's other cookies are kept", async () => {
      const { visit } = await signedIn();
      const given = await answer();
      expect(
        setCookies(
          await visit(
            (session) => session.destroy(),
            () => given,
          ),
        ),
      ).toEqual([...others, sessionCookie().clear()]);
    });

    test.each<[string, Handler]>([
      ["get", (session) => session.get()],
      ["no use of the session", () => null],
    ])("after %s, no session cookie is sent and the handler's other cookies are kept", async (_, handler) => {
      const { visit, jar, cookie } = await signedIn();
      const given = await answer();
      const response = await visit(handler, () => given);
      expect(setCookies(response)).toEqual(others);
      expect([response.status, response.headers.get("x-upstream")]).toEqual([
        given.status,
        given.headers.get("x-upstream"),
      ]);
      expect(jar.cookie).toBe(cookie);
    });
  });

  test("H-06 the finish method of an exchange lists all Set-Cookie lines to send, or none if the response can keep its own", async () => {
    const { store } = site();
    const exchangeOf = sessionExchange(store);
    const headersWith = (...lines: string[]) => answerWith(lines).headers;
    expect(exchangeOf(requestParts()).finish(headersWith("a=1"))).toEqual([]);
    expect(exchangeOf(requestParts()).finish(headersWith("__Host-Http-sid=x"))).toEqual([["Set-Cookie"]]);
    expect(exchangeOf(requestParts()).finish(headersWith("a=1", "__Host-Http-sid=x", "a=2"))).toEqual([
      ["Set-Cookie", "a=1", "a=2"],
    ]);
    const creating = exchangeOf(requestParts());
    await creating.session.create({});
    expect(creating.finish(headersWith("a=1", "__Host-Http-sid=x"))[0]).toEqual([
      "Set-Cookie",
      "a=1",
      expect.stringMatching(/^__Host-Http-sid=.{66};/),
    ]);
  });

  test("H-06 a handler may set any cookie whose name is not that of the session cookie", async () => {
    const { visit } = await signedIn({ cookie: { name: "app" } });
    const response = await visit(
      () => null,
      () => answerWith(mixed),
    );
    expect(setCookies(response)).toEqual(answerWith(mixed).headers.getSetCookie());
  });
});

describe("H-01 immutable responses", () => {
  test("an immutable redirect is copied with its Location", async () => {
    const { visit } = await signedIn();
    const response = await visit(rotate, () => Response.redirect("https://app.example/home", 307));
    expect([response.status, response.headers.get("location")]).toEqual([307, "https://app.example/home"]);
    expect(setCookies(response)).toHaveLength(1);
  });

  test("a fetched response is copied with its status, headers and body", async () => {
    const { visit } = await signedIn();
    const fetched = await fetch(`${upstream}/`);
    const response = await visit(rotate, () => fetched);
    expect([response.status, response.statusText, response.headers.get("x-upstream")]).toEqual([200, "OK", "1"]);
    expect(await response.text()).toBe("from upstream");
  });

  test("an immutable response is copied while its body is still streaming", async () => {
    const { visit } = await signedIn();
    let send = (_text: string): void => {};
    const body = new ReadableStream({
      start(controller) {
        send = (text) => {
          controller.enqueue(new TextEncoder().encode(text));
          controller.close();
        };
      },
    });
    const response = await visit(rotate, () => frozen(new Response(body, { status: 201, statusText: "Made" })));
    send("later");
    expect([response.status, response.statusText, await response.text()]).toEqual([201, "Made", "later"]);
    expect(setCookies(response)).toHaveLength(1);
  });
});

describe("H-02 and H-03 responses that cannot be copied", () => {
  /** Imitates the response to an upgrade, as not every runtime can construct one. */
  const upgraded = () => {
    const answer = frozen(new Response());
    Object.defineProperty(answer, "status", { value: 101 });
    return answer;
  };
  /** Frozen, as only some runtimes make the headers of an error response immutable. */
  const failed = () => frozen(Response.error());

  test.each([
    ["network error", failed],
    ["upgrade", upgraded],
  ])("the %s response is passed on unchanged if no cookie has to be set", async (_, make) => {
    for (const handler of [() => null, (session) => session.get()] satisfies Handler[]) {
      const { visit } = await signedIn();
      const answer = make();
      expect(await visit(handler, () => answer)).toBe(answer);
    }
  });

  test.each([
    ["network error", failed],
    ["upgrade", upgraded],
  ])(
    "after a rotation, the %s response causes a TypeError, and the session is destroyed as its new token is lost",
    async (_, make) => {
      const { visit, jar, cookie, backend } = await signedIn();
      await expect(visit(rotate, make)).rejects.toThrow(TypeError);
      expect(jar.cookie).toBe(cookie);
      expect(await keysOf(backend)).toEqual([]);
    },
  );
});

describe("H-04 and H-05 response bodies", () => {
  test.each([204, 205, 304])("a response of status %d has no body, whether it is copied or not", async (status) => {
    for (const make of [() => new Response(null, { status }), () => frozen(new Response(null, { status }))]) {
      const { visit } = await signedIn();
      const response = await visit(rotate, make);
      expect([response.status, response.body]).toEqual([status, null]);
      expect(setCookies(response)).toHaveLength(1);
    }
  });

  test("a response to HEAD has no body and keeps its Content-Length", async () => {
    const { handle, cookie } = await signedIn();
    const asked = new Request("https://app.example/", { method: "HEAD", headers: { cookie: cookie ?? "" } });
    const response = await handle(asked, async (session) => {
      await session.rotate();
      return new Response(null, { headers: { "content-length": "5" } });
    });
    expect([response.body, response.headers.get("content-length")]).toEqual([null, "5"]);
    expect(setCookies(response)).toHaveLength(1);
  });

  test("a response whose body was already read is refused with a TypeError, and the session ends", async () => {
    for (const make of [() => new Response("ok"), () => frozen(new Response("ok"))]) {
      const { visit, backend } = await signedIn();
      const answer = make();
      await answer.text();
      await expect(visit(rotate, () => answer)).rejects.toThrow(TypeError);
      expect(await keysOf(backend)).toEqual([]);
    }
  });
});

// H-07 (caches) is in test/http/cache-safety.test.ts, H-08 (thrown values and results that are not a Response) in
// test/http/middleware.test.ts.

describe("H-09 streaming bodies", () => {
  test("a body that still streams can read and update the session but cannot create or rotate one", async () => {
    const { handle, store, token, cookie } = await signedIn();
    const response = await handle(request(cookie), async (session) => {
      await session.get();
      const body = new ReadableStream({
        async start(controller) {
          // Wait until the headers have been sent.
          await idle();
          const seen = (await session.get())?.data.userId;
          const issued = await Promise.allSettled([session.rotate(), session.create({})]);
          await session.update({ theme: "dark" });
          controller.enqueue(new TextEncoder().encode([seen, ...issued.map(({ status }) => status)].join()));
          controller.close();
        },
      });
      return new Response(body);
    });
    expect(await response.text()).toBe("42,rejected,rejected");
    expect(setCookies(response)).toEqual([]);
    expect((await store.get(token))?.data).toMatchObject({ userId: "42", theme: "dark" });
  });
});

describe("H-10 responses of status 5xx", () => {
  test.each([500, 502, 503])(
    "a response of status %d still carries the session cookie after a rotation and a logout",
    async (status) => {
      const failure = () => new Response("sorry", { status });
      const { visit, jar, store, token } = await signedIn();
      await visit(rotate, failure);
      expect(await store.peek(tokenOf(jar.cookie))).not.toBeNull();
      expect(await store.peek(token)).toBeNull();
      await visit((session) => session.destroy(), failure);
      expect(jar.cookie).toBeNull();
    },
  );
});

describe("C-23 tokens outside the Cookie header", () => {
  test.each<[string, (token: string) => Request]>([
    ["the query", (token) => new Request(`https://app.example/?__Host-Http-sid=${token}&sid=${token}&token=${token}`)],
    ["the body", (token) => new Request("https://app.example/", { method: "POST", body: `__Host-Http-sid=${token}` })],
    ...["authorization", "set-cookie", "cookie2", "x-session-id", "x-cookie", "__host-sid"].map(
      (name): [string, (token: string) => Request] => [
        `the header ${name}`,
        (token) => new Request("https://app.example/", { headers: { [name]: `__Host-Http-sid=${token}` } }),
      ],
    ),
  ])("a token in %s does not authenticate the request and causes no backend call", async (_, ask) => {
    const { handle, calls, token } = await signedIn();
    const response = await handle(ask(token), async (session) => Response.json(await session.get()));
    expect(await response.json()).toBeNull();
    expect(calls).toEqual([]);
  });
});

describe("C-24 hostile requests", () => {
  function asking(get: () => unknown): Request {
    return Object.defineProperty(request(), "headers", { value: { get }, configurable: true });
  }

  test.each<[string, () => unknown]>([
    [
      "whose headers throw",
      () => {
        throw new Error("hostile");
      },
    ],
    ["whose cookie is a number", () => 5],
    ["whose cookie is an array", () => ["__Host-Http-sid=x"]],
    ["whose cookie is an object", () => ({ toString: () => "__Host-Http-sid=x" })],
  ])("a request %s is rejected with a TypeError before the handler runs", async (_, get) => {
    const { handle, calls } = site();
    const asked = asking(get);
    for (let time = 0; time < 2; time++) {
      const answer = handle(asked, () => expect.fail("called"));
      await expect(answer).rejects.toThrow(
        /^Cannot (handle a request as its headers|read the session token as the Cookie header)/,
      );
      await expect(answer).rejects.toBeInstanceOf(TypeError);
    }
    expect(calls).toEqual([]);
    // No state is left behind: the same request object can be handled once its headers are valid.
    Object.defineProperty(asked, "headers", { value: new Headers() });
    expect((await handle(asked, () => new Response())).status).toBe(200);
  });

  test("sessionExchange rejects a Cookie header that is not a string with a TypeError", () => {
    const { store } = site();
    for (const header of [5, ["a=b"], {}, true]) {
      expect(() => sessionExchange(store)({ ...requestParts(), header: () => header as never })).toThrow(TypeError);
    }
  });

  test("a request without headers is rejected with a TypeError", async () => {
    const { handle } = site();
    for (const asked of [{}, { headers: null }, { headers: {} }]) {
      await expect(handle(asked as never, () => expect.fail("called"))).rejects.toThrow(TypeError);
    }
  });
});

test("create replaces a session cookie that was planted in the browser", async () => {
  const { handle, store } = site();
  const jar = cookieJar("__Host-Http-sid", "__Host-Http-sid=planted");
  const response = await handle(jar.request(), async (session) => {
    await session.create({});
    return answerWith([planted[0]]);
  });
  jar.receive(response);
  expect(await store.peek(tokenOf(jar.cookie))).not.toBeNull();
});
