import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import { importVersion, type Version } from "./baseline.ts";
import { EXPRESS_COOKIE, type Shopper, shopper, shopperOf, visitor, visitorOf } from "./data.ts";

/** The size of the session data: ten small fields, or 2 KB. */
export type Size = "small" | "2 KB";

/** The operations on a session. Not every contender has all of them. */
export type Operation = "create" | "get" | "peek" | "patch" | "increment" | "rotate" | "destroy";

/** A contender that stores sessions in Redis. A handle identifies a session: a token, an ID or a key. */
export interface Peer {
  readonly name: string;
  create(number: number): Promise<string>;
  get?(handle: string): Promise<unknown>;
  peek?(handle: string): Promise<unknown>;
  patch?(handle: string): Promise<unknown>;
  increment?(handle: string): Promise<unknown>;
  /** Returns the new handle. */
  rotate?(handle: string): Promise<string>;
  destroy(handle: string): Promise<unknown>;
  close(): unknown;
}

export const PREFIX = "zession-bench:";
export const IDLE_SECONDS = 1800;
/** Keeps touches out of the measurement of the client-side cache, as each makes the next read ask Redis. */
const NEAR = { idleTimeout: 86_400, touchInterval: 600 };
const LOCALES = ["en-GB", "fr-FR"];
let turn = 0;
/** Returns another value at every call, so that each patch changes something. */
const locale = (): string => LOCALES[turn++ % 2] as string;
let created = 0;
const newId = (): string => `${created++}-0123456789abcdef0123456789abcdef`;

const dataOf = (size: Size, number: number) => (size === "small" ? visitorOf(number) : shopperOf(number));

/** Returns the data as the string fields of a hash. */
function fieldsOf(size: Size, number: number): Record<string, string> {
  const texts = Object.entries(dataOf(size, number)).map(([name, value]) => [
    name,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  return Object.fromEntries(texts);
}

/** How zession reads: with its defaults; touching at every read; or from the client-side cache. */
export type Mode = "default" | "due" | "near";

/** @param isIndexed Whether the sessions have an index, by their user. */
export async function zession(
  version: Version,
  url: string,
  size: Size,
  mode: Mode,
  isIndexed: boolean,
): Promise<Peer> {
  const { connectRedis, createSessionStore, redisBackend } = await importVersion(version);
  const client = await connectRedis(url, { clientSideCache: mode === "near" });
  const store = createSessionStore({
    schema: (size === "small" ? visitor : shopper) as typeof shopper,
    backend: redisBackend(client, { prefix: `${PREFIX}${version}:` }),
    ...(mode === "due" ? { touchInterval: 0 } : {}),
    ...(mode === "near" ? NEAR : {}),
    ...(isIndexed ? { indexes: { user: "userId" } } : {}),
  });
  return {
    name: version === "now" ? "zession" : "zession 0.1.0",
    create: async (number) => (await store.create(dataOf(size, number) as Shopper)).token,
    get: (token) => store.get(token),
    peek: (token) => store.peek(token),
    patch: (token) => store.update(token, { locale: locale() }),
    increment: (token) => store.increment(token, "visits"),
    rotate: async (token) => (await store.rotate(token))?.token ?? "",
    destroy: (token) => store.destroy(token),
    close: () => client.destroy(),
  };
}

/** Options of node-redis: without its command timeout, as `connectRedis` has it; with its client-side cache. */
const RAW = {
  raw: { commandOptions: { timeout: 0 } },
  "raw, near": { RESP: 3, clientSideCache: { maxEntries: 10_000 } },
} as const;

/** One bare command on the same hash: the upper bound for the others. */
export async function raw(url: string, size: Size, name: keyof typeof RAW = "raw"): Promise<Peer> {
  const client = await createClient({ url, ...RAW[name] } as { url: string }).connect();
  const hash = (number: number): Record<string, string> => ({
    ...fieldsOf(size, number),
    created_at: "2026-04-02T12:34:56.789Z",
    last_accessed_at: "2026-04-02T12:34:56.789Z",
    session_ttl: String(IDLE_SECONDS),
    session_verifier: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
  });
  return {
    name,
    async create(number) {
      const key = `${PREFIX}raw:${newId()}`;
      await client.hSet(key, hash(number));
      return key;
    },
    get: (key) => client.hGetAll(key),
    peek: (key) => client.hGetAll(key),
    patch: (key) => client.hSet(key, "locale", locale()),
    increment: (key) => client.hIncrBy(key, "visits", 1),
    destroy: (key) => client.del(key),
    close: () => client.destroy(),
  };
}

/** The algorithm of the guide for Node in the Redis documentation: reads the hash, then changes and touches it. */
export async function guide(url: string, size: Size): Promise<Peer> {
  const client = await createClient({ url }).connect();
  const stamp = (): string => new Date().toISOString().replace(/\.\d+Z$/, "+00:00");
  const isSession = (hash: Record<string, string>) =>
    hash["created_at"] !== undefined && hash["last_accessed_at"] !== undefined && hash["session_ttl"] !== undefined;

  async function refresh(key: string, change: (multi: ReturnType<typeof client.multi>) => unknown): Promise<unknown> {
    const hash = await client.hGetAll(key);
    if (!isSession(hash)) return null;
    const multi = client.multi();
    change(multi);
    const at = stamp();
    await multi.hSet(key, "last_accessed_at", at).expire(key, Number(hash["session_ttl"])).exec();
    return { ...hash, last_accessed_at: at };
  }

  return {
    name: "guide",
    async create(number) {
      const key = `${PREFIX}guide:${newId()}`;
      const at = stamp();
      const hash = {
        ...fieldsOf(size, number),
        created_at: at,
        last_accessed_at: at,
        session_ttl: String(IDLE_SECONDS),
      };
      await client.multi().hSet(key, hash).expire(key, IDLE_SECONDS).exec();
      return key;
    },
    get: (key) => refresh(key, () => {}),
    async peek(key) {
      const hash = await client.hGetAll(key);
      return isSession(hash) ? hash : null;
    },
    patch: (key) => refresh(key, (multi) => multi.hSet(key, "locale", locale())),
    increment: (key) => refresh(key, (multi) => multi.hIncrBy(key, "visits", 1)),
    destroy: (key) => client.del(key),
    close: () => client.destroy(),
  };
}

/**
 * connect-redis with the commands that express-session causes: a request reads and touches the whole session, or sets
 * the whole session.
 *
 * @param readsFirst Whether a change reads the session first, as a request has to.
 */
export async function connectRedisStore(url: string, size: Size, readsFirst = false): Promise<Peer> {
  const client = await createClient({ url }).connect();
  const store = new RedisStore({ client, prefix: `${PREFIX}connect:`, ttl: IDLE_SECONDS });
  const sessions = new Map<string, ReturnType<typeof sessionOf>>();
  const sessionOf = (number: number) => ({ ...dataOf(size, number), cookie: EXPRESS_COOKIE }) as never;
  const set = (id: string) => store.set(id, sessions.get(id) as never);

  async function change(id: string, how: (session: { locale: string; visits: number }) => void): Promise<void> {
    const session = readsFirst ? await store.get(id) : sessions.get(id);
    how(session);
    await store.set(id, session as never);
  }

  return {
    name: readsFirst ? "connect-redis, get first" : "connect-redis",
    async create(number) {
      const id = newId();
      sessions.set(id, sessionOf(number));
      await set(id);
      return id;
    },
    async get(id) {
      const session = await store.get(id);
      await store.touch(id, session);
      return session;
    },
    peek: (id) => store.get(id),
    patch: (id) =>
      change(id, (session) => {
        session.locale = locale();
      }),
    increment: (id) =>
      change(id, (session) => {
        session.visits++;
      }),
    async rotate(id) {
      const next = newId();
      sessions.set(next, sessions.get(id) as never);
      sessions.delete(id);
      await store.destroy(id);
      await set(next);
      return next;
    },
    destroy(id) {
      sessions.delete(id);
      return store.destroy(id);
    },
    close: () => client.destroy(),
  };
}
