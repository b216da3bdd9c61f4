import { knownOptions, wholeNumber } from "../base/checks.ts";
import { type Duration, milliseconds } from "../base/durations.ts";
import { SessionBackendError } from "../errors.ts";
import { answerOf, ask, runScript } from "./answers.ts";
import { confirmedBatches } from "./batches.ts";
import { endPool, listen, type Pool, type RedisClient, stateOf } from "./client.ts";
import { UnfitClientError } from "./client-options.ts";
import { causeOf } from "./connection-errors.ts";
import { codeOf } from "./error-codes.ts";
import type { Script } from "./lua.ts";
import { primaryFor } from "./primaries.ts";

/** The number of replicas that must confirm a change before the operation succeeds, and the time to wait for them. */
export interface ReplicaConfirmation {
  /**
   * Number of replicas that must confirm: 1 to 1000. Use the number of replicas that can be promoted; with fewer, a
   * failover may promote one that does not have the change.
   */
  readonly count: number;
  /**
   * How long the operation may take: opening a connection for it, and waiting for the replicas. At most `"30s"`, and less than the
   * store's `operationTimeout`.
   */
  readonly timeout: Duration;
}

/** A function that runs a script on the server that holds the key. */
export type RunScript = (script: Script, key: string, args: string[]) => Promise<unknown>;

const CONNECTIONS = 8;
/** How long an unused connection of the pool stays open. */
const IDLE_MS = 1000;
/** The pause between two attempts of a connection of the pool to reconnect. */
const RETRY_MS = 200;
const MAX_WAIT_MS = 30_000;

/** Checked options. */
export interface Confirmation {
  readonly count: number;
  readonly timeoutMs: number;
}

/** @throws {TypeError | RangeError} If an option is unknown, has the wrong type or is out of range. */
export function readConfirmation(action: string, options: ReplicaConfirmation): Confirmation {
  const { count, timeout } = knownOptions(action, options, ["count", "timeout"], "waitForReplicas");
  wholeNumber(action, "waitForReplicas.count", count, 1, 1000);
  return { count, timeoutMs: milliseconds(action, "waitForReplicas.timeout", timeout, 1, MAX_WAIT_MS) };
}

/**
 * Returns a function that runs a script and waits until replicas have confirmed its writes. It uses connections from a
 * separate pool, as WAIT blocks the commands behind it.
 */
export function confirmedBy(client: RedisClient, { count, timeoutMs }: Confirmation): RunScript {
  function unconfirmed(cause?: unknown): SessionBackendError {
    const replicas = count === 1 ? "1 replica" : `${count} replicas`;
    const message = `The operation was not confirmed by ${replicas} within ${timeoutMs} ms: a failover may lose it`;
    return new SessionBackendError(message, { reason: "timeout", outcome: "unknown", cause });
  }

  function unsent(pool: Pool): SessionBackendError {
    const cause = stateOf(pool).trouble;
    const why = cause === undefined ? "" : ` (${causeOf(cause)})`;
    const message = `No connection on which to wait for replicas was ready within ${timeoutMs} ms: nothing was sent${why}`;
    return new SessionBackendError(message, { reason: "timeout", outcome: "not-applied", cause });
  }

  const run = confirmedBatches(count, unconfirmed, unsent);

  return async (script, key, args) => {
    const until = Date.now() + timeoutMs;
    try {
      return await answerOf(client, "unknown", async () => {
        const pool = isPool(client) ? client : poolOf(await primaryFor(client, key), timeoutMs);
        return await run(pool, { script, key, args, until });
      });
    } catch (error) {
      const { cause } = error as { cause?: unknown };
      if (!["MOVED", "ASK"].includes(codeOf(cause) ?? "")) throw error;
      // The slot has moved. The cluster client finds the new primary and remembers it, so only this call is
      // unconfirmed.
      await ask(client, "unknown", (to) => runScript(to, script, key, args));
      throw unconfirmed(cause);
    }
  };
}

function isPool(client: object): client is Pool {
  return "execute" in client;
}

/**
 * Returns the pool for a connection, to the same server; it has no connections while none is needed. The pool is closed
 * together with the connection: otherwise its retries would keep the process alive, and after a failover its
 * connections would lead to the old primary.
 */
function poolOf(client: RedisClient, timeoutMs: number): Pool {
  const state = stateOf(client);
  if (state.pool === undefined) {
    state.pool = null;
    listen(client);
    client.on("end", () => endPool(state));
  }
  state.pool ??= newPool(client, timeoutMs);
  return state.pool;
}

/** A client with a connection to one server. */
interface SingleClient {
  readonly options?: { readonly socket?: object | undefined } | undefined;
  duplicate(overrides: object): { createPool(options: object): Pool };
}

function newPool(client: RedisClient, timeoutMs: number): Pool {
  if (client.createPool === undefined) {
    throw new UnfitClientError(
      "Cannot wait for replicas as this Redis client has no createPool(): use createClient or connectRedis",
    );
  }
  const single = client as object as SingleClient;
  const socket = { ...single.options?.socket, reconnectStrategy: RETRY_MS };
  const options = { minimum: 0, maximum: CONNECTIONS, acquireTimeout: timeoutMs, cleanupDelay: IDLE_MS };
  // With node-redis 5, a connection of a pool that has given up reconnecting ends the process.
  const pool = single.duplicate({ socket }).createPool(options);
  listen(pool);
  // Opens no connection yet, as the minimum is 0, so there is no failure to report.
  pool.connect().catch(() => {});
  return pool;
}
