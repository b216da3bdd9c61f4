import { refuseOptions } from "./client-options.ts";
import { isRefusal, withoutArguments } from "./error-codes.ts";
import type { Script } from "./lua.ts";
import type { Permission } from "./permissions.ts";

/** The commands that the backend uses on every kind of client. */
export interface RedisCommands {
  evalSha(sha1: string, options: { keys?: string[]; arguments?: string[] }): Promise<unknown>;
  eval(script: string, options: { keys?: string[]; arguments?: string[] }): Promise<unknown>;
  hGetAll(key: string): Promise<Record<string, string>>;
  hmGet(key: string, fields: string[]): Promise<(string | null)[]>;
}

/** The command that iterates over the keys of one server. */
export interface RedisKeys {
  scan(
    cursor: string,
    options: { MATCH?: string; COUNT?: number; TYPE?: string },
  ): Promise<{ cursor: string; keys: string[] }>;
}

/**
 * A connected client, cluster, sentinel or pool of node-redis 5 or 6, described by its structure. Only some kinds have the
 * optional members. `connectRedis` sets what follows; other clients need it in their options:
 *
 * - A cluster client needs `defaults: { disableOfflineQueue: true }`. Otherwise a command for a primary that is down
 *   may run later, after its request was answered.
 * - A sentinel client needs `maxCommandRediscovers: 0`. Otherwise it resends a command whose reply was lost: an
 *   increment counts twice, and a rotation fails because the secret has already been replaced.
 */
export interface RedisClient extends RedisCommands, Partial<RedisKeys> {
  on(event: string, listener: (error: unknown) => void): unknown;
  /** Closes the connections after all pending commands have been answered. */
  close(): Promise<unknown>;
  /** Closes the connections at once. Pending commands fail. */
  destroy(): unknown;
  readonly isOpen?: boolean;
  readonly isReady?: boolean;
  readonly clientSideCache?:
    | {
        invalidate(key: string): void;
        /** The number of replies that came from Redis and not from the cache, if the cache counts them. */
        readonly replies?: number;
      }
    | undefined;
  /** Sentinel clients: the primary, or `undefined` while there is no connection to it. */
  getMasterNode?(): unknown;
  readonly masters?: readonly unknown[];
  nodeClient?(master: never): RedisKeys | Promise<RedisKeys>;
  /** Cluster clients of node-redis 6. */
  getNodeClientForKey?(key: string): Promise<unknown>;
  createPool?(options: object): unknown;
  execute?: unknown;
  use?: unknown;
}

/** A connection from a pool, reserved for one task. */
export interface Lease extends Pick<RedisCommands, "eval" | "evalSha"> {
  readonly isReady?: boolean;
  withCommandOptions(options: object): Lease;
  wait(replicas: number, milliseconds: number): Promise<number>;
}

/** A pool of connections to one server, each used by one task at a time. */
export interface Pool extends Pick<RedisClient, "on" | "isOpen" | "isReady"> {
  connect(): Promise<unknown>;
  destroy(): void;
  execute<R>(task: (lease: Lease) => Promise<R>): Promise<R>;
}

/** The state that the backend keeps for a client. */
export interface ClientState {
  /** Whether it has error listeners. */
  isHeard: boolean;
  /** The last error of a connection that explains why calls fail; `undefined` after a reply. */
  trouble: unknown;
  /** Called with each error of a connection while a first connection is established. */
  onTrouble: ((error: Error) => void) | null;
  /** Whether there was a connection. */
  wasConnected: boolean;
  /** Whether its `reconnectStrategy` has ended all attempts to reconnect. */
  hasGivenUp: boolean;
  /** The address for error messages, without credentials; `undefined` if it has to be read from the client. */
  place: string | undefined;
  /** The number of replies received, error replies included, without those that the client-side cache counts. */
  answers: number;
  /** What is known about the account's permission to run each script on this connection. */
  readonly permissions: Map<Script, Permission>;
  /** Whether a sentinel client is looking for its primary. */
  isSeeking: boolean;
  /** Called when the server rejects a write because it has become a replica. */
  onDemotion: (() => void) | null;
  /**
   * The connections on which scripts wait for replicas; `undefined` before the first use, `null` after the client
   * closed.
   */
  pool: Pool | null | undefined;
}

const states = new WeakMap<object, ClientState>();

/** Returns the state of a client, which is created on first use. */
export function stateOf(client: object): ClientState {
  const known = states.get(client);
  if (known !== undefined) return known;
  const state: ClientState = {
    isHeard: false,
    trouble: undefined,
    onTrouble: null,
    wasConnected: false,
    hasGivenUp: false,
    place: undefined,
    answers: 0,
    permissions: new Map(),
    isSeeking: false,
    onDemotion: null,
    pool: undefined,
  };
  states.set(client, state);
  return state;
}

/**
 * Checks that this is a usable node-redis client and adds an error listener: without one, an error event ends the
 * process. The application's own listeners receive the same events.
 *
 * @throws {TypeError} If it is not a node-redis client, or has options that `refuseOptions` rejects.
 */
export function guard(client: RedisClient): void {
  for (const method of ["evalSha", "eval", "hGetAll", "hmGet", "on", "close", "destroy"] as const) {
    if (typeof client?.[method] !== "function") {
      throw new TypeError(
        `Cannot create a Redis backend as client must be a node-redis client of version ^5.9 or ^6.3: it has no ${method}(). Pass an address, or a client from connectRedis or createClient`,
      );
    }
  }
  refuseOptions(client);
  listen(client);
}

/** Adds error listeners. Later calls for the same client do nothing. */
export function listen(client: Pick<RedisClient, "on" | "isOpen" | "isReady">): void {
  const state = stateOf(client);
  if (state.isHeard) return;
  state.isHeard = true;
  const hear = (error: unknown): void => {
    if (!(error instanceof Error)) return;
    if (client.isOpen === false) {
      state.hasGivenUp = true;
      // With node-redis 5, this is the only sign of the end.
      endPool(state);
    }
    state.onTrouble?.(error);
    // A cluster or sentinel client goes on to report that it found no server at all.
    const isPlain = error.constructor === Error || error.constructor.name === "RootNodesUnavailableError";
    const isVague = isPlain && !("code" in error);
    if (isPlain && (isRefusal(state.trouble) || (isVague && state.trouble !== undefined))) return;
    state.trouble = withoutArguments(error);
  };
  const connected = (): void => {
    state.wasConnected = true;
    state.hasGivenUp = false;
    state.permissions.clear();
  };
  if (client.isReady === true) connected();
  client.on("ready", connected);
  client.on("error", hear);
  // Errors of single connections: of a cluster, and of a sentinel client.
  client.on("node-error", hear);
  client.on("client-error", (event) => hear((event as { readonly error?: unknown } | undefined)?.error));
}

/** Closes the connections on which scripts wait for replicas. */
export function endPool(state: ClientState): void {
  state.pool?.destroy();
  if (state.pool !== undefined) state.pool = null;
}

/** Returns the number of replies that came from the server: each shows that the connection is alive. */
export function repliesTo(client: RedisClient): number {
  return stateOf(client).answers + (client.clientSideCache?.replies ?? 0);
}

/**
 * Whether the client can send a command now. `isReady` does not tell for a sentinel client: it stays false after a
 * failure and true while the primary is down.
 */
export function isConnected(client: RedisClient): boolean {
  if (client.getMasterNode === undefined) return client.isReady !== false;
  if (client.getMasterNode() !== undefined) return true;
  seekMaster(client);
  return false;
}

/** Makes a sentinel client look for its primary, which it does only when it has a command to send. */
function seekMaster(client: RedisClient): void {
  const state = stateOf(client);
  if (state.isSeeking) return;
  state.isSeeking = true;
  client
    .hmGet("session", ["session_ttl"])
    .catch(() => {})
    .finally(() => {
      state.isSeeking = false;
    });
}
