import { createServer } from "node:http";
import process from "node:process";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import { importVersion, type Version } from "./baseline.ts";
import { EXPRESS_COOKIE, visitor, visitorOf } from "./data.ts";

/**
 * Starts one application on the web server of the current runtime and prints its port. `GET /` returns the name and the
 * user of the session in the cookie. `GET /tokens` returns the tokens of the sessions, which are created at the start.
 * `GET /cpu` returns the processor time of the process and its threads, in microseconds.
 *
 * Command line: `apps.ts <application> <URL of Redis> <number of sessions>`
 */
interface App {
  create(number: number): Promise<string>;
  read(token: string): Promise<unknown>;
}

/** Exists only on Deno. */
declare const Deno: {
  serve(options: object, fetch: (request: Request) => Promise<Response>): unknown;
};

const PREFIX = "zession-bench:";
const IDLE_SECONDS = 1800;
const COOKIE = "sid=";
const HEADERS = { "content-type": "application/json" };

/** A server without sessions: the upper bound for the others. */
async function bare(): Promise<App> {
  const data = visitorOf(0);
  return { create: async () => "none", read: async () => data };
}

/** connect-redis with the commands that express-session causes for a request: GET, then EXPIRE. */
async function connectRedis(url: string): Promise<App> {
  const client = await createClient({ url }).connect();
  const store = new RedisStore({ client, prefix: `${PREFIX}connect:`, ttl: IDLE_SECONDS });
  return {
    async create(number) {
      const id = `${number}-0123456789abcdef0123456789abcdef`;
      await store.set(id, { ...visitorOf(number), cookie: EXPRESS_COOKIE } as never);
      return id;
    },
    async read(id) {
      const session = await store.get(id);
      await store.touch(id, session);
      return session;
    },
  };
}

const zession =
  (version: Version, options: { touchInterval?: number } = {}) =>
  async (url: string): Promise<App> => {
    const { connectRedis, createSessionStore, redisBackend } = await importVersion(version);
    const backend = redisBackend(await connectRedis(url), { prefix: `${PREFIX}${version}:` });
    const store = createSessionStore({ schema: visitor, backend, ...options });
    return {
      create: async (number) => (await store.create(visitorOf(number))).token,
      read: async (token) => (await store.get(token))?.data,
    };
  };

const APPS: Readonly<Record<string, (url: string) => Promise<App>>> = {
  "no sessions": bare,
  "connect-redis": connectRedis,
  "zession 0.1.0": zession("0.1.0"),
  "zession, every read due": zession("now", { touchInterval: 0 }),
  zession: zession("now"),
};

const [name = "", url = "", sessions = "0"] = process.argv.slice(2);
const start = APPS[name];
if (start === undefined) throw new RangeError(`Unknown application "${name}": use ${Object.keys(APPS).join("; ")}`);
const app = await start(url);
const tokens: string[] = [];
for (let number = 0; number < Number(sessions); number++) tokens.push(await app.create(number));

async function answer(path: string, cookie: string): Promise<string> {
  if (path === "/tokens") return JSON.stringify(tokens);
  if (path === "/cpu") {
    const { user, system } = process.cpuUsage();
    return String(user + system);
  }
  const { name, userId } = (await app.read(cookie.slice(COOKIE.length))) as { name: string; userId: string };
  return JSON.stringify({ name, userId });
}

async function fetch({ url, headers }: Request): Promise<Response> {
  const body = await answer(url.slice(url.lastIndexOf("/")), headers.get("cookie") ?? "");
  return new Response(body, { headers: HEADERS });
}

const { bun, deno } = process.versions as Record<string, string>;
const at = { port: 0, hostname: "127.0.0.1" };
if (bun) {
  console.log(Bun.serve({ ...at, fetch }).port);
} else if (deno) {
  Deno.serve({ ...at, onListen: ({ port }: { port: number }) => console.log(port) }, fetch);
} else {
  const server = createServer(async (request, response) => {
    const body = await answer(request.url ?? "", request.headers.cookie ?? "");
    response.writeHead(200, { ...HEADERS, "content-length": Buffer.byteLength(body) }).end(body);
  });
  server.listen(at, () => console.log((server.address() as { port: number }).port));
}
