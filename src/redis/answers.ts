import { SessionBackendError } from "../errors.ts";
import { isConnected, type RedisClient, stateOf } from "./client.ts";
import { UnfitClientError } from "./client-options.ts";
import { placeOf } from "./client-place.ts";
import { causeOf, refusalOf } from "./connection-errors.ts";
import { codeOf, isStopped, UNAVAILABLE, UNSENT, withoutArguments } from "./error-codes.ts";
import type { Script } from "./lua.ts";
import { runChecked } from "./permissions.ts";
import { onPrimary, primaryFor } from "./primaries.ts";

/**
 * Runs a script. The first call on a connection sends its text with a check of the permissions, and other calls wait for
 * the result. The second call sends the text alone, so that the server caches it, and all others its SHA-1.
 */
export async function runScript(
  client: RedisClient,
  script: Script,
  key: string | string[],
  args: string[],
): Promise<unknown> {
  const options = { keys: [key].flat(), arguments: args };
  const [first = ""] = options.keys;
  const { permissions } = stateOf(client.masters === undefined ? client : await primaryFor(client, first));
  const permission = permissions.get(script);
  if (permission !== "loaded") {
    if (!(await permission)) return await runChecked(permissions, script, ({ text }) => client.eval(text, options));
    permissions.set(script, "loaded");
    return await client.eval(script.text, options);
  }
  try {
    return await client.evalSha(script.sha1, options);
  } catch (error) {
    if (codeOf(error) !== "NOSCRIPT") throw error;
    return await client.eval(script.text, options);
  }
}

/**
 * Sends a command to the primary and returns its reply, as `answerOf` does. Counts the reply as a sign of life of the
 * client's connection.
 *
 * @param isCacheable Whether the reply may come from the client-side cache, which counts those that do not.
 * @throws {SessionBackendError}
 * @throws {TypeError} If the connection has options that make it unfit for sessions.
 */
export async function ask<R>(
  client: RedisClient,
  lost: SessionBackendError["outcome"],
  send: (connection: RedisClient) => Promise<R>,
  isCacheable = false,
): Promise<R> {
  const state = stateOf(client);
  try {
    const answer = await answerOf(client, lost, () =>
      onPrimary(client, async (connection) => {
        if (!isConnected(connection)) throw disconnected(client);
        return await send(connection);
      }),
    );
    if (!isCacheable || client.clientSideCache === undefined) state.answers++;
    state.trouble = undefined;
    state.wasConnected = true;
    return answer;
  } catch (error) {
    if (codeOf((error as Error).cause) !== null) state.answers++;
    throw error;
  }
}

/**
 * Sends a command and returns its reply. Fails at once if the client is not connected: a command in the client's
 * offline queue would run at some later time.
 *
 * @param lost The outcome to report if the connection breaks before the reply arrives.
 * @throws {SessionBackendError}
 * @throws {TypeError} If the connection has options that make it unfit for sessions.
 */
export async function answerOf<R>(
  client: RedisClient,
  lost: SessionBackendError["outcome"],
  send: () => Promise<R>,
): Promise<R> {
  if (client.isOpen === false || !isConnected(client)) throw disconnected(client);
  try {
    return await send();
  } catch (error) {
    if (error instanceof UnfitClientError) throw error;
    if (codeOf(error) === "READONLY") stateOf(client).onDemotion?.();
    const failure = backendError(client, error, lost);
    const isUnsent = failure.reason === "unavailable" && failure.outcome === "not-applied";
    throw isUnsent && codeOf(failure.cause) === null ? disconnected(client, failure) : failure;
  }
}

/**
 * Builds the error for a command that was not sent, as there is no connection.
 *
 * @param failure The error if nothing more is known about the reason.
 */
function disconnected(client: RedisClient, failure?: SessionBackendError): SessionBackendError {
  const { trouble, wasConnected, hasGivenUp } = stateOf(client);
  const refusal = refusalOf(trouble);
  // Retrying helps in none of these cases.
  const rejected = (message: string): SessionBackendError =>
    new SessionBackendError(message, { reason: "rejected", outcome: "not-applied", cause: trouble });
  if (client.isOpen === false) {
    if (hasGivenUp)
      return rejected(`The Redis client has stopped reconnecting to the server${placeOf(client)}: ${causeOf(trouble)}`);
    return rejected(
      `The Redis client ${wasConnected ? "was closed by the application" : "is closed: connect it before use"}`,
    );
  }
  if (refusal !== null) return rejected(`Cannot reach Redis${placeOf(client)} as ${refusal}`);
  const cause = failure?.cause ?? trouble;
  const what = wasConnected ? "the connection is lost" : "it has not been connected yet";
  const why = cause === undefined ? "" : ` (${causeOf(cause)})`;
  return unavailable("not-applied", cause, `The Redis server${placeOf(client)} is not available: ${what}${why}`);
}

function backendError(client: RedisClient, given: unknown, lost: SessionBackendError["outcome"]): SessionBackendError {
  if (given instanceof SessionBackendError) return given;
  const error = withoutArguments(given);
  const code = codeOf(error);
  if (code !== null && !UNAVAILABLE.includes(code)) {
    const why =
      isStopped(error) && code === "ERR"
        ? "its ACL no longer allows the account a command of a script that it has begun"
        : rejectionOf(code, (error as Error).message);
    const message = `The Redis server rejected the operation: ${why}`;
    const outcome = isStopped(error) ? lost : "not-applied";
    return new SessionBackendError(message, { reason: "rejected", outcome, cause: error });
  }
  if (code === "MOVED" || code === "ASK") {
    const message = "The Redis server is a cluster node: use createCluster, or an address with { cluster }";
    return unavailable("not-applied", error, message);
  }
  const failure = error as (Error & { readonly code?: string }) | undefined;
  const names = [failure?.code ?? "", failure?.constructor.name ?? ""];
  const unsent = code !== null || names.some((name) => UNSENT.includes(name));
  const what =
    code === null ? `is not available: the connection broke (${causeOf(error)})` : `cannot answer now: ${code}`;
  return unavailable(unsent ? "not-applied" : lost, error, `The Redis server${placeOf(client)} ${what}`);
}

/** Describes an error reply that no retry helps against. */
function rejectionOf(code: string, message: string): string {
  if (code === "NOPERM") {
    const [, command] = /the '([a-z|]+)' command/i.exec(message) ?? [];
    return command === undefined ? code : `${code}: its ACL does not allow the account the command +${command}`;
  }
  if (code !== "ERR") return code;
  if (/unknown command .?eval|scripting engine/i.test(message)) {
    return "it cannot run Lua scripts. Valkey from 9.1 on needs its Lua module for this, which may be a package of its own";
  }
  return /unknown command/i.test(message) ? "Redis 6.2 or later is required" : code;
}

/** Builds the error for a server that is not reachable, cannot answer now, or sent an unexpected reply. */
export function unavailable(
  outcome: SessionBackendError["outcome"],
  cause?: unknown,
  message = "The Redis server is not available",
): SessionBackendError {
  return new SessionBackendError(message, { reason: "unavailable", outcome, cause });
}
