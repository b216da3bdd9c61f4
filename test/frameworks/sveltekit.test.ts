import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { browser, COOKIE, listOf, sessionCookies } from "./browser.ts";

/** The attributes of the only session cookie, sorted. */
function attributesOf(response: Response): string[] {
  const [line = "", ...more] = sessionCookies(response);
  expect(more).toEqual([]);
  return line.split("; ").slice(1).toSorted();
}

const START_MS = 60_000;
const CACHE = "node_modules/.cache";
const SERVE = `${import.meta.dirname}/sveltekit/serve.ts`;

/** Builds the application below node_modules, where its packages are found, and runs it in a process of its own. */
async function startApp(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  await mkdir(CACHE, { recursive: true });
  const cwd = await mkdtemp(`${CACHE}/sveltekit-`);
  const child: ChildProcess = spawn(process.execPath, [SERVE], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  let output = "";
  const url = await new Promise<string>((resolve, reject) => {
    const take = (chunk: unknown): void => {
      output += chunk;
      const [, found] = /Listening on (\S+)/.exec(output) ?? [];
      if (found !== undefined) resolve(found);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`The application ended with ${code}: ${output}`)));
  });
  return {
    url,
    async stop() {
      process.off("exit", kill);
      kill();
      await rm(cwd, { recursive: true, force: true });
    },
  };
}

describe("SvelteKit with the session middleware in the handle hook", () => {
  let app: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    app = await startApp();
  }, START_MS);
  afterAll(() => app?.stop());

  type Client = ReturnType<typeof browser>;

  async function signedIn(): Promise<Client> {
    const client = browser(app.url);
    await client.visit("/api/login", { method: "POST" });
    expect(await userOf(client)).toBe("42");
    return client;
  }

  async function userOf(client: Client): Promise<unknown> {
    return await (await client.visit("/api/me")).json();
  }

  /** The user that this cookie authenticates, even if the browser no longer has it. */
  async function userWith(cookie: string | null): Promise<unknown> {
    const response = await fetch(new URL("/api/me", app.url), { headers: { cookie: cookie ?? "" } });
    return await response.json();
  }

  /** Ways in which a page can request its own application: from its `load` function, or from a form action. */
  const ways = {
    load: (client: Client, acts: string) => client.visit(`/load/${acts}`),
    "load, after a read by the page": (client: Client, acts: string) =>
      client.visit(`/load/${acts}${acts.includes("?") ? "&" : "?"}read`),
    "load as data": (client: Client, acts: string) => client.visit(`/load/${acts.replace(/(\?|$)/, "/__data.json$1")}`),
    action: (client: Client, acts: string) =>
      client.visit(`/submit/${acts}`, {
        method: "POST",
        headers: { accept: "text/html" },
        body: new URLSearchParams({ a: "b" }),
      }),
  };

  describe.each(Object.keys(ways) as (keyof typeof ways)[])("requests through event.fetch in %s", (way) => {
    const visit = ways[way];

    test("the browser receives the session cookie of a first login", async () => {
      const client = browser(app.url);
      const response = await visit(client, "login");
      expect(response.status).toBe(200);
      expect(await response.text()).toContain("42");
      const direct = await browser(app.url).visit("/api/login", { method: "POST" });
      expect(attributesOf(response)).toEqual(attributesOf(direct));
      expect(attributesOf(response)).toContain("HttpOnly");
      expect(listOf(response, "cache-control")).toContain("no-store");
      expect(await userOf(client)).toBe("42");
    });

    test("20 concurrent logins get their own sessions", async () => {
      const users = Array.from({ length: 20 }, (_, at) => `user-${at}`);
      const seen = users.map(async (user) => {
        const client = browser(app.url);
        await visit(client, `login?user=${user}`);
        return await userOf(client);
      });
      expect(await Promise.all(seen)).toEqual(users);
    });

    test("the browser receives the new cookie of a rotated session", async () => {
      const client = await signedIn();
      const before = client.cookie;
      const response = await visit(client, "rotate");
      expect(sessionCookies(response)).toHaveLength(1);
      expect(client.cookie).not.toBe(before);
      expect(await userOf(client)).toBe("42");
      expect(await userWith(before)).toBeNull();
    });

    test("the browser receives the new cookie of a login that replaces an older session", async () => {
      const client = await signedIn();
      const before = client.cookie;
      const response = await visit(client, "login?user=43");
      expect(sessionCookies(response)).toHaveLength(1);
      expect(await userOf(client)).toBe("43");
      expect(await userWith(before)).toBeNull();
    });

    test("a logout clears the cookie in the browser", async () => {
      const client = await signedIn();
      const before = client.cookie;
      const response = await visit(client, "logout");
      expect(sessionCookies(response)).toEqual([expect.stringContaining("Max-Age=0")]);
      expect(client.cookie).toBeNull();
      expect(await userWith(before)).toBeNull();
    });

    test("a second request sees the session that the first one created", async () => {
      const client = browser(app.url);
      const response = await visit(client, "login/me");
      expect(await response.text()).toContain("42,42");
      expect(await userOf(client)).toBe("42");
    });

    test("the browser receives only the last of several session cookies", async () => {
      const client = browser(app.url);
      const response = await visit(client, "login/rotate/rotate");
      expect(sessionCookies(response)).toHaveLength(1);
      expect(await userOf(client)).toBe("42");
    });

    test("a login and a logout on the same page leave no session behind", async () => {
      const client = browser(app.url);
      const response = await visit(client, "login/logout");
      expect(await response.text()).toContain("42,true");
      expect(client.cookie).toBeNull();
    });

    test("a request that only reads the session sets no cookie", async () => {
      const client = await signedIn();
      const response = await visit(client, "me");
      expect(await response.text()).toContain("42");
      expect(response.headers.getSetCookie()).toEqual([]);
    });
  });

  test("a redirect that an action throws after a login through event.fetch carries the session cookie", async () => {
    const client = browser(app.url);
    const response = await ways.action(client, "login?redirect");
    expect(response.status).toBe(303);
    expect(response.headers.get("location")).toBe("/");
    expect(sessionCookies(response)).toHaveLength(1);
    expect(await userOf(client)).toBe("42");
  });

  test("a session cookie that a page sets by itself does not reach the browser, but other cookies do", async () => {
    const victim = await signedIn();
    const token = (victim.cookie ?? "").slice(COOKIE.length + 1);
    const client = browser(app.url);
    const forged = await client.visit(`/forge?name=${COOKIE}&value=${token}`);
    expect(forged.status).toBe(200);
    expect(forged.headers.getSetCookie()).toEqual([]);
    const other = await client.visit("/forge?name=theme&value=dark");
    expect(other.headers.getSetCookie()).toEqual([expect.stringMatching(/^theme=dark;/)]);
  });
});
