import { readFile } from "node:fs/promises";
import { Hono } from "hono";
import { expect, test } from "vitest";
import {
  memoryBackend,
  type RequestSession,
  SessionBackendError,
  type SessionMiddleware,
  sessionMiddleware,
} from "../../src/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";
import { sessionCookies } from "./browser.ts";

type App = Hono<{ Variables: { session: RequestSession<Visit, NewVisit> } }>;

const readme = await readFile("README.md", "utf8");
const [, sample = ""] = /```ts\n(app\.use\(async \(c, next\).*?)```/s.exec(readme) ?? [];
const MENDING_LINE = "    if (c.error) throw c.error;\n";

/** Hono with the middleware of the README, on a backend that can be made to fail. */
function start(code: string) {
  let isDown = false;
  const backend = intercept(memoryBackend(), () => {
    if (isDown) throw new SessionBackendError("gone", { reason: "unavailable", outcome: "not-applied" });
  });
  const { store } = visits({ backend });
  const app: App = new Hono();
  const install = new Function("app", "withSession", code) as (
    app: App,
    withSession: SessionMiddleware<RequestSession<Visit, NewVisit>>,
  ) => void;
  install(app, sessionMiddleware(store));
  app.onError((_, c) => c.text("sorry", 500));
  app.get("/login", async (c) => {
    await c.get("session").create({ userId: "42" });
    if (c.req.query("fails")) throw new Error("handler");
    return c.text("welcome");
  });
  app.get("/down", async (c) => {
    isDown = true;
    await c.get("session").get();
    return c.text("not reached");
  });
  return { app, backend, store };
}

async function failures({ app, backend, store }: ReturnType<typeof start>) {
  const failed = await app.request("/login?fails=1");
  const kept = (await keysOf(backend)).length;
  const { token } = await store.create({ userId: "42" });
  const down = await app.request("/down", { headers: { cookie: `__Host-Http-sid=${token}` } });
  return { statuses: [failed.status, down.status], cookies: sessionCookies(failed).length, kept };
}

test("the README's middleware for Hono sends the cookie of a login, once", async () => {
  const response = await start(sample).app.request("/login");
  expect([response.status, await response.text()]).toEqual([200, "welcome"]);
  expect(sessionCookies(response)).toHaveLength(1);
});

test("the README's middleware for Hono answers 503 to a backend failure and ends a session whose handler failed", async () => {
  expect(await failures(start(sample))).toEqual({ statuses: [500, 503], cookies: 0, kept: 0 });
});

test("without the line that throws c.error, both failures get 500 and the session's cookie is sent", async () => {
  expect(sample).toContain(MENDING_LINE);
  const without = start(sample.replace(MENDING_LINE, ""));
  expect(await failures(without)).toEqual({ statuses: [500, 500], cookies: 1, kept: 1 });
});
