import { describe, expect, test } from "vitest";
import { memoryBackend, type RequestSession, SessionBackendError } from "../../src/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { request, tokenOf } from "../support/http.ts";
import { type Handler, setCookies, signedIn, site } from "../support/sites.ts";
import type { NewVisit, Visit } from "../support/visits.ts";

/** What a middleware throws. */
async function thrownBy(handled: Promise<unknown>): Promise<unknown> {
  return await handled.then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error,
  );
}

describe("handlers that throw a Response", () => {
  test("a thrown Response gets the cookie of a login and is thrown again", async () => {
    const { handle, store } = site();
    const thrown = await thrownBy(
      handle(request(), async (session) => {
        await session.create({ userId: "42" });
        throw new Response(null, { status: 302, headers: { location: "/account" } });
      }),
    );
    expect(thrown).toBeInstanceOf(Response);
    const answer = thrown as Response;
    expect([answer.status, answer.headers.get("location")]).toEqual([302, "/account"]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const [line] = setCookies(answer);
    expect((await store.get(tokenOf(line)))?.data.userId).toBe("42");
  });

  test("a thrown Response gets the cookie of a rotation, so that the user stays logged in", async () => {
    const { handle, jar, store } = await signedIn();
    const thrown = await thrownBy(
      handle(jar.request(), async (session) => {
        await session.rotate();
        throw Response.redirect("https://app.example/account", 303);
      }),
    );
    jar.receive(thrown as Response);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test("a thrown Response gets Vary and Cache-Control if the session was read", async () => {
    const { handle, jar } = await signedIn();
    const thrown = await thrownBy(
      handle(jar.request(), async (session) => {
        await session.get();
        throw new Response("no", { status: 404 });
      }),
    );
    const { headers } = thrown as Response;
    expect([headers.get("vary"), headers.get("cache-control")]).toEqual(["Cookie", "private"]);
  });

  test("a thrown Response is thrown again unchanged if the session was not used", async () => {
    const { handle } = site();
    const answer = new Response("no", { status: 404 });
    const handled = handle(request(), () => {
      throw answer;
    });
    expect(await thrownBy(handled)).toBe(answer);
  });

  test("a thrown error with a status and headers is not treated as a Response", async () => {
    const { handle, backend } = site();
    const error = Object.assign(new Error("HTTP"), { status: 302, headers: new Headers() });
    const handled = handle(request(), async (session) => {
      await session.create({});
      throw error;
    });
    expect(await thrownBy(handled)).toBe(error);
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("handlers that return no Response", () => {
  test.each([
    ["a string", "ok", "string"],
    ["null", null, "null"],
    ["an object", { status: 200, headers: new Headers() }, "object"],
  ])("the middleware throws a TypeError that names what the handler returned: %s", async (_, answer, kind) => {
    const { handle, backend } = site();
    const handled = handle(request(), async (session) => {
      await session.create({});
      return answer as never;
    });
    await expect(handled).rejects.toThrow(
      `Cannot answer a request as the handler must return a Response, or undefined after an upgrade: received ${kind}`,
    );
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("handlers that return undefined after an upgrade", () => {
  test("a handler that returns undefined can read and write the session", async () => {
    const { handle, jar, store, token } = await signedIn();
    const answer = await handle(jar.request(), async (session) => {
      await session.update({ theme: "dark" });
      return undefined;
    });
    expect(answer).toBeUndefined();
    expect((await store.get(token))?.data.theme).toBe("dark");
  });

  test("a handler that creates a session and returns undefined causes a TypeError, and the session ends", async () => {
    const { handle, backend } = site();
    const handled = handle(request(), async (session) => {
      await session.create({});
      return undefined;
    });
    await expect(handled).rejects.toThrow(
      "Cannot set the session cookie as the handler returned no response that could carry it",
    );
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a socket can use the session for the first time after its handler returned undefined", async () => {
    const { handle, jar } = await signedIn();
    const kept: RequestSession<Visit, NewVisit>[] = [];
    await handle(jar.request(), (session) => {
      kept.push(session);
      return undefined;
    });
    expect((await kept[0]?.get())?.data.userId).toBe("42");
  });
});

describe("responses to a backend failure", () => {
  const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });
  /** A handler after whose change every read fails. */
  async function broken(change: Handler, options: Parameters<typeof signedIn>[0] = {}) {
    let isBroken = false;
    const backend = intercept(memoryBackend(), (method) =>
      isBroken && method === "read" ? Promise.reject(failure) : undefined,
    );
    const made = await signedIn(options, { backend });
    const handled = made.visit(async (session) => {
      await change(session);
      isBroken = true;
      try {
        await session.update(() => ({}));
      } finally {
        isBroken = false;
      }
    });
    return { ...made, handled };
  }

  test("the 503 response has the cookie of a rotation that took effect", async () => {
    const { handled, jar, store, cookie } = await broken((session) => session.rotate());
    const response = await handled;
    expect(response.status).toBe(503);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(jar.cookie).not.toBe(cookie);
    expect((await store.get(tokenOf(jar.cookie)))?.data.userId).toBe("42");
  });

  test("the response of onBackendError is copied and gets the cookie of a rotation", async () => {
    const SORRY = new Response("sorry", { status: 500, headers: { "set-cookie": "__Host-Http-sid=planted" } });
    const { handled, jar, store } = await broken((session) => session.rotate(), { onBackendError: () => SORRY });
    const response = await handled;
    expect(await response.text()).toBe("sorry");
    expect(setCookies(response)).toHaveLength(1);
    expect(setCookies(SORRY)).toEqual(["__Host-Http-sid=planted"]);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test.each([
    ["undefined", undefined, "undefined"],
    ["a string", "sorry", "string"],
  ])("a TypeError names onBackendError if it returns %s", async (_, answer, kind) => {
    const { handled } = await broken(() => {}, { onBackendError: () => answer as never });
    await expect(handled).rejects.toThrow(
      `Cannot answer a request as onBackendError must return a Response: received ${kind}`,
    );
  });

  test("the 503 response has no cookie for a session that was created, and the session ends", async () => {
    const { handled, backend } = await broken((session) => session.create({}));
    const response = await handled;
    expect([response.status, setCookies(response)]).toEqual([503, []]);
    expect(await keysOf(backend)).toEqual([]);
  });

  test("the 503 response has no cookie for a session that was created and then rotated", async () => {
    const { handled, backend } = await broken(async (session) => [await session.create({}), await session.rotate()]);
    expect(setCookies(await handled)).toEqual([]);
    expect(await keysOf(backend)).toEqual([]);
  });

  test("the 503 response does not clear the cookie of a session that was destroyed", async () => {
    const { handled } = await broken(async (session) => {
      await session.destroy();
      throw failure;
    });
    const response = await handled;
    expect([response.status, setCookies(response)]).toEqual([503, []]);
  });

  test("a rotated session ends if onBackendError throws", async () => {
    const { handled, backend } = await broken((session) => session.rotate(), {
      onBackendError: () => {
        throw new Error("sorry");
      },
    });
    await expect(handled).rejects.toThrow("sorry");
    expect(await keysOf(backend)).toEqual([]);
  });

  test("the 503 response has the cookie of a rotation that was still in progress at the failure", async () => {
    const held = gate();
    let holding = false;
    const backend = intercept(memoryBackend(), (method) => (holding && method === "write" ? held.passed : undefined));
    const { handle, jar, store } = await signedIn({}, { backend });
    holding = true;
    const handled = handle(jar.request(), (session) => {
      session.rotate();
      throw failure;
    });
    held.open();
    jar.receive(await handled);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });
});

describe("requests with two values of the session cookie", () => {
  const two = `__Host-Http-sid=${"A".repeat(22)}.${"B".repeat(43)}; __Host-Http-sid=${"C".repeat(22)}.${"D".repeat(43)}`;

  test("a request with two cookie values has no session, and is reported once if it uses the session", async () => {
    const { handle, events, at } = site();
    await handle(request(two), async (session) => {
      expect(await session.get()).toBeNull();
      expect(await session.get()).toBeNull();
      return new Response();
    });
    expect(events).toEqual([{ type: "two-cookies", id: null, at: at(), cookieName: "__Host-Http-sid" }]);
  });

  test("a request with two cookie values is not reported if it does not use the session", async () => {
    const { handle, events } = site();
    await handle(request(two), () => new Response());
    expect(events).toEqual([]);
  });

  test("a request with the same cookie value twice has its session and is not reported", async () => {
    const { handle, events, jar } = await signedIn();
    await handle(request(`${jar.cookie}; ${jar.cookie}`), async (session) => {
      expect(await session.get()).not.toBeNull();
      return new Response();
    });
    expect(events).toEqual([]);
  });
});

describe("the option cookie.previous", () => {
  const previous = [
    { path: "/app", name: "sid" },
    { domain: "example.com", name: "sid" },
  ];

  test.each<[string, Handler, boolean]>([
    ["is cleared by create", (session) => session.create({}), true],
    ["is cleared by destroy", (session) => session.destroy(), true],
    ["is not cleared by get", (session) => session.get(), false],
  ])("the cookie in a previous scope %s", async (_, handler, clears) => {
    const { visit } = await signedIn({ cookie: { previous } });
    const lines = setCookies(await visit(handler));
    const gone = "sid=; Max-Age=0;";
    const expected = [
      `${gone} Path=/app; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax`,
      `${gone} Domain=example.com; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax`,
    ];
    expect(lines.slice(0, 2)).toEqual(clears ? expected : []);
    expect(lines).toHaveLength(clears ? 3 : 0);
  });
});
