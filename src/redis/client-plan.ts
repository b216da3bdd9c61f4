import { kindOf } from "../base/checks.ts";
import { parseAddress, parseAddresses, placeOf, type RedisAddress, type ServerAddress } from "./address.ts";
import type { AsyncDisposing } from "./async-disposal.ts";
import type { RedisClient } from "./client.ts";
import { cacheSetting } from "./client-side-cache.ts";
import { type ConnectOptions, checkConnectOptions, connectMs } from "./connect-options.ts";
import { malformed } from "./connection-errors.ts";
import { credentialsOf } from "./credentials.ts";

/** A connected node-redis client. The caller owns it and closes it, also by `await using`. */
export interface ConnectedRedis extends RedisClient, AsyncDisposing {}

/** A client that is not connected yet. */
export interface Client extends Omit<ConnectedRedis, symbol> {
  connect(): Promise<unknown>;
}

type NodeRedis = typeof import("redis");

/** A checked address with checked options. */
export interface ClientPlan {
  /** The address for error messages, without credentials. */
  readonly place: string;
  /** The servers to connect to first. */
  readonly servers: readonly ServerAddress[];
  readonly tls: boolean;
  /** How long to try to establish the first connection. */
  readonly timeoutMs: number;
  /**
   * Creates a client.
   *
   * @param lasts Whether the first connection was established, after which a client reconnects without limit.
   */
  make(redis: NodeRedis, lasts: () => boolean): Client;
}

/** The timeout of a single connection attempt. */
const ATTEMPT_MS = 2000;
/** The longest pause between two attempts, so a server that is back is noticed within this time. */
const MAX_BACKOFF_MS = 1000;
/** The interval between topology refreshes of a cluster while a connection is broken. */
const TOPOLOGY_REFRESH_MS = 100;
/** The interval at which the sentinels are asked for the primary. */
const SCAN_MS = 2000;
/** How long a connection may leave PINGs unanswered before it is replaced. */
export const SILENCE_MS = 3000;
export const PING_MS = 1000;
const SHOWN_SERVERS = 3;

/**
 * Checks an address and options.
 *
 * @throws {TypeError} If the address or an option is malformed. The message does not quote the address, which may
 * contain a password.
 * @throws {RangeError} If `connectTimeout` is malformed or out of range.
 */
export function planOf(address: RedisAddress | undefined, options: ConnectOptions): ClientPlan {
  checkConnectOptions(options);
  if (address === undefined || (typeof address === "string" && address.trim() === "")) {
    const received = address === undefined ? "undefined" : "an empty string";
    throw malformed(`there is no address: received ${received}. If it comes from the environment, set REDIS_URL`);
  }
  if (typeof address === "string") return single(parseAddress(address), options);
  if (typeof address === "object" && address !== null) {
    const isCluster = "cluster" in address;
    if (isCluster && "sentinel" in address) throw malformed("the address must not have both cluster and sentinel");
    if (isCluster) return cluster(address.cluster, options);
    if ("sentinel" in address) return sentinel(address.sentinel, options);
  }
  throw malformed(
    `the address must be a URL, { cluster: [...] } or { sentinel: { name, nodes } }: received ${kindOf(address)}`,
  );
}

function single(server: ServerAddress, options: ConnectOptions): ClientPlan {
  const { host, port, isSocket, database } = server;
  const { socket, ...shared } = settingsOf(server, options);
  const place = isSocket ? { path: host } : { host, port };
  const credentials = credentialsOf(server, options);
  return {
    ...destination([server], options),
    make: (redis, lasts) =>
      redis.createClient({
        ...shared,
        ...credentials,
        ...(database === undefined ? {} : { database }),
        socket: { ...socket(lasts), ...place },
        commandOptions: { timeout: 0 },
        ...cacheSetting(redis, options),
      }) as Client,
  };
}

function cluster(urls: readonly string[], options: ConnectOptions): ClientPlan {
  const servers = parseAddresses("cluster", urls, 6379);
  const { socket, ...shared } = settingsOf(servers[0], options);
  const credentials = credentialsOf(servers[0], options);
  return {
    ...destination(servers, options),
    make: (redis, lasts) =>
      redis.createCluster({
        rootNodes: servers.map(({ host, port }) => ({ socket: { host, port } })),
        defaults: { ...shared, ...credentials, socket: socket(lasts) },
        RESP: shared.RESP,
        commandOptions: { timeout: 0 },
        topologyRefreshOnReconnectionAttemptStrategy: TOPOLOGY_REFRESH_MS,
        ...cacheSetting(redis, options),
      }) as Client,
  };
}

function sentinel(
  given: { readonly name: string; readonly nodes: readonly string[] },
  options: ConnectOptions,
): ClientPlan {
  if (typeof given !== "object" || given === null)
    throw malformed(`sentinel must be an object: received ${kindOf(given)}`);
  const { name, nodes } = given;
  if (typeof name !== "string" || name === "") {
    const received = name === "" ? "an empty string" : kindOf(name);
    throw malformed(`sentinel.name must be the name under which the sentinels know the primary: received ${received}`);
  }
  const servers = parseAddresses("sentinel.nodes", nodes, 26_379);
  const { socket, ...shared } = settingsOf(servers[0], options);
  const [ofSentinels, ofServers] = [credentialsOf(servers[0]), credentialsOf({}, options)];
  return {
    ...destination(servers, options),
    make: (redis, lasts) =>
      redis.createSentinel({
        name,
        RESP: shared.RESP,
        sentinelRootNodes: servers.map(({ host, port }) => ({ host, port })),
        sentinelClientOptions: { ...shared, ...ofSentinels, socket: socket(lasts) },
        // Does not retry the old address, where an empty replica may have come back: the sentinels know the primary.
        nodeClientOptions: {
          ...shared,
          ...ofServers,
          socket: { ...socket(lasts), reconnectStrategy: false },
        },
        maxCommandRediscovers: 0,
        scanInterval: SCAN_MS,
        ...cacheSetting(redis, options),
      }) as Client,
  };
}

/** Returns the parts of a plan that all kinds of clients have. */
function destination(servers: readonly [ServerAddress, ...ServerAddress[]], options: ConnectOptions) {
  const shown = servers.slice(0, SHOWN_SERVERS).map(placeOf).join(", ");
  return {
    place: servers.length > SHOWN_SERVERS ? `${shown} and others` : shown,
    servers,
    tls: servers[0].tls,
    timeoutMs: connectMs(options),
  };
}

/** Returns the settings of every connection. */
function settingsOf(server: ServerAddress, options: ConnectOptions) {
  const { tls } = server;
  if (!tls && options.tls !== undefined) {
    throw malformed("the option tls needs an address that begins with rediss:, and this one does not");
  }
  const family = options.family ?? server.family;
  return {
    // The default of node-redis 6, also for node-redis 5. The client-side cache needs it.
    RESP: 3 as const,
    disableOfflineQueue: true,
    pingInterval: PING_MS,
    // Enabled, it reads an environment variable, which needs a permission on Deno, and sends one more command.
    maintNotifications: "disabled" as const,
    socket: (lasts: () => boolean) => ({
      connectTimeout: ATTEMPT_MS,
      socketTimeout: SILENCE_MS,
      reconnectStrategy: (retries: number, cause: Error) => (lasts() ? backoff(retries) : cause),
      ...(family === undefined ? {} : { family }),
      ...(tls ? { ...options.tls, tls: true as const } : {}),
    }),
  };
}

/** Returns the pause before a retry, in milliseconds. Half of it is random, so processes do not reconnect in step. */
function backoff(retries: number): number {
  return Math.min(50 * 2 ** retries, MAX_BACKOFF_MS) * (0.5 + Math.random() / 2);
}
