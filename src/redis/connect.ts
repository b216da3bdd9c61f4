import { clearTimeout, setTimeout } from "node:timers";
import { kindOf, knownOptions, ofType } from "../base/checks.ts";
import { type Duration, milliseconds } from "../base/durations.ts";
import { pause } from "../base/step.ts";
import { SessionBackendError } from "../errors.ts";
import { ACTION, credentialsOf, malformed, parseAddress, parseAddresses } from "./address.ts";
import { listen, type RedisClient, stateOf } from "./client.ts";
import { cacheSetting } from "./client-side-cache.ts";
import { isRefusal } from "./error-codes.ts";
import { keepAlive } from "./heartbeat.ts";

/**
 * The address of Redis, in one of three forms:
 *
 * - the URL of a single server: `redis://`, `rediss://` (TLS) or `unix:///path/to/socket`;
 * - the URLs of some nodes of a cluster;
 * - the URLs of the sentinels and the name under which they know the primary.
 *
 * A URL may contain a user name and a password. The URL of a single server may also select a database:
 * `redis://host/1`, `unix:///path/to/socket?db=1`.
 */
export type RedisAddress =
  | string
  | { readonly cluster: readonly string[] }
  | { readonly sentinel: { readonly name: string; readonly nodes: readonly string[] } };

/** Options for `connectRedis`. */
export interface ConnectOptions {
  /**
   * Overrides the user name in the URL. With Sentinel, this is the user name of the Redis servers; that of the
   * sentinels goes into the sentinel URLs.
   */
  readonly username?: string | undefined;
  /** Overrides the password in the URL. With Sentinel, this is the password of the Redis servers. */
  readonly password?: string | undefined;
  /**
   * TLS options for `rediss://`, as `tls.connect` of `node:tls` takes them. Default: the certificate authorities of the
   * system.
   */
  readonly tls?:
    | {
        readonly ca?: string | undefined;
        readonly cert?: string | undefined;
        readonly key?: string | undefined;
        readonly servername?: string | undefined;
      }
    | undefined;
  /**
   * How long to try to establish the first connection. Default: `"10s"`. A connection that breaks later is retried
   * without limit.
   */
  readonly connectTimeout?: Duration | undefined;
  /**
   * Caches sessions in this process until Redis reports a change (client-side caching). Default: false. Only a store
   * with a `touchInterval` reads from the cache. If you send other commands through this client, do not modify their
   * replies: the cache shares one reply among all callers.
   */
  readonly clientSideCache?: boolean | undefined;
}

/** A connected node-redis client. The caller owns it and closes it. */
export interface ConnectedRedis extends RedisClient {
  /** Closes the connections after all pending commands have been answered. */
  close(): Promise<unknown>;
  /** Closes the connections at once. Pending commands fail. */
  destroy(): unknown;
}

interface Client extends ConnectedRedis {
  connect(): Promise<unknown>;
}

const RETRY_MS = 100;
/** The timeout of a single connection attempt. */
const ATTEMPT_MS = 2000;
/** The longest pause between two attempts, so a server that is back is noticed within this time. */
const MAX_BACKOFF_MS = 1000;
/** The interval between topology refreshes of a cluster while a connection is broken. */
const TOPOLOGY_REFRESH_MS = 100;
/** The interval at which the sentinels are asked for the primary. */
const SCAN_MS = 2000;
/** How long a connection may leave PINGs unanswered before it is replaced. */
const SILENCE_MS = 3000;
const PING_MS = 1000;
const UNTIMED = { timeout: 0 };

/**
 * Connects to Redis and returns a node-redis client with the settings that sessions need:
 *
 * - `disableOfflineQueue`: a command fails at once while there is no connection. A queue would send it later, when its
 *   request has long been answered.
 * - `reconnectStrategy`: retries without limit, at most 1 s apart. The default of node-redis stops for good after a
 *   socket timeout. With Sentinel, the client asks the sentinels again instead: the server at the old address may have
 *   come back as an empty replica.
 * - `connectTimeout`: 2 s for each attempt, so an address that drops packets does not delay the next attempt.
 * - `socketTimeout`, a PING every second and a heartbeat: a connection is replaced after 3 s without a reply, even
 *   while commands are written to it. TCP alone needs up to 15 minutes to notice.
 * - `commandOptions: { timeout: 0 }` (not with Sentinel): turns off the command timeout of node-redis. It is 5 s, later
 *   than the store's own, ends only commands that are not written yet, and costs a fifth of the throughput.
 * - `topologyRefreshOnReconnectionAttemptStrategy: 100` (cluster): looks for a new primary after 100 ms, not 5 s.
 * - `maxCommandRediscovers: 0` (Sentinel): does not resend a command whose reply was lost, as an increment would count
 *   twice.
 * - `scanInterval: 2000` (Sentinel): finds a new primary within 2 s even if its announcement was missed.
 * - no `useReplicas`: a replica may still return a session that was destroyed.
 *
 * If a single server becomes a replica, the client reconnects as soon as the address leads to a primary.
 *
 * @throws {TypeError} If the address or an option is malformed. The message does not quote the address, which may
 * contain a password.
 * @throws {RangeError} If `connectTimeout` is malformed or out of range.
 * @throws {SessionBackendError} `unavailable` if there is no connection in time, `rejected` if the server rejects the
 * credentials.
 */
export async function connectRedis(address: RedisAddress, options: ConnectOptions = {}): Promise<ConnectedRedis> {
  const names = ["username", "password", "tls", "connectTimeout", "clientSideCache"] as const;
  const { connectTimeout = "10s", clientSideCache = false } = knownOptions(ACTION, options, names);
  ofType(ACTION, "clientSideCache", clientSideCache, "boolean");
  const connectTimeoutMs = milliseconds(ACTION, "connectTimeout", connectTimeout, 1, 2 ** 31 - 1);
  let isConnected = false;
  const make = await factoryOf(address, options, () => isConnected);
  const until = Date.now() + connectTimeoutMs;
  for (;;) {
    const client = make();
    listen(client);
    try {
      await within(until - Date.now(), client.connect());
      isConnected = true;
      keepAlive(client, PING_MS, SILENCE_MS);
      return client;
    } catch (error) {
      // Not awaited: a sentinel client completes its connection attempt first.
      Promise.resolve(client.destroy()).catch(() => {});
      const { trouble } = stateOf(client);
      const refused = isRefusal(error) || isRefusal(trouble);
      if (!refused && Date.now() + RETRY_MS < until) {
        await pause(RETRY_MS);
        continue;
      }
      throw new SessionBackendError(
        refused
          ? `Cannot ${ACTION} as the server rejected the credentials: check the username, the password and the user's permissions`
          : `Cannot ${ACTION} within ${connectTimeoutMs} ms`,
        { reason: refused ? "rejected" : "unavailable", outcome: "not-applied", cause: trouble ?? error },
      );
    }
  }
}

/**
 * Returns a function that creates unconnected clients for an address.
 *
 * @param lasts Whether the first connection was established, after which a client reconnects without limit.
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
        ...cacheSetting(redis, options),
      }) as Client;
  }
  if (typeof address === "object" && address !== null && "cluster" in address) {
    const servers = parseAddresses("cluster", address.cluster);
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
        ...cacheSetting(redis, options),
      }) as Client;
  }
  if (typeof address === "object" && address !== null && "sentinel" in address) {
    const { name, nodes } = address.sentinel;
    if (typeof name !== "string" || name === "") {
      const received = name === "" ? "an empty string" : kindOf(name);
      throw malformed(
        `sentinel.name must be the name under which the sentinels know the primary: received ${received}`,
      );
    }
    const servers = parseAddresses("sentinel.nodes", nodes);
    const [{ tls, ...first }] = servers;
    const settings = settingsOf(tls, options, lasts);
    return () =>
      redis.createSentinel({
        name,
        sentinelRootNodes: servers.map(({ host, port = 26_379 }) => ({ host, port })),
        sentinelClientOptions: { ...credentialsOf(first), ...settings },
        // Does not retry the old address, where an empty replica may have come back: the sentinels know the primary.
        nodeClientOptions: {
          ...credentialsOf(options),
          ...settings,
          socket: { ...settings.socket, reconnectStrategy: false },
        },
        maxCommandRediscovers: 0,
        scanInterval: SCAN_MS,
        ...cacheSetting(redis, options),
      }) as Client;
  }
  throw malformed(
    `the address must be a URL, { cluster: [...] } or { sentinel: { name, nodes } }: received ${kindOf(address)}`,
  );
}

/** Returns the settings of every connection. */
function settingsOf(tls: boolean, options: ConnectOptions, lasts: () => boolean) {
  if (!tls && options.tls !== undefined) {
    throw malformed("the option tls needs an address that begins with rediss:, and this one does not");
  }
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

/** Returns the pause before a retry, in milliseconds. Half of it is random, so processes do not reconnect in step. */
function backoff(retries: number): number {
  return Math.min(50 * 2 ** retries, MAX_BACKOFF_MS) * (0.5 + Math.random() / 2);
}

/** Rejects after `milliseconds`; a later result is ignored. */
function within<R>(milliseconds: number, attempt: Promise<R>): Promise<R> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(reject, Math.max(0, milliseconds), new Error("The server did not answer in time"));
    attempt.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
