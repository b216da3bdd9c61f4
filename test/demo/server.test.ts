import { once } from "node:events";
import { createServer } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { canRun, missingRuntime } from "../support/availability.ts";
import { freePort, startServer } from "../support/redis-server.ts";
import { ENTRIES, runDemo, startDemo } from "./start.ts";

const entries = Object.keys(ENTRIES) as (keyof typeof ENTRIES)[];

const present = entries.filter((entry) => canRun(`tests of demo/${entry}.ts`, missingRuntime(entry)));

describe.each(present)("the demo server demo/%s.ts", (entry) => {
  test("the server runs the demo in memory until SIGTERM", async () => {
    const demo = await startDemo(entry);
    expect(demo.output()).toBe(`Session store demo on memory: ${demo.url}\n`);
    await visit(demo.url);
    expect(await (await fetch(demo.url)).text()).toContain("<h1>Session Store Demo</h1>");
    expect(await demo.stop("SIGTERM")).toBe(0);
    expect(demo.output()).toBe(`Session store demo on memory: ${demo.url}\n`);
  });

  test("the server runs the demo on Redis until SIGINT", async () => {
    const redis = await startServer();
    onTestFinished(() => redis.stop());
    const demo = await startDemo(entry, ["--redis-url", redis.url]);
    await visit(demo.url);
    expect(await (await fetch(demo.url)).text()).toContain("<h1>Redis Session Store Demo</h1>");
    expect(await demo.stop("SIGINT")).toBe(0);
  });

  test("the server responds to a body that is too large, and keeps running", async () => {
    const demo = await startDemo(entry);
    onTestFinished(() => demo.stop().then(() => {}));
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const response = await fetch(`${demo.url}/login`, { method: "POST", headers, body: "x".repeat(20_000) });
    expect(response.status).toBe(413);
    await visit(demo.url);
  });

  test("the server exits with a one-line error if it cannot start", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as { port: number };
    const cases = [
      { args: ["--port", "65536"], code: 2, says: 'The port must be a whole number from 0 to 65535: received "65536"' },
      { env: { PORT: "x" }, code: 2, says: 'The port must be a whole number from 0 to 65535: received "x"' },
      { args: ["--color", "red"], code: 2, says: "Unknown option '--color'" },
      { args: ["--redis-url", "http://:secret@x"], code: 2, says: "The Redis URL must look like" },
      { args: ["--redis-url", `redis://127.0.0.1:${await freePort()}`], code: 1, says: "Cannot connect to Redis" },
      { args: ["--port", `${port}`], code: 1, says: `Cannot listen on port ${port}` },
    ];
    const ends = cases.map(async ({ args = [], env, code, says }) => {
      const end = await runDemo(entry, args, env);
      expect(end).toEqual({ code, output: expect.stringContaining(says) });
      expect(end.output).toMatch(/^[^\n]+\n$/);
      expect(end.output).not.toContain("secret");
    });
    await Promise.all(ends);
  });
});

/** Visits the demo from login to logout as a browser does. */
async function visit(url: string): Promise<void> {
  const login = await fetch(`${url}/login`, {
    method: "POST",
    body: new URLSearchParams({ username: "Andrew", ttl: "30" }),
  });
  expect(login.status).toBe(200);
  const { session_id } = (await login.json()) as { session_id: string };
  const cookie = login.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  const send = (path: string, method: string) => fetch(url + path, { method, headers: { cookie } });

  expect(await (await send("/increment", "POST")).json()).toMatchObject({ session_id, page_views: 2 });
  expect(await (await send("/session", "GET")).json()).toMatchObject({ session_id, configured_ttl: 30 });
  const logout = await send("/logout", "POST");
  expect(logout.headers.getSetCookie()).toHaveLength(1);
  expect(await (await send("/session", "GET")).json()).toEqual({ authenticated: false, session: null });
}
