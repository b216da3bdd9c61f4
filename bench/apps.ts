import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import process from "node:process";
import { createClient } from "redis";
import { createSessionStore, memoryBackend, type RequestSession, sessionMiddleware } from "../src/index.ts";
import { connectRedis, redisBackend } from "../src/redis/index.ts";
import { type Visitor, visitor, visitorOf } from "./data.ts";

/**
 * Starts one application, implemented with one of the session libraries, and returns its port. `POST /login` creates a
 * session, `GET /read` returns the name in it, `POST /count` increments a counter in it and returns the number.
 *
 * Command line: `apps.ts <application> <"memory" or the URL of Redis>`. Prints the port.
 */
type App = (where: string) => Promise<number>;
type Fetch = (request: Request) => Response | Promise<Response>;

const SECRET = "0123456789abcdef0123456789abcdef";
const PREFIX = "zession-bench:";
const IDLE_SECONDS = 1800;
let logins = 0;

/** Exists only on Deno. */
declare const Deno: {
  serve(options: { port: number; hostname: string; onListen(at: { port: number }): void }, fetch: Fetch): unknown;
};

const connected = (where: string) => createClient({ url: where }).connect();

async function onNode(fetch: Fetch): Promise<number> {
  const { serve } = await import("@hono/node-server");
  return await new Promise((ready) => {
    serve({ fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) => ready(port));
  });
}

async function onDeno(fetch: Fetch): Promise<number> {
  return await new Promise((ready) => {
    Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: ({ port }) => ready(port) }, fetch);
  });
}

/** Serves with the web server of the current runtime. */
async function onOwn(fetch: Fetch): Promise<number> {
  const { bun, deno } = process.versions as Record<string, string>;
  if (bun) return Bun.serve({ fetch, port: 0, hostname: "127.0.0.1" }).port as number;
  return await (deno ? onDeno(fetch) : onNode(fetch));
}

const route = (request: Request): string => request.url.slice(request.url.lastIndexOf("/"));

/** A server without sessions: the upper bound for the others. */
const bare: App = () => {
  let visits = 0;
  return onOwn((request) =>
    Response.json(route(request) === "/count" ? { visits: ++visits } : { name: visitorOf(0).name }),
  );
};

function zession(mode: "" | "interval" | "near" = ""): App {
  return async (where) => {
    const isNear = mode === "near";
    const backend =
      where === "memory"
        ? memoryBackend()
        : redisBackend(await connectRedis(where, { clientSideCache: isNear }), { prefix: `${PREFIX}app:` });
    const store = createSessionStore({ schema: visitor, backend, touchInterval: mode === "" ? 0 : "10m" });
    const withSession = sessionMiddleware(store, { cookie: { secure: false } });
    const routes: Record<string, (session: RequestSession<Visitor>) => Promise<unknown>> = {
      "/read": async (session) => ({ name: (await session.get())?.data.name }),
      "/count": async (session) => ({ visits: await session.increment("visits") }),
      "/login": async (session) => ({ name: (await session.create(visitorOf(logins++))).data.name }),
    };
    return await onOwn((request) =>
      withSession(request, async (session) => Response.json(await routes[route(request)]?.(session))),
    );
  };
}

/** Express, with express-session or without sessions. */
function expressSession(isExpress: boolean): App {
  return async (where) => {
    const { default: session } = await import("express-session");
    const { RedisStore } = await import("connect-redis");
    const store =
      where === "memory"
        ? new session.MemoryStore()
        : new RedisStore({ client: await connected(where), prefix: `${PREFIX}express:`, ttl: IDLE_SECONDS });
    const { default: express } = await import("express");
    const app = express();
    app.disable("x-powered-by");
    if (isExpress) app.use(session({ store, secret: SECRET, resave: false, saveUninitialized: false }));
    let visits = 0;
    app.post("/login", (req, res) => {
      Object.assign(req.session ?? {}, visitorOf(logins++));
      res.json({ name: visitorOf(0).name });
    });
    app.get("/read", (req, res) => void res.json({ name: isExpress ? held(req.session).name : visitorOf(0).name }));
    app.post("/count", (req, res) => void res.json({ visits: isExpress ? ++held(req.session).visits : ++visits }));
    return await listen(createServer(app));
  };
}

/** Types a session whose library declares no type for the data. */
const held = (session: unknown): Visitor => session as Visitor;

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return (server.address() as { port: number }).port;
}

const fastifySession: App = async (where) => {
  const { fastify } = await import("fastify");
  const { fastifyCookie } = await import("@fastify/cookie");
  const { fastifySession: session } = await import("@fastify/session");
  const { RedisStore } = await import("connect-redis");
  const store =
    where === "memory"
      ? {}
      : { store: new RedisStore({ client: await connected(where), prefix: `${PREFIX}fastify:`, ttl: IDLE_SECONDS }) };
  const app = fastify();
  await app.register(fastifyCookie);
  await app.register(session, {
    secret: SECRET,
    saveUninitialized: false,
    cookie: { secure: false },
    ...store,
  } as never);
  app.post("/login", async (request) => {
    Object.assign(request.session, visitorOf(logins++));
    return { name: visitorOf(0).name };
  });
  app.get("/read", async (request) => ({ name: held(request.session).name }));
  app.post("/count", async (request) => ({ visits: ++held(request.session).visits }));
  await app.listen({ port: 0, host: "127.0.0.1" });
  return (app.server.address() as { port: number }).port;
};

/** Stores JSON in this process or in Redis, for the three libraries below, which have no Redis store. */
async function jsonStore<Data>(where: string, name: string) {
  const map = new Map<string, string>();
  const client = where === "memory" ? null : await connected(where);
  const key = (id: string): string => `${PREFIX}${name}:${id}`;
  return {
    async get(id: string): Promise<Data | null> {
      const text = client === null ? map.get(id) : await client.get(key(id));
      return text == null ? null : (JSON.parse(text) as Data);
    },
    async set(id: string, data: Data): Promise<void> {
      const text = JSON.stringify(data);
      if (client === null) map.set(id, text);
      else await client.set(key(id), text, { expiration: { type: "EX", value: IDLE_SECONDS } });
    },
    async delete(id: string): Promise<void> {
      if (client === null) map.delete(id);
      else await client.del(key(id));
    },
  };
}

const honoSessions: App = async (where) => {
  const { Hono } = await import("hono");
  const { MemoryStore, sessionMiddleware } = await import("hono-sessions");
  const json = await jsonStore<never>(where, "hono-sessions");
  const own = {
    getSessionById: (id?: string) => json.get(id ?? ""),
    createSession: (id: string, data: never) => json.set(id, data),
    deleteSession: (id: string) => json.delete(id),
    persistSessionData: (id: string, data: never) => json.set(id, data),
  };
  const app = new Hono<{
    Variables: { session: { get(name: string): number; set(name: string, value: unknown): void } };
  }>();
  const store = where === "memory" ? new MemoryStore() : own;
  app.use("*", sessionMiddleware({ store: store as never, expireAfterSeconds: IDLE_SECONDS }) as never);
  app.post("/login", (c) => {
    for (const [name, value] of Object.entries(visitorOf(logins++))) c.get("session").set(name, value);
    return c.json({ name: visitorOf(0).name });
  });
  app.get("/read", (c) => c.json({ name: c.get("session").get("name") }));
  app.post("/count", (c) => {
    const session = c.get("session");
    session.set("visits", session.get("visits") + 1);
    return c.json({ visits: session.get("visits") });
  });
  return await onOwn(app.fetch);
};

const honoSession: App = async (where) => {
  const { Hono } = await import("hono");
  const { useSession, useSessionStorage } = await import("@hono/session");
  const json = await jsonStore<Visitor>(where, "hono-session");
  const app = new Hono<{ Variables: { session: { get(): Promise<Visitor>; update(data: Visitor): Promise<void> } } }>();
  app.use("*", useSessionStorage(json as never) as never);
  app.use("*", useSession({ secret: SECRET, generateId: randomUUID }) as never);
  app.post("/login", async (c) => {
    await c.get("session").update(visitorOf(logins++));
    return c.json({ name: visitorOf(0).name });
  });
  app.get("/read", async (c) => c.json({ name: (await c.get("session").get())?.name }));
  app.post("/count", async (c) => {
    const session = c.get("session");
    const data = await session.get();
    await session.update({ ...data, visits: data.visits + 1 });
    return c.json({ visits: data.visits + 1 });
  });
  return await onOwn(app.fetch);
};

const reactRouter: App = async (where) => {
  const { createMemorySessionStorage, createSessionStorage } = await import("react-router");
  const json = await jsonStore<object>(where, "react-router");
  const cookie = { name: "sid", secrets: [SECRET], httpOnly: true, sameSite: "lax" as const, path: "/" };
  const storage =
    where === "memory"
      ? createMemorySessionStorage({ cookie })
      : createSessionStorage({
          cookie,
          async createData(data) {
            const id = randomUUID();
            await json.set(id, data);
            return id;
          },
          readData: (id) => json.get(id) as never,
          updateData: (id, data) => json.set(id, data),
          deleteData: (id) => json.delete(id),
        });
  return await onOwn(async (request) => {
    const session = await storage.getSession(request.headers.get("cookie"));
    if (route(request) === "/read") return Response.json({ name: session.get("name") });
    if (route(request) === "/count") session.set("visits", session.get("visits") + 1);
    else for (const [name, value] of Object.entries(visitorOf(logins++))) session.set(name, value);
    const headers = { "set-cookie": await storage.commitSession(session) };
    return Response.json({ name: session.get("name"), visits: session.get("visits") }, { headers });
  });
};

const APPS: Readonly<Record<string, App>> = {
  "no sessions": bare,
  zession: zession(),
  "zession, touchInterval": zession("interval"),
  "zession, clientSideCache": zession("near"),
  express: expressSession(false),
  "express-session": expressSession(true),
  "@fastify/session": fastifySession,
  "hono-sessions": honoSessions,
  "@hono/session": honoSession,
  "react-router": reactRouter,
};

const [name = "", where = "memory"] = process.argv.slice(2);
const app = APPS[name];
if (app === undefined) {
  throw new RangeError(`Unknown application "${name}": use one of ${Object.keys(APPS).join("; ")}`);
}
console.log(await app(where));
