import { clearTimeout, setTimeout } from "node:timers";
import { knownOptions, ofType, wholeNumber } from "../base/checks.ts";
import { pause } from "../base/step.ts";
import { SessionBackendError } from "../errors.ts";
import { ACTION, credentialsOf, malformed, parseAddress, parseAddresses } from "./address.ts";
import { codeOf } from "./answers.ts";
import { listen, type RedisClient } from "./client.ts";
import { keepAlive } from "./heartbeat.ts";

/**
 * Where Redis is: `redis://`, `rediss://` (TLS) or `unix:///path/to/socket`; some nodes of a cluster; or the sentinels
 * and the name under which they know the master. A URL may hold a user and a password, and that of a single server the
 * number of a database: `redis://host/1`, `unix:///path/to/socket?db=1`.
 */
export type RedisAddress =
  | string
  | { readonly cluster: readonly string[] }
  | { readonly sentinel: { readonly name: string; readonly nodes: readonly string[] } };

/** Of `connectRedis`. */
export interface ConnectOptions {
  /** Of Redis itself; in the place of what the URL says. The URLs of sentinels hold those of the sentinels. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** For `rediss://`: what `tls.connect` of `node:tls` takes. Default: the system's certificate authorities. */
  readonly tls?:
    | {
        readonly ca?: string | undefined;
        readonly cert?: string | undefined;
        readonly key?: string | undefined;
        readonly servername?: string | undefined;
      }
    | undefined;
  /** Milliseconds until the first connection has to stand; default 10000. Later ones are tried for without end. */
  readonly connectTimeoutMs?: number | undefined;
  /**
   * Keeps what is read in this process until Redis says that it has changed (client-side caching). Pays where a store has
   * a `touchInterval`, and only there is anything read from it. Default false. Who reads something else through this
   * client gets an answer that others get too, and must not change it.
   */
  readonly clientSideCache?: boolean | undefined;
}

/** A client of node-redis. Whoever connects closes. */
export interface ConnectedRedis extends RedisClient {
  /** Waits for the answers that are due. */
  close(): Promise<unknown>;
  /** Does not. */
  destroy(): unknown;
}

interface Client extends ConnectedRedis {
  connect(): Promise<unknown>;
}

const DEFAULT_CONNECT_MS = 10_000;
const RETRY_MS = 100;
/** Of one attempt. */
const ATTEMPT_MS = 2000;
/** A server that is back is noticed within this. */
const MAX_BACKOFF_MS = 1000;
/** Of a cluster's topology, after a connection broke. */
const TOPOLOGY_REFRESH_MS = 100;
/** Between two looks at who the sentinels' master is. */
const SCAN_MS = 2000;
/** Silence after which a connection is given up that the client has asked for a sign of life. */
const SILENCE_MS = 3000;
const PING_MS = 1000;
const UNTIMED = { timeout: 0 };
/** Sessions kept nearby: some tens of megabytes. */
const CACHE_ENTRIES = 10_000;
/** Replies to the handshake that no later attempt makes better. */
const REFUSALS: readonly string[] = ["WRONGPASS", "NOAUTH", "NOPERM"];

/**
 * A connected client of node-redis with the settings that sessions need:
 *
 * - `disableOfflineQueue`: what is asked while there is no connection fails at once. In a queue it would leave when its
 *   request was answered long ago.
 * - `reconnectStrategy`: at most a second between attempts, without end. The default gives up for good on a socket that
 *   was silent. A master behind sentinels is asked for anew instead: at its old address there may be an empty replica.
 * - `connectTimeout`: 2 s for an attempt, so that an address that swallows packets does not hold up the next one.
 * - `socketTimeout`, with a PING each second: a connection that is silent for 3 s is made anew, also while commands are
 *   being written to it (by a heartbeat of our own). TCP alone takes a quarter of an hour.
 * - `commandOptions: { timeout: 0 }` (not behind sentinels): node-redis's own limit of 5 s, which is later than the
 *   store's, ends only what it has not written yet, and costs a timer for each command: a fifth of its throughput.
 * - cluster, `topologyRefreshOnReconnectionAttemptStrategy: 100`: a master that is lost is looked for after 100 ms, not 5 s.
 * - sentinel, `maxCommandRediscovers: 0`: a command whose answer was lost is not sent again, which would count an
 *   increment twice. `scanInterval: 2000`: a new master is found within 2 s, also if its announcement was missed.
 * - no `useReplicas`, no `replicaPoolSize`: a replica may not have heard of a logout yet.
 *
 * A server that has become a replica is left for whichever its address now leads to.
 *
 * @throws {TypeError} If the address or an option is malformed. The message does not repeat it, as it may hold a password.
 * @throws {SessionBackendError} `unavailable` if no connection stands in time, `rejected` if the server refuses the
 * credentials.
 */
export async function connectRedis(address: RedisAddress, options: ConnectOptions = {}): Promise<ConnectedRedis> {
  const names = ["username", "password", "tls", "connectTimeoutMs", "clientSideCache"] as const;
  const { connectTimeoutMs = DEFAULT_CONNECT_MS, clientSideCache = false } = knownOptions(ACTION, options, names);
  ofType(ACTION, "clientSideCache", clientSideCache, "boolean");
  wholeNumber(ACTION, "connectTimeoutMs", connectTimeoutMs, 1, 2 ** 31 - 1);
  let isConnected = false;
  const make = await factoryOf(address, options, () => isConnected);
  const until = Date.now() + connectTimeoutMs;
  for (;;) {
    const client = make();
    let last: unknown;
    listen(client, (error) => {
      last = error;
    });
    try {
      await within(until - Date.now(), client.connect());
      isConnected = true;
      keepAlive(client, PING_MS, SILENCE_MS);
      return client;
    } catch (error) {
      // Not waited for: a sentinel client first lets its attempt come to an end.
      Promise.resolve(client.destroy()).catch(() => {});
      const refused = REFUSALS.includes(codeOf(error) ?? codeOf(last) ?? "");
      if (!refused && Date.now() + RETRY_MS < until) {
        await pause(RETRY_MS);
        continue;
      }
      throw new SessionBackendError(
        refused ? `Cannot ${ACTION} as it refuses the credentials` : `Cannot ${ACTION} within ${connectTimeoutMs} ms`,
        { reason: refused ? "rejected" : "unavailable", outcome: "not-applied", cause: last ?? error },
      );
    }
  }
}

/**
 * Makes clients that are not connected yet.
 *
 * @param lasts Did they once connect, so that they have to try for ever?
 */
async function factoryOf(address: RedisAddress, options: ConnectOptions, lasts: () => boolean): Promise<() => Client> {
  const redis = await import("redis");
  if (typeof address === "string") {
    const { tls, ...server } = parseAddress(address, ["redis:", "rediss:", "unix:"]);
    const credentials = credentialsOf({ ...server, ...credentialsOf(options) });
    const url = address.replace(/^([a-z]+:\/\/)[^/?#]*@/, "$1");
    return () =>
      redis.createClient({
        url,
        ...credentials,
        ...settingsOf(tls, options, lasts),
        commandOptions: UNTIMED,
        ...cacheOf(redis, options),
      }) as Client;
  }
  if (typeof address === "object" && address !== null && "cluster" in address) {
    const servers = parseAddresses(address.cluster);
    const [{ tls, ...first }] = servers;
    const defaults = { ...credentialsOf({ ...first, ...credentialsOf(options) }), ...settingsOf(tls, options, lasts) };
    const rootNodes = servers.map(({ host, port = 6379 }) => ({ socket: { host, port } }));
    const topologyRefreshOnReconnectionAttemptStrategy = TOPOLOGY_REFRESH_MS;
    return () =>
      redis.createCluster({
        rootNodes,
        defaults,
        commandOptions: UNTIMED,
        topologyRefreshOnReconnectionAttemptStrategy,
        ...cacheOf(redis, options),
      }) as Client;
  }
  if (typeof address === "object" && address !== null && "sentinel" in address) {
    const { name, nodes } = address.sentinel;
    if (typeof name !== "string" || name === "") throw malformed("sentinel.name must say how the sentinels call it");
    const servers = parseAddresses(nodes);
    const [{ tls, ...first }] = servers;
    const settings = settingsOf(tls, options, lasts);
    return () =>
      redis.createSentinel({
        name,
        sentinelRootNodes: servers.map(({ host, port = 26_379 }) => ({ host, port })),
        sentinelClientOptions: { ...credentialsOf(first), ...settings },
        // Not tried again at its old address, where it may have come back as an empty replica: the sentinels know.
        nodeClientOptions: {
          ...credentialsOf(options),
          ...settings,
          socket: { ...settings.socket, reconnectStrategy: false },
        },
        maxCommandRediscovers: 0,
        scanInterval: SCAN_MS,
        ...cacheOf(redis, options),
      }) as Client;
  }
  throw malformed("the address must be a URL, { cluster } or { sentinel }");
}

type HandleCache = Parameters<import("redis").BasicPooledClientSideCache["handleCache"]>;
type Kept = ReturnType<import("redis").BasicPooledClientSideCache["createPromiseEntry"]>;

/** The settings of every connection. */
function settingsOf(tls: boolean, options: ConnectOptions, lasts: () => boolean) {
  if (!tls && options.tls !== undefined) throw malformed("tls needs an address that begins with rediss:");
  return {
    disableOfflineQueue: true,
    pingInterval: PING_MS,
    socket: {
      connectTimeout: ATTEMPT_MS,
      socketTimeout: SILENCE_MS,
      reconnectStrategy: (retries: number, cause: Error) => (lasts() ? backoff(retries) : cause),
      ...(tls ? { ...options.tls, tls: true as const } : {}),
    },
  };
}

function cacheOf({ BasicPooledClientSideCache }: typeof import("redis"), { clientSideCache }: ConnectOptions) {
  if (!clientSideCache) return {};
  /** Without the deep copy that node-redis makes of every answer, a fifth of the time of a read: here they are only read. */
  class SharingCache extends BasicPooledClientSideCache {
    override async handleCache(...[client, parser, send, transform, types]: HandleCache): Promise<unknown> {
      const name = JSON.stringify(parser.redisArgs);
      const kept = this.get(name) as Kept | undefined;
      if (kept !== undefined) return await kept.promise;
      const answer = send().then((raw) => (transform ? transform(raw, parser.preserve, types) : raw));
      const entry = this.createPromiseEntry(client, answer);
      this.set(name, entry, parser.keys);
      answer.catch(() => entry.validate() && this.delete(name));
      return await answer;
    }
  }
  return { clientSideCache: new SharingCache({ ttl: 0, maxEntries: CACHE_ENTRIES, evictPolicy: "LRU" }) };
}

/** Half of it by chance, so that the processes of an application do not come back all at once. */
function backoff(retries: number): number {
  return Math.min(50 * 2 ** retries, MAX_BACKOFF_MS) * (0.5 + Math.random() / 2);
}

/** What settles later is not waited for. */
function within<R>(milliseconds: number, attempt: Promise<R>): Promise<R> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, Math.max(0, milliseconds), new Error("The server does not answer"));
    attempt.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
