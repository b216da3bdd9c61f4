import { SessionBackendError } from "../errors.ts";
import { isConnected, type RedisClient, type RedisCommands, refuseReplicas, stateOf } from "./client.ts";
import type { Script } from "./session-scripts.ts";

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
