import { clearTimeout, setTimeout } from "node:timers";
import { pause } from "../base/step.ts";
import { SessionBackendError } from "../errors.ts";
import type { RedisAddress } from "./address.ts";
import { asyncDisposable } from "./async-disposal.ts";
import { listen, stateOf } from "./client.ts";
import { type ClientPlan, type ConnectedRedis, PING_MS, planOf, SILENCE_MS } from "./client-plan.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { ACTION, firstCauseOf, malformed, refusalOf } from "./connection-errors.ts";
import { withoutArguments } from "./error-codes.ts";
import { keepAlive } from "./heartbeat.ts";
import { plainServerSearch } from "./plain-server.ts";

/** The pause between two attempts to establish the first connection. */
export const RETRY_MS = 100;

/**
 * Connects to Redis and returns a node-redis client with the settings that sessions need:
 *
 * - `RESP: 3`: the default of node-redis 6, also for node-redis 5, whose client-side cache needs it.
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
 * - `topologyRefreshOnReconnectionAttemptStrategy: 100` (cluster): looks for a new primary after 100 ms, not 5 s. With
 *   node-redis 5, which never looks, the heartbeat does it every second.
 * - `maxCommandRediscovers: 0` (Sentinel): does not resend a command whose reply was lost, as an increment would count
 *   twice.
 * - `scanInterval: 2000` (Sentinel): finds a new primary within 2 s even if its announcement was missed.
 * - `maintNotifications: "disabled"`: saves a command for each connection, and a permission on Deno.
 * - no `useReplicas`: a replica may still return a session that was destroyed.
 *
 * If a single server becomes a replica, the client reconnects as soon as the address leads to a primary. A client from
 * `createClient` stays connected to the replica.
 *
 * Errors that a retry may heal, such as a refused connection, are retried until `connectTimeout`. Others fail at the
 * first attempt: the certificate, the credentials, the database, the protocol, a missing permission.
 *
 * @throws {TypeError} If the address or an option is malformed, or the package `redis` is older than 5.0. The message does
 * not quote the address, which may contain a password.
 * @throws {RangeError} If `connectTimeout` is malformed or out of range.
 * @throws {SessionBackendError} `unavailable` if there is no connection in time, `rejected` if no retry helps. The
 * message names host, port and the last known cause.
 */
export async function connectRedis(
  address: RedisAddress | undefined,
  options: ConnectOptions = {},
): Promise<ConnectedRedis> {
  const plan = planOf(address, options);
  const until = Date.now() + plan.timeoutMs;
  let known: unknown;
  for (;;) {
    try {
      return await connectOnce(plan, until - Date.now());
    } catch (error) {
      if (!(error instanceof SessionBackendError) || error.reason === "rejected") throw error;
      const { cause } = error;
      // If the time ends during an attempt, the error of the attempt before it says more.
      if (!(cause instanceof UnansweredError)) known = cause;
      if (Date.now() + RETRY_MS >= until) throw failure(plan, known ?? cause, ` within ${plan.timeoutMs} ms`);
      await pause(RETRY_MS);
    }
  }
}

/** The cause of the failure of an attempt that took too long. */
class UnansweredError extends Error {
  constructor() {
    super("the server did not answer in time");
  }
}

/**
 * Makes one attempt to connect. If it fails or is aborted, no connection remains.
 *
 * @param signal Aborts the attempt, which then rejects with the reason of the signal.
 * @throws {SessionBackendError} Its cause is the error of the attempt.
 */
export async function connectOnce(
  plan: ClientPlan,
  milliseconds: number,
  signal?: AbortSignal,
): Promise<ConnectedRedis> {
  const redis = await import("redis").catch((error: unknown) => {
    throw failure(plan, error);
  });
  // node-redis 4, which npm installs only by force.
  if (!("createSentinel" in redis))
    throw malformed("the installed package redis is too old: install version ^5.9 or ^6.3");
  let isConnected = false;
  const client = plan.make(redis, () => isConnected);
  listen(client);
  const state = stateOf(client);
  state.place = plan.place;
  const search = plan.tls ? plainServerSearch(plan.servers) : null;
  const connecting = client.connect();
  try {
    await within(milliseconds, signal, (reject) => {
      search?.found.catch(reject);
      // node-redis waits for the end of the connection. Of several servers, another one may accept.
      state.onTrouble = (error) => refusalOf(error) !== null && plan.servers.length === 1 && reject(error);
      return connecting;
    });
    isConnected = true;
    keepAlive(client, PING_MS, SILENCE_MS);
    return asyncDisposable(client, () => client.close());
  } catch (error) {
    destroy(client);
    // A cluster or sentinel client completes its attempt, and may open connections after it was destroyed.
    connecting.finally(() => destroy(client)).catch(() => {});
    signal?.throwIfAborted();
    const own = withoutArguments(error);
    throw failure(plan, refusalOf(own) === null ? (state.trouble ?? own) : own);
  } finally {
    state.onTrouble = null;
    search?.stop();
  }
}

function failure(plan: ClientPlan, cause: unknown, within = ""): SessionBackendError {
  const refusal = refusalOf(cause);
  const where = `Cannot ${ACTION} at ${plan.place}`;
  const message = refusal === null ? `${where}${within}: ${firstCauseOf(cause, plan.tls)}` : `${where} as ${refusal}`;
  const reason = refusal === null ? "unavailable" : "rejected";
  return new SessionBackendError(message, { reason, outcome: "not-applied", cause });
}

/** Closes a client at once, in whatever state it is. */
export async function destroy(client: Pick<ConnectedRedis, "destroy">): Promise<void> {
  try {
    await client.destroy();
  } catch {
    // It is closed already.
  }
}

/**
 * Rejects after `milliseconds`, or as soon as the signal aborts; a later result is ignored.
 *
 * @param start Starts the attempt. Gets a function that makes it fail.
 */
function within<R>(
  milliseconds: number,
  signal: AbortSignal | undefined,
  start: (reject: (error: unknown) => void) => Promise<R>,
): Promise<R> {
  let end = (): void => {};
  return new Promise<R>((resolve, reject) => {
    const abort = (): void => reject(signal?.reason);
    const timer = setTimeout(() => reject(new UnansweredError()), Math.max(0, milliseconds));
    end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    start(reject).then(resolve, (error) => reject(error?.originalError ?? error));
  }).finally(end);
}
