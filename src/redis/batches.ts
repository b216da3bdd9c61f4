import { SessionBackendError } from "../errors.ts";
import { unavailable } from "./answers.ts";
import { type Lease, type Pool, stateOf } from "./client.ts";
import { causeOf } from "./connection-errors.ts";
import { codeOf, isRefusal } from "./error-codes.ts";
import type { Script } from "./lua.ts";
import { withCheck } from "./permissions.ts";

/** A script whose writes replicas must confirm. */
export interface ConfirmedCall {
  readonly script: Script;
  readonly key: string;
  readonly args: string[];
  /** When its caller is told that it was not confirmed, in Unix milliseconds. */
  readonly until: number;
}

interface WaitingCall extends ConfirmedCall {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Returns a function that runs a script on a connection of a pool and waits until replicas have confirmed its writes.
 *
 * WAIT confirms all earlier writes of its own connection, and nothing else (https://redis.io/docs/latest/commands/wait/).
 * So each free connection takes all scripts that are waiting, and sends them with one WAIT behind them. With a WAIT for
 * each script, scripts would queue for a round trip each.
 *
 * @param count The number of replicas that must confirm.
 * @param unconfirmed Creates the error for a script that too few replicas confirmed.
 * @param unsent Creates the error for a script for which no connection was ready in time.
 */
export function confirmedBatches(
  count: number,
  unconfirmed: () => Error,
  unsent: (pool: Pool) => Error,
): (pool: Pool, call: ConfirmedCall) => Promise<unknown> {
  const queues = new WeakMap<Pool, Set<WaitingCall>>();

  function run(pool: Pool, call: ConfirmedCall): Promise<unknown> {
    const queue = queues.get(pool) ?? new Set();
    queues.set(pool, queue);
    return new Promise((resolve, reject) => {
      const waiting = { ...call, resolve, reject };
      queue.add(waiting);
      pool
        .execute(async (lease) => {
          const batch = [...queue];
          queue.clear();
          // A connection that is being replaced would send the scripts when their callers have long been answered.
          const isReady = lease.isReady !== false;
          const lost = () => Promise.reject(unavailable("not-applied", stateOf(pool).trouble));
          await (isReady ? send(pool, lease, batch) : lost()).catch((error) => {
            for (const { reject } of batch) reject(error);
          });
        })
        .catch((error) => {
          queue.delete(waiting);
          reject(error?.constructor.name === "TimeoutError" ? unsent(pool) : error);
        });
    });
  }

  /** Sends a batch. Resolves when the connection is free again. */
  async function send(pool: Pool, lease: Lease, batch: readonly WaitingCall[]): Promise<void> {
    const now = Date.now();
    const timely = batch.filter(({ until }) => until > now);
    // Their callers have already been told that they failed.
    for (const { until, reject } of batch) if (until <= now) reject(unsent(pool));
    if (timely.length === 0) return;
    // If the connection breaks, commands with one chain ID are never sent in part over the next connection, where WAIT
    // would confirm nothing and still succeed.
    const connection = lease.withCommandOptions({ chainId: Symbol("confirmed"), timeout: 0 });
    const known = new Set<Script>();
    const { permissions } = stateOf(lease);
    const replies = timely.map(({ script: original, key, args }) => {
      const options = { keys: [key], arguments: args };
      const script = permissions.has(original) ? original : withCheck(original, ["WAIT"]);
      // The first EVAL makes the server cache the script for the calls behind it.
      if (known.has(script)) return connection.evalSha(script.sha1, options);
      known.add(script);
      return connection.eval(script.text, options);
    });
    const waitMs = Math.max(...timely.map(({ until }) => until)) - now;
    const confirmation = connection.wait(count, waitMs).catch((error) => {
      throw waitError(error);
    });
    const confirmed = timely.map(async (call, at) => {
      try {
        const [reply, replicas] = await Promise.all([replies[at], confirmation]);
        permissions.set(call.script, "granted");
        if (replicas < count) throw unconfirmed();
        call.resolve(reply);
      } catch (error) {
        // The server has lost the script and has not run it.
        if (codeOf(error) === "NOSCRIPT") run(pool, call).then(call.resolve, call.reject);
        else call.reject(error);
      }
    });
    await Promise.all([...confirmed, confirmation.catch(() => {})]);
  }

  return run;
}

/** Builds the error for a WAIT that failed behind scripts that the server has run. */
function waitError(cause: unknown): SessionBackendError {
  const message = `Replicas cannot confirm the operation as WAIT failed (${causeOf(cause)}): a failover may lose it`;
  const reason = isRefusal(cause) || codeOf(cause) === "ERR" ? "rejected" : "unavailable";
  return new SessionBackendError(message, { reason, outcome: "unknown", cause });
}
