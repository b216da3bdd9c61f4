import { SessionBackendError } from "../errors.ts";
import type { Script } from "./session-scripts.ts";

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
function refuseReplicas(client: RedisClient): void {
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

/** Runs a script on the server of its key, and sends its text where that server does not know it yet. */
export async function runScript(
  client: Pick<RedisCommands, "eval" | "evalSha">,
  { text, sha1 }: Script,
  key: string,
  args: string[],
): Promise<unknown> {
  try {
    return await client.evalSha(sha1, { keys: [key], arguments: args });
  } catch (error) {
    if (codeOf(error) !== "NOSCRIPT") throw error;
    return await client.eval(text, { keys: [key], arguments: args });
  }
}

/**
 * Sends, unless the client has no connection: a command in its offline queue would leave at some later time.
 *
 * @param lost What is known when the connection breaks before the answer.
 * @throws {SessionBackendError}
 */
export async function answerOf<R>(
  client: RedisClient,
  lost: SessionBackendError["outcome"],
  send: () => Promise<R>,
): Promise<R> {
  refuseReplicas(client);
  if (!isConnected(client)) throw unavailable("not-applied");
  const state = stateOf(client);
  try {
    const answer = await send();
    state.answers++;
    return answer;
  } catch (error) {
    const code = codeOf(error);
    if (code !== null) state.answers++;
    if (code === "READONLY") state.onDemotion?.();
    throw backendError(error, lost);
  }
}

/** The `isReady` of a sentinel client stays false after a failure, and true while its master is gone. */
function isConnected(client: RedisClient): boolean {
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
  if (client.scan === undefined) throw new TypeError("Cannot list sessions as the client has no scan()");
  return [client as RedisKeys];
}

/** Replies of a server that will answer later, or that another one answers for. */
const UNAVAILABLE: readonly string[] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MOVED", "ASK"];
/** Errors that node-redis raises, or a socket, before anything is sent. */
const UNSENT: readonly string[] = [
  "ClientOfflineError",
  "ClientClosedError",
  "ConnectionTimeoutError",
  "RootNodesUnavailableError",
  "TimeoutError",
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
];

function backendError(given: unknown, lost: SessionBackendError["outcome"]): SessionBackendError {
  if (given instanceof SessionBackendError) return given;
  const error = withoutArguments(given);
  const code = codeOf(error);
  if (code !== null && !UNAVAILABLE.includes(code)) {
    const isOld = code === "ERR" && /unknown command/i.test((error as Error).message);
    const message = `The Redis server refused the operation: ${isOld ? "it needs Redis >= 6.2" : code}`;
    return new SessionBackendError(message, { reason: "rejected", outcome: "not-applied", cause: error });
  }
  if (code === "MOVED" || code === "ASK") {
    return unavailable("not-applied", error, "The Redis server is a node of a cluster, which takes a cluster client");
  }
  const failure = error as (Error & { readonly code?: string }) | undefined;
  const names = [failure?.code ?? "", failure?.constructor.name ?? ""];
  const unsent = code !== null || names.some((name) => UNSENT.includes(name));
  return unavailable(unsent ? "not-applied" : lost, error);
}

/** Redis quotes the arguments of a command that it does not know, keys and data among them. */
function withoutArguments(error: unknown): unknown {
  const [said = "", quoted] = error instanceof Error ? error.message.split(", with args beginning with:") : [];
  return quoted === undefined ? error : new Error(said);
}

/** @param cause If it is not the connection that failed, what is wrong with the answer. */
export function unavailable(
  outcome: SessionBackendError["outcome"],
  cause?: unknown,
  message = "The Redis server is not available",
): SessionBackendError {
  return new SessionBackendError(message, { reason: "unavailable", outcome, cause });
}

/** Where Redis 6 puts the reply to a command inside a script. */
const WITHIN_SCRIPT = /^ERR Error running script .*?: -?([A-Z]{2,}) /;

/** The first word of an error reply, as in `WRONGTYPE Operation against...`; `null` for an error of the connection. */
export function codeOf(error: unknown): string | null {
  const message = error instanceof Error ? error.message : "";
  return (WITHIN_SCRIPT.exec(message) ?? /^([A-Z]+)(?: |$)/.exec(message))?.[1] ?? null;
}
