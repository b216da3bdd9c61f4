import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  createSessionStore,
  memoryBackend,
  type RequestSession,
  type Session,
  SessionBackendError,
  type SessionEvent,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import { type BackendMethod, intercept, keysOf } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { request, requestParts, tokenOf } from "../support/http.ts";
import { type Handler, setCookies, signedIn, site } from "../support/sites.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";

/** A backend whose methods fail while their names are in `broken`. */
function failing() {
  const broken = new Set<BackendMethod>();
  const error = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });
  const inner = memoryBackend();
  const backend = intercept(inner, (method) => (broken.has(method) ? Promise.reject(error) : undefined));
  return { backend, inner, broken, error };
}

describe("lazy backend calls", () => {
  test("a request without a cookie causes no backend call except for create", async () => {
    const { visit, calls } = site();
    const response = await visit(async (session) => {
      expect(await session.get()).toBeNull();
      expect(await session.peek()).toBeNull();
      expect(await session.update({ theme: "dark" })).toBeNull();
      expect(await session.update(() => ({}))).toBeNull();
      expect(await session.increment("pageViews")).toBeNull();
      expect(await session.take("flash")).toBeNull();
      expect(await session.setIdleTimeout(60)).toBeNull();
      expect(await session.rotate()).toBeNull();
      expect(await session.destroy()).toBe(false);
    });
    expect(calls).toEqual([]);
    expect(setCookies(response)).toEqual([]);
  });

  test.each(["__Host-Http-sid=x", "sid=x", `__Host-Http-sid=${"A".repeat(65)}`, `__Host-Http-sid=${"A".repeat(43)}`])(
    "a request with the invalid cookie %s causes no backend call",
    async (cookie) => {
      const { handle, calls } = site();
      await handle(request(cookie), async (session) => {
        expect(await session.get()).toBeNull();
        return new Response();
      });
      expect(calls).toEqual([]);
    },
  );

  test("a handler that does not use the session causes no backend call, and its response is passed on unchanged", async () => {
    const { handle, calls, jar } = await signedIn();
    const answer = new Response("ok", { headers: { "x-mine": "1" } });
    const headers = [...answer.headers];
    expect(await handle(jar.request(), () => answer)).toBe(answer);
    expect([...answer.headers]).toEqual(headers);
    expect(calls).toEqual([]);
  });

  test("a token is read only from the Cookie header", async () => {
    const { handle, calls, token } = await signedIn();
    const headers = {
      authorization: `Bearer ${token}`,
      "x-session-id": token,
      "set-cookie": `__Host-Http-sid=${token}`,
      cookie2: `__Host-Http-sid=${token}`,
    };
    const url = `https://app.example/?__Host-Http-sid=${token}&sid=${token}`;
    await handle(new Request(url, { method: "POST", headers, body: `__Host-Http-sid=${token}` }), async (session) => {
      expect(await session.get()).toBeNull();
      return new Response();
    });
    expect(calls).toEqual([]);
  });
});

describe("the backend calls of one request", () => {
  test.each<[string, Handler, BackendMethod[]]>([
    ["two get calls read the session once", async (session) => [await session.get(), await session.get()], ["read"]],
    [
      "two concurrent get calls read the session once",
      (session) => Promise.all([session.get(), session.get()]),
      ["read"],
    ],
    ["two peek calls read the session once", async (session) => [await session.peek(), await session.peek()], ["read"]],
    [
      "a peek after a get does not read the session again",
      async (session) => [await session.get(), await session.peek()],
      ["read"],
    ],
    [
      "a get after a peek reads the session again to touch it",
      async (session) => [await session.peek(), await session.get()],
      ["read", "read"],
    ],
    [
      "a get after an update does not read the session",
      async (session) => [await session.update({}), await session.get()],
      ["write"],
    ],
    [
      "a get after setIdleTimeout does not read the session",
      async (session) => [await session.setIdleTimeout(60), await session.get()],
      ["write"],
    ],
    [
      "a get after a rotation does not read the session",
      async (session) => [await session.rotate(), await session.get()],
      ["write"],
    ],
    [
      "a get after create does not read the session",
      async (session) => [await session.create({}), await session.get()],
      ["insert", "remove"],
    ],
    [
      "a get after an increment reads the session",
      async (session) => [await session.increment("pageViews"), await session.get()],
      ["increment", "read"],
    ],
    [
      "a get after take reads the session",
      async (session) => [await session.take("flash"), await session.get()],
      ["write", "read"],
    ],
    [
      "a get after destroy does not read the session",
      async (session) => [await session.destroy(), await session.get()],
      ["remove"],
    ],
  ])("%s", async (_, handler, expected) => {
    const { visit, calls } = await signedIn();
    await visit(handler);
    expect(calls).toEqual(expected);
  });

  test("peek does not extend the session, and a get after it does", async () => {
    const { visit, calls } = await signedIn({}, { touchInterval: 0 });
    await visit(async (session) => {
      await session.peek();
      expect(calls).toEqual(["read"]);
      await session.get();
      expect(calls).toEqual(["read", "read", "touch"]);
    });
  });

  test("get returns the changed session after update, increment, take and destroy", async () => {
    const { visit } = await signedIn();
    await visit(async (session) => {
      expect((await session.get())?.data.theme).toBe("light");
      const updated = await session.update({ theme: "dark" });
      expect(await session.get()).toBe(updated);
      await session.increment("pageViews", 3);
      expect((await session.get())?.data.pageViews).toBe(3);
      await session.take("flash");
      expect((await session.get())?.data).not.toHaveProperty("flash");
      await session.destroy();
      expect(await session.get()).toBeNull();
    });
  });

  test("the result of a read during a change is not reused after the change", async () => {
    const { visit } = await signedIn();
    await visit(async (session) => {
      await Promise.all([session.increment("pageViews"), session.get()]);
      expect((await session.get())?.data.pageViews).toBe(1);
      const increment = session.increment("pageViews");
      await session.get();
      await increment;
      expect((await session.get())?.data.pageViews).toBe(2);
    });
  });

  test("a failed read is not remembered, so the next get reads again", async () => {
    const { backend, broken, error } = failing();
    const { visit } = await signedIn({}, { backend });
    const response = await visit(async (session) => {
      broken.add("read");
      await expect(session.get()).rejects.toBe(error);
      broken.clear();
      expect((await session.get())?.data.userId).toBe("42");
    });
    expect(response.status).toBe(200);
  });
});

describe("create on the middleware's session", () => {
  test("create issues a new token and destroys the session of the request's cookie", async () => {
    const { visit, jar, store, token, events, backend } = await signedIn();
    let created: Session<Visit> | undefined;
    await visit(async (session) => {
      created = await session.create({ userId: "43" });
    });
    expect(tokenOf(jar.cookie)).not.toBe(token);
    expect(await store.get(token)).toBeNull();
    expect(await store.peek(tokenOf(jar.cookie))).toEqual(created);
    expect(await keysOf(backend)).toEqual([created?.id]);
    expect(events.map((event) => event.type)).toEqual(["created", "destroyed"]);
  });

  test("create does not adopt an unknown token from the cookie", async () => {
    const unknown = `${"i".repeat(22)}.${"s".repeat(43)}`;
    const { handle, store } = site();
    const response = await handle(request(`__Host-Http-sid=${unknown}`), async (session) => {
      await session.create({});
      return new Response();
    });
    expect(setCookies(response)).toHaveLength(1);
    expect(setCookies(response)[0]).not.toContain(unknown);
    expect(await store.get(unknown)).toBeNull();
  });

  test("a second create in one request replaces the session of the first", async () => {
    const { visit, jar, store, backend } = await signedIn();
    const response = await visit(async (session) => {
      await session.create({ userId: "1" });
      await session.create({ userId: "2" });
    });
    expect(setCookies(response)).toHaveLength(1);
    expect((await store.get(tokenOf(jar.cookie)))?.data.userId).toBe("2");
    expect(await keysOf(backend)).toHaveLength(1);
  });

  test("a function gets the data of the request's session, and what another tab writes meanwhile is in the new one", async () => {
    const inner = memoryBackend();
    let meanwhile: (() => Promise<unknown>) | null = null;
    const backend = intercept(inner, async (method) => {
      const write = method === "remove" ? meanwhile : null;
      if (write === null) return;
      meanwhile = null;
      await write();
    });
    const { visit, jar, store, token } = await signedIn({}, { backend });
    meanwhile = () => store.update(token, { cart: [{ sku: "late", n: 1 }] });
    const seen: unknown[] = [];
    await visit(async (session) => {
      const created = await session.create((previous) => {
        seen.push(previous?.cart);
        return { userId: "43", cart: previous?.cart ?? [] };
      });
      expect(await session.get()).toEqual(created);
    });
    expect(seen).toEqual([[], [{ sku: "late", n: 1 }]]);
    expect(await store.peek(token)).toBeNull();
    expect((await store.peek(tokenOf(jar.cookie)))?.data.cart).toEqual([{ sku: "late", n: 1 }]);
    expect(await keysOf(inner)).toHaveLength(1);
  });

  test("a function gets null without a session, and for one that has ended", async () => {
    const { visit, store, token } = await signedIn();
    await store.destroy(token);
    const seen: unknown[] = [];
    const logIn = (previous: Readonly<Visit> | null): NewVisit => {
      seen.push(previous);
      return {};
    };
    await visit(async (session) => {
      await session.create(logIn);
    });
    await site().visit(async (session) => {
      await session.create(logIn);
    });
    expect(seen).toEqual([null, null]);
  });

  test("a failed create keeps the previous session and sets no cookie", async () => {
    const { visit, token, store, cookie, jar } = await signedIn();
    const response = await visit(async (session) => {
      await expect(session.create({ theme: "blue" as never })).rejects.toMatchObject({ origin: "given" });
      expect((await session.get())?.data.userId).toBe("42");
    });
    expect(setCookies(response)).toEqual([]);
    expect(jar.cookie).toBe(cookie);
    expect(await store.get(token)).not.toBeNull();
  });

  test("a create that cannot destroy the previous session leaves no new session behind", async () => {
    const { backend, inner, broken } = failing();
    let removals = 0;
    // Only the first removal fails: that of the previous session.
    const once = intercept(backend, (method) => {
      if (method === "remove" && ++removals > 1) broken.clear();
    });
    const { visit, jar, cookie, store, token } = await signedIn({}, { backend: once });
    broken.add("remove");
    removals = 0;
    const response = await visit(async (session) => {
      await expect(session.create({ userId: "43" })).rejects.toMatchObject({ reason: "unavailable" });
      expect((await session.get())?.data.userId).toBe("42");
    });
    expect(setCookies(response)).toEqual([]);
    expect(jar.cookie).toBe(cookie);
    const session = await store.get(token);
    expect(await keysOf(inner)).toEqual([session?.id]);
  });
});

describe("concurrent calls in one request", () => {
  const at = {
    create: (session: RequestSession<Visit, NewVisit>) => session.create({ userId: "43" }),
    rotate: (session: RequestSession<Visit, NewVisit>) => session.rotate(),
    destroy: (session: RequestSession<Visit, NewVisit>) => session.destroy(),
  };
  const names = Object.keys(at) as (keyof typeof at)[];
  const orders = names.flatMap((one) => names.flatMap((two) => names.map((three) => [one, two, three] as const)));

  test.each(orders)(
    "concurrent %s, %s and %s leave at most one session, and the browser holds its cookie",
    async (...order) => {
      const { visit, jar, store, backend, cookie, events } = await signedIn();
      const response = await visit((session) => Promise.all(order.map((name) => at[name](session))));
      expect(setCookies(response)).toHaveLength(1);
      expect(events.map((event) => event.type)).not.toContain("reused");
      const ended = order.lastIndexOf("destroy") > order.lastIndexOf("create");
      const keys = await keysOf(backend);
      expect(keys).toHaveLength(ended ? 0 : 1);
      if (ended) expect(jar.cookie).toBeNull();
      else expect((await store.peek(tokenOf(jar.cookie)))?.id).toBe(keys[0]);
      expect(await store.peek(tokenOf(cookie))).toBeNull();
    },
  );

  test("a failed create does not block a concurrent create", async () => {
    const { visit, jar, store, backend } = await signedIn();
    await visit((session) =>
      Promise.allSettled([session.create({ theme: "blue" as never }), session.create({ userId: "2" })]),
    );
    expect((await store.get(tokenOf(jar.cookie)))?.data.userId).toBe("2");
    expect(await keysOf(backend)).toHaveLength(1);
  });
});

describe("Set-Cookie", () => {
  test.each<[string, Handler]>([
    ["get", (session) => session.get()],
    ["peek", (session) => session.peek()],
    ["update", (session) => session.update({ theme: "dark" })],
    ["increment", (session) => session.increment("pageViews")],
    ["take", (session) => session.take("flash")],
    ["setIdleTimeout", (session) => session.setIdleTimeout(60)],
  ])("%s does not send Set-Cookie", async (_, handler) => {
    const { visit } = await signedIn();
    expect(setCookies(await visit(handler))).toEqual([]);
  });

  test.each<[string, Handler]>([
    ["get", (session) => session.get()],
    ["update", (session) => session.update({})],
    ["rotate", (session) => session.rotate()],
    ["destroy", (session) => session.destroy()],
  ])("%s does not send Set-Cookie if the session was destroyed by another request", async (_, handler) => {
    const { visit, store, token, jar, cookie } = await signedIn();
    await store.destroy(token);
    expect(setCookies(await visit(handler))).toEqual([]);
    expect(jar.cookie).toBe(cookie);
  });

  test("create sends one session cookie", async () => {
    const { visit, jar } = site();
    const response = await visit((session) => session.create({}));
    expect(setCookies(response)).toEqual([`${jar.cookie}; Path=/; HttpOnly; Secure; SameSite=Lax`]);
  });

  test("rotate sends one session cookie with the new token", async () => {
    const { visit, jar, cookie, store } = await signedIn();
    const response = await visit((session) => session.rotate());
    expect(setCookies(response)).toEqual([`${jar.cookie}; Path=/; HttpOnly; Secure; SameSite=Lax`]);
    expect(jar.cookie).not.toBe(cookie);
    expect(await store.get(tokenOf(cookie))).toBeNull();
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test("destroy clears the session cookie", async () => {
    const { visit, jar } = await signedIn();
    const response = await visit((session) => session.destroy());
    expect(setCookies(response)).toEqual([sessionCookie().clear()]);
    expect(jar.cookie).toBeNull();
  });

  test("the session cookie follows the cookie options", async () => {
    const { visit } = site({ cookie: { name: "app", secure: false, sameSite: "strict", path: "/app" } });
    const response = await visit((session) => session.create({}));
    expect(setCookies(response)[0]).toMatch(/^app=[^;]+; Path=\/app; HttpOnly; SameSite=Strict$/);
  });

  test.each<[string, Handler, "set" | "cleared" | "none"]>([
    ["create, rotate", async (session) => [await session.create({}), await session.rotate()], "set"],
    ["rotate, rotate", async (session) => [await session.rotate(), await session.rotate()], "set"],
    ["destroy, create", async (session) => [await session.destroy(), await session.create({})], "set"],
    ["create, destroy", async (session) => [await session.create({}), await session.destroy()], "cleared"],
    ["rotate, destroy", async (session) => [await session.rotate(), await session.destroy()], "cleared"],
    ["destroy, destroy", async (session) => [await session.destroy(), await session.destroy()], "cleared"],
    ["destroy, rotate", async (session) => [await session.destroy(), await session.rotate()], "cleared"],
  ])("the calls %s in one request send only one Set-Cookie, for the final state", async (_, handler, outcome) => {
    const { visit, jar, store, cookie } = await signedIn();
    const response = await visit(handler);
    expect(setCookies(response)).toHaveLength(1);
    if (outcome === "set") expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
    else expect(jar.cookie).toBeNull();
    expect(await store.get(tokenOf(cookie))).toBeNull();
  });

  test("destroy clears the cookie of a session created in the same request, even if that session was already removed", async () => {
    const { visit, store, jar, backend, clock } = site();
    const response = await visit(async (session) => {
      const { id } = await session.create({});
      const access = { verifier: null, previous: false, now: clock.now() };
      await backend.remove(id, access, { id, cause: "revoked" }, []);
      expect(await session.destroy()).toBe(false);
    });
    expect(setCookies(response)).toEqual([sessionCookie().clear()]);
    expect(jar.cookie).toBeNull();
    for await (const session of store.scan()) expect.fail(`There is a session ${session.id}`);
  });

  test("the session cookie follows the handler's cookies, which keep their order", async () => {
    const { visit } = await signedIn();
    const answer = new Response("ok");
    for (const line of ["a=1; Path=/", "b=2, 3; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "a=4"]) {
      answer.headers.append("set-cookie", line);
    }
    const response = await visit(
      (session) => session.rotate(),
      () => answer,
    );
    expect(answer.headers.getSetCookie()).toHaveLength(3);
    const [first, second, third, ours, ...more] = setCookies(response);
    expect([first, second, third]).toEqual(["a=1; Path=/", "b=2, 3; Expires=Thu, 01 Jan 2026 00:00:00 GMT", "a=4"]);
    expect(ours).toMatch(/^__Host-Http-sid=/);
    expect(more).toEqual([]);
  });
});

describe("the middleware's response", () => {
  test("the response object that the handler returns is copied and never modified", async () => {
    const { visit } = await signedIn();
    const answer = new Response("ok");
    const response = await visit(
      (session) => session.rotate(),
      () => answer,
    );
    expect(setCookies(answer)).toEqual([]);
    expect(setCookies(response)).toHaveLength(1);
    expect(await response.text()).toBe("ok");
  });

  test("a redirect is copied with its status and Location", async () => {
    const { visit, jar, store } = await signedIn();
    const response = await visit(
      (session) => session.rotate(),
      () => Response.redirect("https://app.example/home", 303),
    );
    expect(response.status).toBe(303);
    expect(response.headers.get("location")).toBe("https://app.example/home");
    expect(setCookies(response)).toHaveLength(1);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test("a fetched response is copied with its status, headers and body", async () => {
    const { visit } = await signedIn();
    const fetched = await fetch("data:text/plain;charset=utf-8,hello");
    const response = await visit(
      (session) => session.rotate(),
      () => fetched,
    );
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/plain;charset=utf-8");
    expect(setCookies(response)).toHaveLength(1);
    expect(await response.text()).toBe("hello");
  });

  test.each([204, 205, 304])("a response of status %d is sent without a body", async (status) => {
    const { visit } = await signedIn();
    const response = await visit(
      (session) => session.rotate(),
      () => new Response(null, { status }),
    );
    expect(response.status).toBe(status);
    expect(response.body).toBeNull();
    expect(setCookies(response)).toHaveLength(1);
  });

  test("a response whose body is already being read is refused with a TypeError, and the session ends", async () => {
    const { visit, backend } = await signedIn();
    const answer = new Response("ok");
    const text = answer.text();
    await expect(
      visit(
        (session) => session.rotate(),
        () => answer,
      ),
    ).rejects.toThrow(TypeError);
    expect(await text).toBe("ok");
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a network error response is passed on unchanged if the handler only read the session", async () => {
    const { visit } = await signedIn();
    const answer = Response.error();
    const response = await visit(
      (session) => session.get(),
      () => answer,
    );
    expect(response).toBe(answer);
  });

  test("a response of status 500 still carries the session cookie after a rotation", async () => {
    const { visit, jar, store } = await signedIn();
    const response = await visit(
      (session) => session.rotate(),
      () => new Response("sorry", { status: 500 }),
    );
    expect(response.status).toBe(500);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });
});

describe("Cache-Control and Vary", () => {
  const handlers: Readonly<Record<"get" | "rotate", Handler>> = {
    get: (session) => session.get(),
    rotate: (session) => session.rotate(),
  };

  test.each<["get" | "rotate", string | null, string]>([
    ["get", null, "private"],
    ["get", "", "private"],
    ["get", "public", "private"],
    ["get", "public, max-age=60", "private, max-age=60"],
    ["get", "max-age=60, PUBLIC", "private, max-age=60"],
    ["get", "private", "private"],
    ["get", "no-store", "no-store"],
    ["get", "no-cache", "private, no-cache"],
    ["get", "max-age=60", "private, max-age=60"],
    ["rotate", null, "no-store"],
    ["rotate", "public, max-age=60", "no-store"],
    ["rotate", "private", "no-store"],
    ["rotate", "max-age=60", "no-store"],
    ["rotate", "no-store", "no-store"],
    ["rotate", "private, No-Store", "no-store"],
  ])("after %s, the response header Cache-Control %j becomes %j", async (method, given, expected) => {
    const { visit } = await signedIn();
    const headers = new Headers(given === null ? {} : { "cache-control": given });
    const response = await visit(handlers[method], () => new Response("ok", { headers }));
    expect(response.headers.get("cache-control")).toBe(expected);
  });

  test.each<[string | null, string]>([
    [null, "Cookie"],
    ["", "Cookie"],
    ["*", "*"],
    ["Accept-Encoding", "Accept-Encoding, Cookie"],
    ["accept-encoding,  cookie", "accept-encoding,  cookie"],
    ["COOKIE", "COOKIE"],
    ["Accept, *", "Accept, *"],
    ["X-Cookie", "X-Cookie, Cookie"],
  ])("the response header Vary %j becomes %j", async (given, expected) => {
    for (const handler of Object.values(handlers)) {
      const { visit } = await signedIn();
      const headers = new Headers(given === null ? {} : { vary: given });
      const response = await visit(handler, () => new Response("ok", { headers }));
      expect(response.headers.get("vary")).toBe(expected);
    }
  });

  test("the response to an anonymous request gets Cache-Control and Vary if its handler read the session", async () => {
    const { visit } = site();
    const response = await visit(handlers.get);
    expect(response.headers.get("cache-control")).toBe("private");
    expect(response.headers.get("vary")).toBe("Cookie");
  });

  test("Cache-Control and Vary are not added if the handler does not use the session", async () => {
    const { visit } = await signedIn();
    const response = await visit(() => null);
    expect([response.headers.get("cache-control"), response.headers.get("vary")]).toEqual([null, null]);
  });
});

describe("the option persistent", () => {
  test.each([
    [undefined, 2_592_000],
    ["none", 34_560_000],
    ["1h", 3600],
    ["400d", 34_560_000],
    ["34560001s", 34_560_000],
  ] as const)(
    "a persistent cookie of a session with absoluteTimeout %s has Max-Age=%d",
    async (absoluteTimeout, maxAge) => {
      const { visit } = site({ persistent: true }, { absoluteTimeout });
      const response = await visit((session) => session.create({}));
      expect(setCookies(response)[0]).toContain(`; Max-Age=${maxAge};`);
    },
  );

  test("a rotation does not extend a persistent cookie", async () => {
    const { visit, advance } = await signedIn({ persistent: true }, { absoluteTimeout: 3600 });
    advance(600.5);
    const response = await visit((session) => session.rotate());
    expect(setCookies(response)[0]).toContain("; Max-Age=3000;");
  });

  test("a persistent cookie lasts as long as the session's own absoluteTimeout, also after rotations", async () => {
    const { visit, advance } = site({ persistent: true }, { absoluteTimeout: 3600 });
    const created = await visit((session) => session.create({}, { idleTimeout: 600, absoluteTimeout: 900 }));
    expect(setCookies(created)[0]).toContain("; Max-Age=900;");
    for (const left of [600, 300]) {
      advance(300);
      expect(setCookies(await visit((session) => session.rotate()))[0]).toContain(`; Max-Age=${left};`);
    }
    advance(300);
    expect(setCookies(await visit((session) => session.rotate()))).toEqual([]);
  });

  test("a cookie has no Max-Age if persistent is false or not set", async () => {
    for (const options of [{}, { persistent: false }, { persistent: undefined }]) {
      const { visit } = site(options);
      expect(setCookies(await visit((session) => session.create({})))[0]).not.toContain("Max-Age");
    }
  });

  test("a persistent function is called with the session each time a cookie is written", async () => {
    const rule = ({ data }: Session<Visit>) => data.theme === "dark";
    const { visit } = site({ persistent: rule }, { absoluteTimeout: 3600 });
    const created = await visit((session) => session.create({ theme: "dark" }));
    const rotated = await visit((session) => session.rotate());
    const changed = await visit((session) => session.rotate({ patch: { theme: "light" } }));
    const lasting = [created, rotated, changed].map((response) => setCookies(response)[0]?.includes("Max-Age=3600"));
    expect(lasting).toEqual([true, true, false]);
  });

  test("a session is destroyed if the persistent function throws", async () => {
    const { handle, backend } = site({
      persistent: () => {
        throw new Error("rule");
      },
    });
    const answer = handle(request(), async (session) => {
      await session.create({});
      return new Response();
    });
    await expect(answer).rejects.toThrow("the option persistent threw an error");
    await expect(answer).rejects.toMatchObject({ cause: { message: "rule" } });
    expect(await keysOf(backend)).toEqual([]);
  });

  test.each([
    ["a promise", async () => false],
    ["undefined", () => undefined],
    ["a text", () => "yes"],
  ])("a function persistent that returns %s is a TypeError, and the session is destroyed", async (_, persistent) => {
    const { handle, backend } = site({ persistent: persistent as never });
    const answer = handle(request(), async (session) => {
      await session.create({});
      return new Response();
    });
    await expect(answer).rejects.toThrow("as persistent must return true or false: received ");
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a session is destroyed and no cookie is set if the persistent function throws and the handler ignores the error", async () => {
    const { handle, backend } = site({
      persistent: () => {
        throw new Error("rule");
      },
    });
    const response = await handle(request(), async (session) => {
      await session.create({}).catch(() => {});
      return new Response();
    });
    expect(setCookies(response)).toEqual([]);
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("backend failures", () => {
  const calls: readonly (readonly [string, Handler, BackendMethod])[] = [
    ["get", (session) => session.get(), "read"],
    ["peek", (session) => session.peek(), "read"],
    ["create", (session) => session.create({}), "insert"],
    ["update", (session) => session.update({}), "write"],
    ["increment", (session) => session.increment("pageViews"), "increment"],
    ["take", (session) => session.take("flash"), "write"],
    ["setIdleTimeout", (session) => session.setIdleTimeout(60), "write"],
    ["rotate", (session) => session.rotate(), "write"],
    ["destroy", (session) => session.destroy(), "remove"],
  ];

  test.each(calls)(
    "a backend failure during %s is answered with 503 and does not change the cookie",
    async (_, handler, method) => {
      const { backend, broken } = failing();
      const { visit, jar, cookie, store, token } = await signedIn({}, { backend });
      broken.add(method);
      const response = await visit(handler);
      expect(response.status).toBe(503);
      expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(response.headers.get("cache-control")).toBe("no-store");
      expect(setCookies(response)).toEqual([]);
      expect(jar.cookie).toBe(cookie);
      broken.clear();
      expect(await store.get(token)).not.toBeNull();
    },
  );

  test("a handler can catch a backend error and respond normally", async () => {
    const { backend, broken, error } = failing();
    const { visit } = await signedIn({}, { backend });
    broken.add("read");
    const response = await visit((session) => expect(session.get()).rejects.toBe(error));
    expect(response.status).toBe(200);
    expect(setCookies(response)).toEqual([]);
  });

  test("onBackendError replaces the 503 response", async () => {
    const { backend, broken, error } = failing();
    const seen: unknown[] = [];
    const { handle, jar } = await signedIn(
      {
        async onBackendError(failure, asked) {
          const { method, url, path } = asked;
          seen.push(failure, { method, url, path, cookie: asked.header("cookie") });
          return new Response("later", { status: 500 });
        },
      },
      { backend },
    );
    broken.add("read");
    const asked = jar.request();
    const response = await handle(asked, async (session) => {
      await session.get();
      return new Response();
    });
    expect(response.status).toBe(500);
    expect(seen).toEqual([error, { method: "GET", url: asked.url, path: "/", cookie: jar.cookie }]);
    expect([...response.headers.keys()]).not.toContain("set-cookie");
  });

  test("a session created before a backend failure is destroyed, and its cookie is not sent", async () => {
    const { backend, inner, broken } = failing();
    const { visit, jar } = site({}, { backend });
    const response = await visit(async (session) => {
      await session.create({});
      broken.add("write");
      await session.update({ theme: "dark" });
    });
    expect(response.status).toBe(503);
    expect(setCookies(response)).toEqual([]);
    expect(jar.cookie).toBeNull();
    expect(await keysOf(inner)).toEqual([]);
  });

  test("the response is 503 even if destroying the created session fails, too", async () => {
    const { backend, broken } = failing();
    const { visit } = site({}, { backend });
    const response = await visit(async (session) => {
      await session.create({});
      broken.add("write").add("remove");
      await session.update({ theme: "dark" });
    });
    expect(response.status).toBe(503);
  });

  test("a backend call that times out is answered with 503 and never treated as a missing session", async () => {
    const backend = { ...memoryBackend(), read: () => new Promise<never>(() => {}) };
    const { visit, events } = await signedIn({}, { backend, operationTimeout: "20ms" });
    const response = await visit((session) => session.get());
    expect(response.status).toBe(503);
    expect(events).toMatchObject([{ type: "unavailable", error: { reason: "timeout" } }]);
  });
});

describe("handlers that throw", () => {
  const thrown = new Error("handler");

  test.each<[string, Handler]>([
    ["created", (session) => session.create({})],
    ["rotated", (session) => session.rotate()],
    ["created and rotated", async (session) => [await session.create({}), await session.rotate()]],
  ])(
    "a session that the handler %s is destroyed if the handler throws, and its error is passed on",
    async (_, handler) => {
      const { visit, backend, jar, cookie } = await signedIn();
      const answer = visit(async (session) => {
        await handler(session);
        throw thrown;
      });
      await expect(answer).rejects.toBe(thrown);
      expect(await keysOf(backend)).toEqual([]);
      expect(jar.cookie).toBe(cookie);
    },
  );

  test("a session that is still being created when the handler throws is destroyed", async () => {
    const held = gate();
    const { handle, store } = site(
      {},
      { backend: intercept(memoryBackend(), (method) => (method === "insert" ? held.passed : undefined)) },
    );
    let creating: Promise<unknown> = Promise.resolve();
    const answer = handle(request(), async (session) => {
      creating = session.create({});
      await Promise.all([creating, Promise.reject(thrown)]);
      return new Response();
    });
    await expect(answer).rejects.toBe(thrown);
    held.open();
    await expect(creating).rejects.toThrow(TypeError);
    for await (const session of store.scan()) expect.fail(`There is a session ${session.id}`);
  });

  test("an update remains stored if the handler throws afterwards", async () => {
    const { visit, store, token } = await signedIn();
    const answer = visit(async (session) => {
      await session.update({ theme: "dark" });
      throw thrown;
    });
    await expect(answer).rejects.toBe(thrown);
    expect((await store.get(token))?.data.theme).toBe("dark");
  });

  test.each(["a string", new Response("thrown"), undefined])(
    "a thrown value that is not an error is passed on: %s",
    async (value) => {
      const { handle } = site();
      const answer = handle(request(), () => {
        throw value;
      });
      expect(await answer.catch((error: unknown) => error)).toBe(value);
    },
  );
});

describe("the session object after the response", () => {
  test("create and rotate are rejected after the response, and the session is kept", async () => {
    const { visit, store, token, backend } = await signedIn();
    let kept: RequestSession<Visit, NewVisit> | undefined;
    await visit((session) => {
      kept = session;
    });
    const keys = await keysOf(backend);
    await expect(kept?.rotate()).rejects.toThrow(TypeError);
    await expect(kept?.create({})).rejects.toThrow(TypeError);
    expect(await keysOf(backend)).toEqual(keys);
    expect(await store.get(token)).not.toBeNull();
  });
});

describe("data that does not fit the schema", () => {
  /** A site whose browser has a session that was stored by a version of the program with another schema. */
  async function outdated() {
    const base = await signedIn();
    const events: SessionEvent[] = [];
    const schema = z.object({ userId: z.literal("admin"), flash: z.number().optional(), pageViews: z.number() });
    const store = createSessionStore({
      schema,
      backend: base.backend,
      now: base.clock.now,
      onEvent: (event) => events.push(event),
    });
    return { ...base, events, handle: sessionMiddleware(store), newer: store };
  }

  test("a stored session that does not fit the schema is read as null, reported and kept", async () => {
    const { handle, jar, events, store, token } = await outdated();
    const response = await handle(jar.request(), async (session) => {
      expect(await session.get()).toBeNull();
      expect(await session.peek()).toBeNull();
      expect(await session.take("flash")).toBeNull();
      return new Response();
    });
    expect(response.status).toBe(200);
    expect(setCookies(response)).toEqual([]);
    expect(new Set(events.map((event) => event.type))).toEqual(new Set(["invalid"]));
    expect((await store.get(token))?.data).toMatchObject({ userId: "42", flash: "hi" });
  });

  test("a login replaces a stored session that does not fit the schema", async () => {
    const { handle, jar, newer, store, token } = await outdated();
    jar.receive(
      await handle(jar.request(), async (session) => {
        await session.create({ userId: "admin", pageViews: 0 });
        return new Response();
      }),
    );
    expect((await newer.get(tokenOf(jar.cookie)))?.data.userId).toBe("admin");
    expect(await store.get(token)).toBeNull();
  });

  test("a logout destroys a stored session that does not fit the schema", async () => {
    const { handle, jar, store, token } = await outdated();
    jar.receive(
      await handle(jar.request(), async (session) => {
        expect(await session.destroy()).toBe(true);
        return new Response();
      }),
    );
    expect(jar.cookie).toBeNull();
    expect(await store.get(token)).toBeNull();
  });

  test("an update with data that does not fit the schema is rejected", async () => {
    const { visit } = await signedIn();
    const answer = visit((session) => session.update({ theme: "blue" as never }));
    await expect(answer).rejects.toMatchObject({ name: "SessionDataError", origin: "given" });
  });
});

describe("the same request object", () => {
  test("a request object can be handled again after its response", async () => {
    const { handle, cookie } = await signedIn();
    const asked = request(cookie);
    for (let time = 0; time < 2; time++) {
      const response = await handle(asked, async (session) => Response.json((await session.get())?.data.userId));
      expect(await response.json()).toBe("42");
    }
  });
});

describe("sessionExchange", () => {
  test("sessionExchange takes the parts of a request and returns the response headers to set", async () => {
    const { store } = visits();
    const exchangeOf = sessionExchange(store, { persistent: true });
    const first = exchangeOf(requestParts());
    const created = await first.session.create({ userId: "42" });
    const [setCookie, ...others] = first.finish(new Headers());
    expect(setCookie?.[0]).toBe("Set-Cookie");
    expect(setCookie?.[1]).toContain("; Max-Age=2592000;");
    expect(others).toEqual([
      ["Cache-Control", "no-store"],
      ["Vary", "Cookie"],
    ]);

    const second = exchangeOf(requestParts(setCookie?.[1]?.split(";")[0]));
    expect(await second.session.get()).toEqual(created);
    expect(second.finish(new Headers({ vary: "Accept", "cache-control": "private, no-cache" }))).toEqual([
      ["Vary", "Accept, Cookie"],
    ]);
  });

  test("the finish method of an exchange does not modify the given headers", async () => {
    const { store } = visits();
    const { session, finish } = sessionExchange(store)(requestParts());
    await session.create({});
    const answer = new Headers({ "cache-control": "public" });
    finish(answer);
    expect([...answer]).toEqual([["cache-control", "public"]]);
  });

  test("the finish method of an exchange returns no headers if the session was not used", () => {
    const { store } = visits();
    expect(sessionExchange(store)(requestParts("__Host-Http-sid=x")).finish(new Headers())).toEqual([]);
  });

  test("the abandon method of an exchange destroys a session created in it and no other session", async () => {
    const { store, backend } = visits();
    const exchangeOf = sessionExchange(store);
    const { token, session: kept } = await store.create({});
    const reading = exchangeOf(requestParts(`__Host-Http-sid=${token}`));
    await reading.session.get();
    await reading.abandon();
    const creating = exchangeOf(requestParts());
    await creating.session.create({});
    expect(await keysOf(backend)).toHaveLength(2);
    await creating.abandon();
    await creating.abandon();
    expect(await keysOf(backend)).toEqual([kept.id]);
    expect(creating.finish(new Headers()).map(([name]) => name)).not.toContain("Set-Cookie");
  });

  test("sessionExchange works with a store that uses plainIds", async () => {
    const { store } = visits({ plainIds: true });
    const exchangeOf = sessionExchange(store);
    const { session, finish } = exchangeOf(requestParts());
    const { id } = await session.create({});
    const [, line = ""] = finish(new Headers())[0] ?? [];
    expect(tokenOf(line)).toHaveLength(43);
    expect((await exchangeOf(requestParts(line.split(";")[0])).session.get())?.id).toBe(id);
  });
});
