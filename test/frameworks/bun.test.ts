import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sessionMiddleware } from "../../src/index.ts";
import { visits } from "../support/visits.ts";
import { browser, COOKIE, listOf, sessionCookies } from "./browser.ts";

/** The part of Bun's types that is used here. */
interface BunRequest extends Request {
  readonly cookies: {
    set(name: string, value: string, options?: { httpOnly?: boolean; secure?: boolean }): void;
    delete(name: string): void;
  };
}
interface BunRuntime {
  serve(options: { port: number; routes: Record<string, (request: BunRequest) => Promise<Response>> }): {
    readonly url: URL;
    stop(force: boolean): Promise<void>;
  };
}

const { Bun } = globalThis as { Bun?: BunRuntime };

describe.skipIf(Bun === undefined)("Bun.serve with routes and request.cookies", () => {
  const { store } = visits();
  const withSession = sessionMiddleware(store);
  let server: ReturnType<BunRuntime["serve"]>;

  beforeAll(() => {
    const login = (change: (request: BunRequest) => void) => (request: BunRequest) =>
      withSession(request, async (session) => {
        await session.create({ userId: "42" });
        change(request);
        return new Response("ok");
      });
    server = Bun!.serve({
      port: 0,
      routes: {
        "/login": login(() => {}),
        "/login-with-theme": login(({ cookies }) => cookies.set("theme", "dark")),
        "/login-with-plain-own": login(({ cookies }) => cookies.set(COOKIE, "chosen")),
        "/login-with-own": login(({ cookies }) => cookies.set(COOKIE, "chosen", { secure: true, httpOnly: true })),
        "/login-with-delete": login(({ cookies }) => cookies.delete(COOKIE)),
        "/theme": (request) =>
          withSession(request, async (session) => {
            const current = await session.get();
            request.cookies.set("theme", "dark");
            return Response.json(current?.data.userId ?? null);
          }),
        "/rotate-with-theme": (request) =>
          withSession(request, async (session) => {
            request.cookies.set("theme", "dark");
            const rotated = await session.rotate();
            return Response.json(rotated?.data.userId ?? null);
          }),
      },
    });
  });
  afterAll(() => server?.stop(true));

  const client = () => browser(server.url.href);
  const THEME = expect.stringMatching(/^theme=dark;/);
  const SESSION = expect.stringMatching(new RegExp(`^${COOKIE}=[\\w.-]{66};`));

  test("a cookie that a handler sets through request.cookies is sent together with the session cookie", async () => {
    const visitor = client();
    const response = await visitor.visit("/login-with-theme", { method: "POST" });
    expect(response.headers.getSetCookie().toSorted()).toEqual([SESSION, THEME]);
    expect(listOf(response, "cache-control")).toEqual(["no-store"]);
    expect(await (await visitor.visit("/theme")).json()).toBe("42");
  });

  test("a cookie that a handler sets through request.cookies is sent together with the cookie of a rotation", async () => {
    const visitor = client();
    await visitor.visit("/login", { method: "POST" });
    const before = visitor.cookie;
    const response = await visitor.visit("/rotate-with-theme", { method: "POST" });
    expect(await response.json()).toBe("42");
    expect(response.headers.getSetCookie().toSorted()).toEqual([SESSION, THEME]);
    expect(visitor.cookie).not.toBe(before);
    expect(await (await visitor.visit("/theme")).json()).toBe("42");
  });

  test("a handler that only reads the session sends only the cookie that it set through request.cookies", async () => {
    const visitor = client();
    await visitor.visit("/login", { method: "POST" });
    const response = await visitor.visit("/theme");
    expect(await response.json()).toBe("42");
    expect(response.headers.getSetCookie()).toEqual([THEME]);
    expect(listOf(response, "vary")).toContain("cookie");
  });

  // Bun adds the cookies of request.cookies after the handler has returned, where no middleware can filter them.
  describe("a cookie in request.cookies with the name of the session cookie", () => {
    test("a cookie that a handler sets itself is sent after the session cookie, and the browser keeps the later one", async () => {
      const visitor = client();
      const response = await visitor.visit("/login-with-own", { method: "POST" });
      const chosen = expect.stringMatching(new RegExp(`^${COOKIE}=chosen;.*; Secure`));
      expect(sessionCookies(response)).toEqual([SESSION, chosen]);
      expect(visitor.cookie).toBe(`${COOKIE}=chosen`);
      expect(await (await visitor.visit("/theme")).json()).toBeNull();
    });

    test("a cookie that a handler sets without secure is sent, but lacks the Secure attribute that a __Host- name needs", async () => {
      const response = await client().visit("/login-with-plain-own", { method: "POST" });
      const chosen = expect.stringMatching(new RegExp(`^${COOKIE}=chosen;(?!.*Secure)`));
      expect(COOKIE).toMatch(/^__Host-/);
      expect(sessionCookies(response)).toEqual([SESSION, chosen]);
    });

    test("a handler that deletes the session cookie clears the one that was issued in the same response", async () => {
      const response = await client().visit("/login-with-delete", { method: "POST" });
      const cleared = expect.stringMatching(new RegExp(`^${COOKIE}=;.*Expires=Thu, 01 Jan 1970.*; Secure`));
      expect(sessionCookies(response)).toEqual([SESSION, cleared]);
    });
  });
});
