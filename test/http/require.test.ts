import { describe, expect, test } from "vitest";
import { SessionRequiredError } from "../../src/index.ts";
import { keysOf } from "../support/backends.ts";
import { request, tokenOf } from "../support/http.ts";
import { setCookies, signedIn, site } from "../support/sites.ts";

describe("require", () => {
  test("require returns the session and restarts its idle timeout, like get", async () => {
    const { visit, advance, calls } = await signedIn({}, { idleTimeout: 60 });
    advance(50);
    await visit(async (session) => {
      const required = await session.require();
      expect(required.data.userId).toBe("42");
      expect(await session.get()).toBe(required);
    });
    expect(calls).toEqual(["read", "touch"]);
    advance(50);
    await visit(async (session) => expect(await session.peek()).not.toBeNull());
  });

  test.each([
    ["no cookie", ""],
    ["a malformed cookie", "__Host-Http-sid=x"],
    ["the token of an ended session", `__Host-Http-sid=${"A".repeat(22)}.${"B".repeat(43)}`],
  ])("a request with %s gets 401, which no cache stores", async (_, cookie) => {
    const { handle } = site();
    const response = await handle(request(cookie), async (session) => Response.json((await session.require()).data));
    expect([response.status, await response.text()]).toEqual([401, "Unauthorized"]);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("vary")).toBe("Cookie");
    expect(response.headers.get("www-authenticate")).toBeNull();
    expect(setCookies(response)).toEqual([]);
  });

  test("a request whose stored session does not fit the schema gets 401", async () => {
    const { handle, jar, backend, clock, events } = await signedIn();
    const [key = ""] = await keysOf(backend);
    const access = { verifier: null, previous: false, now: clock.now() };
    await backend.write(key, access, { set: { theme: "blue" }, remove: [], fields: [] });
    const response = await handle(jar.request(), async (session) => Response.json(await session.require()));
    expect(response.status).toBe(401);
    expect(events).toMatchObject([{ type: "invalid" }]);
  });

  test("the error of require names its code, and a handler can catch it", async () => {
    const { visit } = site();
    const response = await visit(async (session) => {
      const error = await session.require().catch((error) => error);
      expect(error).toBeInstanceOf(SessionRequiredError);
      expect([error.name, error.code]).toEqual(["SessionRequiredError", "ERR_SESSION_REQUIRED"]);
      expect(error.message).toBe("Cannot handle the request as it has no session");
    });
    expect(response.status).toBe(200);
  });

  test("a require that the handler does not await gets 401 as well", async () => {
    const { visit } = site();
    const response = await visit((session) => void session.require());
    expect(response.status).toBe(401);
  });

  test("a session that the request created before a missing one was required ends", async () => {
    const { visit, backend } = site();
    const response = await visit(async (session) => {
      await session.create({});
      throw new SessionRequiredError();
    });
    expect([response.status, setCookies(response)]).toEqual([401, []]);
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("onUnauthenticated", () => {
  test("onUnauthenticated replaces the 401 response, and its response is kept out of shared caches", async () => {
    const { handle } = site({
      onUnauthenticated: ({ path }) =>
        new Response(null, {
          status: 303,
          headers: { location: `/login?next=${encodeURIComponent(path)}`, "cache-control": "public" },
        }),
    });
    const asked = new Request("https://app.example/account?tab=1");
    const response = await handle(asked, async (session) => Response.json(await session.require()));
    expect([response.status, response.headers.get("location")]).toEqual([303, "/login?next=%2Faccount"]);
    expect(response.headers.get("cache-control")).toBe("private");
  });

  test("the response of onUnauthenticated carries the cookie of a rotation", async () => {
    const { visit, jar, store, cookie } = await signedIn({ onUnauthenticated: () => new Response("log in") });
    await visit(async (session) => {
      await session.rotate();
      throw new SessionRequiredError("The user has to log in again");
    });
    expect(jar.cookie).not.toBe(cookie);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test("onUnauthenticated is not called for a backend failure or another error", async () => {
    const { visit } = await signedIn({ onUnauthenticated: () => expect.fail("called") });
    await expect(
      visit(() => {
        throw new Error("handler");
      }),
    ).rejects.toThrow("handler");
  });
});
