/** The commands that are used on every kind of client. */
export interface RedisCommands {
  evalSha(sha1: string, options: { keys?: string[]; arguments?: string[] }): Promise<unknown>;
  eval(script: string, options: { keys?: string[]; arguments?: string[] }): Promise<unknown>;
  hGetAll(key: string): Promise<Record<string, string>>;
  hmGet(key: string, fields: string[]): Promise<(string | null)[]>;
}

/** What walks over the keys of one server. */
export interface RedisKeys {
  scan(
    cursor: string,
    options: { MATCH?: string; COUNT?: number; TYPE?: string },
  ): Promise<{ cursor: string; keys: string[] }>;
}

/**
 * A connected node-redis client, cluster, sentinel or pool, told by its structure. The optional members are what only
 * some kinds have.
 *
 * A cluster client needs `defaults: { disableOfflineQueue: true }`, or what is told to a master that is gone may leave
 * later. A sentinel client needs `maxCommandRediscovers: 0`, or it sends a command whose answer was lost a
 * second time: an increment then counts twice, and a rotation finds its own secret replaced.
 */
export interface RedisClient extends RedisCommands {
  on(event: "error" | "end", listener: (error: unknown) => void): unknown;
  readonly isReady?: boolean;
  readonly clientSideCache?: { invalidate(key: string): void } | undefined;
  /** Of a sentinel client: where the master is, if there is a connection to it. */
  getMasterNode?(): unknown;
  scan?: RedisKeys["scan"];
  readonly masters?: readonly unknown[];
  /** Of a cluster client: those that it reads from. */
  readonly replicas?: readonly unknown[];
  nodeClient?(master: never): Promise<RedisKeys>;
  getNodeClientForKey?(key: string): Promise<unknown>;
  createPool?(options: object): unknown;
  execute?: unknown;
  use?: unknown;
}

/** A connection that nobody else uses meanwhile. */
export interface Lease extends Pick<RedisCommands, "eval"> {
  wait(replicas: number, milliseconds: number): Promise<number>;
}

/** Connections to one server, each lent to one task at a time. */
export interface Pool extends Pick<RedisClient, "on"> {
  connect(): Promise<unknown>;
  destroy(): void;
  execute<R>(task: (lease: Lease) => Promise<R>): Promise<R>;
}

/** What is remembered of a client for as long as it exists. */
interface ClientState {
  /** Whether it has an error listener. */
  isHeard: boolean;
  /** How many answers it has had, errors among them: each is a sign of life. */
  answers: number;
  /** Whether a sentinel client is looking for its master. */
  isSeeking: boolean;
  /** Called when a server says that it is a replica. */
  onDemotion: (() => void) | null;
  /** Connections to the same server on which scripts wait for replicas; `undefined` before the first. */
  pool: Pool | null | undefined;
}

const states = new WeakMap<object, ClientState>();

export function stateOf(client: object): ClientState {
  const known = states.get(client);
  if (known !== undefined) return known;
  const state = { isHeard: false, answers: 0, isSeeking: false, onDemotion: null, pool: undefined };
  states.set(client, state);
  return state;
}

/**
 * Sees to it that the client has an error listener for as long as it lives: an error event without one ends the
 * process. The application's own listeners hear the same events.
 *
 * @throws {TypeError} If it is no node-redis client, or a cluster client that reads from replicas.
 */
export function guard(client: RedisClient): void {
  for (const method of ["evalSha", "eval", "hGetAll", "hmGet", "on"] as const) {
    if (typeof client?.[method] !== "function") {
      throw new TypeError(`Cannot create a Redis backend as client must be a node-redis client: it has no ${method}()`);
    }
  }
  refuseReplicas(client);
  listen(client);
}

/** Not every client is connected when it is handed over, and so only then are its replicas known. */
export function refuseReplicas(client: RedisClient): void {
  if (client.replicas === undefined || client.replicas.length === 0) return;
  throw new TypeError("Cannot use a Redis client with useReplicas as a replica may not have heard of a logout yet");
}

/** Hears the error events of what is connected, with one listener however often it is called. */
export function listen(client: Pick<RedisClient, "on">, hear: (error: unknown) => void = () => {}): void {
  const state = stateOf(client);
  if (state.isHeard) return;
  state.isHeard = true;
  client.on("error", hear);
}

/** The `isReady` of a sentinel client stays false after a failure, and true while its master is gone. */
export function isConnected(client: RedisClient): boolean {
  if (client.getMasterNode === undefined) return client.isReady !== false;
  if (client.getMasterNode() !== undefined) return true;
  seekMaster(client);
  return false;
}

/** A sentinel client that has lost its master looks for it only when it is told a command. */
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

/** A sentinel client. */
interface Executor extends RedisClient {
  _execute<R>(isReadonly: boolean, task: (master: RedisClient) => Promise<R>): Promise<R>;
}

/** The connection of a sentinel client. Its `use` gives a lease, and each takes 20 ms of computing. */
export async function masterOf(client: RedisClient): Promise<RedisClient> {
  return await (client as Executor)._execute(false, async (master) => master);
}

/** Servers that hold keys of their own: one, or a cluster's masters. */
export async function servers(client: RedisClient): Promise<readonly RedisKeys[]> {
  const { nodeClient } = client;
  if (client.masters !== undefined && nodeClient !== undefined) {
    return await Promise.all(client.masters.map((master) => nodeClient.call(client, master as never)));
  }
  if (client.scan === undefined) throw new TypeError("Cannot scan sessions as the client has no scan()");
  return [client as RedisKeys];
}
