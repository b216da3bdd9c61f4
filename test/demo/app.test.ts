import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { demoApp } from "../../demo/app.ts";
import { memoryBackend, type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { counted } from "../support/backends.ts";
import { ownBackend } from "../support/redis.ts";

const ORIGIN = "http://localhost:8080";
const HTML = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };
const TTL_ERROR = { error: "TTL must be a whole number greater than 0." };

const redis = await ownBackend();
const storages = [
  { storage: "memory", client: "memory", prefix: "session:", backend: memoryBackend() },
  { storage: "Redis", client: "node-redis", prefix: redis.prefix, backend: redis.backend },
] as const;

afterEach(() => vi.restoreAllMocks());

describe.each(storages)("the demo app on $storage", (options) => {
  const app = demoApp({ ...options, server: "test" });

  test("the page without a session shows the login form", async () => {
    const { response, body } = await visitor(app).get("/");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(body).toContain(
      options.storage === "Redis" ? "<h1>Redis Session Store Demo</h1>" : "<h1>Session Store Demo</h1>",
    );
    expect(body).toContain(`${options.client} + test`);
    expect(body).toContain("No active session");
    expect(body).toContain('name="username" value="Andrew" maxlength="40"');
    expect(body).toContain('name="ttl" type="number" value="15" min="1"');
    expect((await visitor(app).get("/index.html")).body).toBe(body);
  });

  test("the JSON answers from login to logout match those of Redis's guides", async () => {
    const user = visitor(app);
    expect((await user.get("/session")).json()).toEqual({ authenticated: false, session: null });

    const login = await user.post("/login", "username=+Andrew+&ttl=15");
    expect(login.response.headers.get("set-cookie")).toMatch(
      /^__Host-Http-sid=.*; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
    const made = login.json();
    expect(made).toEqual({
      authenticated: true,
      session_id: expect.stringMatching(/^[\w-]{22}$/),
      session: {
        username: "Andrew",
        page_views: "1",
        created_at: made.session.created_at,
        last_accessed_at: made.session.created_at,
        session_ttl: "15",
        ttl: "15",
      },
      configured_ttl: 15,
      ttl: 15,
      page_views: 1,
      expires_at: later(made.session.created_at, 15),
      deadline: later(made.session.created_at, 3600),
    });
    expect((await user.get("/session")).json()).toMatchObject({ session_id: made.session_id, page_views: 1 });
    expect((await user.post("/increment")).json()).toMatchObject({ page_views: 2, session: { page_views: "2" } });
    expect((await user.post("/ttl", "ttl=40")).json()).toMatchObject({ configured_ttl: 40, ttl: 40, page_views: 2 });

    const old = user.cookie;
    expect((await user.post("/rotate")).json()).toMatchObject({ session_id: made.session_id, page_views: 2 });
    expect(user.cookie).not.toBe(old);

    const logout = await user.post("/logout");
    expect(logout.json()).toEqual({ authenticated: false, session: null });
    expect(logout.response.headers.get("set-cookie")).toMatch(/^__Host-Http-sid=; Max-Age=0;/);
    expect((await user.get("/session")).json()).toEqual({ authenticated: false, session: null });
    expect((await user.post("/logout")).json()).toEqual({ authenticated: false, session: null });
    user.expectNoToken();
  });

  test("the page reports each action, and its forms work without a script", async () => {
    const user = visitor(app);
    const done = async (path: string, form?: string): Promise<string> => {
      const { response } = await user.post(path, form, HTML);
      expect(response.status).toBe(303);
      const page = await user.get(response.headers.get("location") ?? "");
      return page.body;
    };
    const { storage } = options;
    const created = await done("/login", "username=%3Cb%3E%22x%22%26&ttl=30");
    expect(created).toContain(`>Session created in ${storage} and cookie issued.<`);
    expect(created).toContain("&lt;b&gt;&quot;x&quot;&amp;");
    expect(created).not.toContain("<b>");
    expect(await done("/increment")).toContain(`>Session updated in ${storage} and TTL refreshed.<`);
    expect(await done("/ttl", "ttl=50")).toContain(`>Session TTL updated in ${storage}.<`);
    const rotated = await done("/rotate");
    expect(rotated).toContain(`>Token rotated in ${storage} and cookie reissued.<`);

    const id = user.cookie?.slice("__Host-Http-sid=".length).split(".")[0];
    expect(rotated).toContain(`<code>${options.prefix}${id}</code>`);
    expect(rotated).toContain("<dt>page_views</dt><dd>2</dd>");
    expect(rotated).toContain("<dt>session_ttl</dt><dd>50</dd>");
    expect(rotated).toContain("<dt>session_verifier</dt>");
    expect(rotated).toContain("<dt>session_previous</dt>");
    expect(rotated.includes(`redis-cli HGETALL ${options.prefix}${id}`)).toBe(storage === "Redis");

    expect(await done("/logout")).toContain(`>Session deleted from ${storage} and cookie cleared.<`);
    user.expectNoToken();
  });

  test("the page does not report a created session if that session has expired", async () => {
    const user = visitor(app);
    expect((await user.get("/?status=created")).body).not.toContain("Session created");
    await user.post("/login");
    const { cookie } = user;
    await user.post("/logout");
    user.cookie = cookie;
    const { response, body } = await user.get("/?status=created");
    expect(body).toContain(">Session expired<");
    expect(response.headers.get("set-cookie")).toBeNull();
  });

  test("actions reject an expired session differently from none, and do not clear the cookie", async () => {
    const nobody = visitor(app);
    const user = visitor(app);
    await user.post("/login");
    const { cookie } = user;
    await user.post("/logout");
    user.cookie = cookie;
    for (const path of ["/increment", "/ttl", "/rotate"]) {
      const none = await nobody.post(path);
      expect([none.response.status, none.json()]).toEqual([401, { error: "No active session" }]);
      const over = await user.post(path, "ttl=5");
      expect([over.response.status, over.json()]).toEqual([401, { error: "Session expired" }]);
      expect(over.response.headers.get("set-cookie")).toBeNull();
      const page = await user.post(path, "ttl=5", HTML);
      expect(page.response.status).toBe(401);
      expect(page.body).toContain(">Session expired<");
      expect(page.body).toContain("No active session");
    }
  });

  test("a rotation makes the old token invalid, and a login ends the former session", async () => {
    const user = visitor(app);
    await user.post("/login");
    const first = user.cookie;
    await user.post("/rotate");
    const second = user.cookie;
    const before = (await user.get("/session")).json().session_id;
    await user.post("/login");
    expect((await user.get("/session")).json().session_id).not.toBe(before);
    for (const cookie of [first, second]) {
      user.cookie = cookie;
      expect((await user.get("/session")).json()).toEqual({ authenticated: false, session: null });
    }
  });

  test("a TTL must be a whole number greater than 0", async () => {
    const user = visitor(app);
    for (const ttl of ["0", "-1", "1.5", "5e2", "+5", " 5", "x", "2147483648", "99999999999"]) {
      const { response, json } = await user.post("/login", new URLSearchParams({ ttl }).toString());
      expect([ttl, response.status, json()]).toEqual([ttl, 400, TTL_ERROR]);
    }
    expect(user.cookie).toBeNull();
    await user.post("/login");
    for (const form of ["", "ttl=", "ttl=0"]) {
      const { response, json } = await user.post("/ttl", form);
      expect([form, response.status, json()]).toEqual([form, 400, TTL_ERROR]);
    }
    const page = await user.post("/ttl", "ttl=0", HTML);
    expect(page.response.status).toBe(400);
    expect(page.body).toContain(`>${TTL_ERROR.error}<`);
    expect(page.body).not.toContain("No active session");
  });

  test("a login has default values, and long names and TTLs are limited", async () => {
    const user = visitor(app);
    expect((await user.post("/login")).json()).toMatchObject({ session: { username: "Guest" }, configured_ttl: 60 });
    expect((await user.post("/login", "username=++&ttl=")).json()).toMatchObject({
      session: { username: "Guest" },
      configured_ttl: 60,
    });
    const long = await user.post(
      "/login",
      new URLSearchParams({ username: `${"x".repeat(39)}😀!`, ttl: "1" }).toString(),
    );
    expect(long.json().session.username).toBe(`${"x".repeat(39)}\uFFFD`);
    const longest = (await user.post("/login", "ttl=2147483647")).json();
    expect(longest.configured_ttl).toBe(2_147_483_647);
    expect(longest.deadline).toBe(longest.expires_at);
  });

  test("no invalid cookie crashes the app", async () => {
    const user = visitor(app);
    for (const value of ["%E0%A4%A", "x", "", '"', `${"a".repeat(22)}.${"b".repeat(43)}`, "../..", "a".repeat(43)]) {
      user.cookie = `x=%E0%A4%A; =; ;;; __Host-Http-sid=${value}`;
      for (const path of ["/", "/session"]) expect((await user.get(path)).response.status).toBe(200);
      expect((await user.post("/increment")).response.status).toBe(401);
      expect((await user.post("/logout")).response.status).toBe(200);
    }
  });

  test("the page's check whether the session has expired does not extend it", async () => {
    const { backend, calls } = counted(options.backend);
    const { now } = Date;
    let passed = 0;
    vi.spyOn(Date, "now").mockImplementation(() => now() + passed);
    const user = visitor(demoApp({ ...options, backend, server: "test" }));
    await user.post("/login");
    calls.length = 0;
    passed = 1000;
    await user.get("/?peek");
    expect(calls).toEqual(["read", "read"]);
    await user.get("/");
    expect(calls).toEqual(["read", "read", "read", "touch", "read"]);
  });
});

describe("the demo app", () => {
  const app = demoApp({ ...storages[0], server: "test" });

  test("unknown paths get 404 and wrong methods 405", async () => {
    for (const path of ["/nothing", "/session/", "/login/x", "/constructor", "//"]) {
      const { response, json } = await visitor(app).get(path);
      expect([path, response.status, json()]).toEqual([path, 404, { error: "Not found" }]);
    }
    for (const path of ["/login", "/increment", "/ttl", "/rotate", "/logout"]) {
      const { response } = await visitor(app).get(path);
      expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
    }
    for (const path of ["/", "/index.html", "/session"]) {
      const { response } = await visitor(app).post(path);
      expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    }
  });

  test("a body that is too large, broken or not a form is rejected and not read further", async () => {
    const send = (body: BodyInit, type = "application/x-www-form-urlencoded") =>
      app(new Request(`${ORIGIN}/login`, { method: "POST", body, headers: { "content-type": type }, ...STREAMING }));
    expect((await send(`username=${"x".repeat(8000)}`)).status).toBe(200);
    expect((await send(`username=${"x".repeat(8192)}`)).status).toBe(413);

    let pulled = 0;
    let cancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(1024).fill(97));
      },
      cancel() {
        cancelled = true;
      },
    });
    expect((await send(endless)).status).toBe(413);
    expect(pulled).toBeLessThan(16);
    expect(cancelled).toBe(true);

    const broken = new ReadableStream({ start: (controller) => controller.error(new Error("gone")) });
    expect((await send(broken)).status).toBe(400);
    expect((await send(new Uint8Array([97, 61, 0xff, 0xfe]))).status).toBe(400);
    expect((await send('{"ttl":5}', "application/json")).status).toBe(415);
    expect((await send("ttl=5", "text/plain")).status).toBe(415);
    expect((await send("ttl=5", "Application/X-WWW-Form-URLEncoded; charset=UTF-8")).status).toBe(200);
  });

  test("cross-origin POST requests are rejected and change nothing", async () => {
    const user = visitor(app);
    await user.post("/login");
    const refused = [
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site", origin: ORIGIN },
      { origin: "https://elsewhere.example" },
      { origin: "http://localhost:8081" },
      { origin: "null" },
    ];
    for (const headers of refused) {
      for (const path of ["/login", "/logout", "/increment"]) {
        const { response } = await user.post(path, "", headers);
        expect([response.status, response.headers.get("cache-control")]).toEqual([403, "no-store"]);
      }
    }
    expect((await user.get("/session")).json()).toMatchObject({ authenticated: true, page_views: 1 });
    for (const headers of [{ "sec-fetch-site": "same-origin" }, { "sec-fetch-site": "none" }, { origin: ORIGIN }]) {
      expect((await user.post("/increment", "", headers)).response.status).toBe(200);
    }
  });

  test("no response can be cached or framed, or run foreign scripts", async () => {
    for (const path of ["/", "/session", "/nothing"]) {
      const { headers } = (await visitor(app).get(path)).response;
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-frame-options")).toBe("DENY");
      const policy = headers.get("content-security-policy") ?? "";
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toMatch(/script-src 'sha256-[^']+'(;|$)/);
      expect(policy).not.toContain("unsafe");
    }
  });

  test("a failing storage leads to 503, and not to a page without a session", async () => {
    const down = () => {
      throw new SessionBackendError("down", { reason: "unavailable", outcome: "not-applied" });
    };
    const healthy = memoryBackend();
    let backend = healthy;
    const through: SessionBackend = { ...healthy, read: (...args) => backend.read(...args) };
    const user = visitor(demoApp({ ...storages[0], backend: through, server: "test" }));
    await user.post("/login");
    backend = { ...healthy, read: down };
    for (const path of ["/", "/session"]) {
      const { response, json } = await user.get(path);
      expect([response.status, json()]).toEqual([503, { error: "The session store does not answer." }]);
      expect(response.headers.get("retry-after")).toBe("5");
    }
  });

  test("an internal error leads to 500 without details", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const backend: SessionBackend = {
      ...memoryBackend(),
      insert: async () => {
        throw new Error("a secret");
      },
    };
    const { response, json } = await visitor(demoApp({ ...storages[0], backend, server: "test" })).post("/login");
    expect([response.status, json()]).toEqual([500, { error: "Internal Server Error" }]);
    expect(log).toHaveBeenCalledOnce();
  });
});

/** Node demands it for a streamed body; TypeScript's DOM types do not know it. */
const STREAMING = { duplex: "half" } as RequestInit;

/** A browser with cookies that records every body and token it has received. */
function visitor(app: (request: Request) => Promise<Response>) {
  const bodies: string[] = [];
  const tokens: string[] = [];
  const self = {
    cookie: null as string | null,
    get: (path: string) => send(new Request(ORIGIN + path, { headers: cookies() })),
    post: (path: string, form = "", headers: Record<string, string> = {}) =>
      send(
        new Request(ORIGIN + path, {
          method: "POST",
          headers: { ...cookies(), "content-type": "application/x-www-form-urlencoded", ...headers },
          body: form,
        }),
      ),
    expectNoToken() {
      expect(tokens.length).toBeGreaterThan(0);
      for (const token of tokens) for (const body of bodies) expect(body).not.toContain(token.split(".")[1]);
    },
  };
  const cookies = (): Record<string, string> => (self.cookie === null ? {} : { cookie: self.cookie });

  async function send(request: Request) {
    const response = await app(request);
    const body = await response.text();
    bodies.push(body);
    const set = response.headers.get("set-cookie");
    const [pair] = set?.split(";") ?? [];
    if (pair !== undefined) {
      const token = pair.slice(pair.indexOf("=") + 1);
      if (token !== "") tokens.push(token);
      self.cookie = token === "" ? null : pair;
    }
    return { response, body, json: () => JSON.parse(body) };
  }
  onTestFinished(() => self.post("/logout").then(() => {}));
  return self;
}

function later(time: string, seconds: number): string {
  return new Date(Date.parse(time) + seconds * 1000).toISOString();
}
