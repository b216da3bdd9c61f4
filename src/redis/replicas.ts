import { SessionBackendError } from "../errors.ts";
import { knownOptions, wholeNumber } from "../options.ts";
import {
  answerOf,
  codeOf,
  listen,
  type RedisClient,
  type RedisCommands,
  runScript,
  type Script,
  unavailable,
} from "./client.ts";

/** What has to hold before an end or a rotation counts as done. */
export interface ReplicaConfirmation {
  /** Replicas of the session's master that have it. */
  readonly count: number;
  /** How long to wait for them, in milliseconds: 1 to 30000, and less than the store's `operationTimeoutMs`. */
  readonly timeoutMs: number;
}

/** Runs a script on the server of its key. */
export type RunScript = (script: Script, key: string, args: string[]) => Promise<unknown>;

/** A connection that nobody else uses meanwhile. */
interface Lease extends Pick<RedisCommands, "eval" | "evalSha"> {
  wait(replicas: number, milliseconds: number): Promise<number>;
}

/** Gives a connection to a task, as the pool and the sentinel client of node-redis do. */
type Lend = <R>(task: (lease: Lease) => Promise<R>) => Promise<R>;

interface Pool extends Pick<RedisClient, "on"> {
  connect(): Promise<unknown>;
  destroy(): void;
  execute: Lend;
}

interface Sentinel extends Pick<RedisClient, "on"> {
  connect(): Promise<unknown>;
  destroy(): unknown;
  use: Lend;
}

const CONNECTIONS = 8;
/** How long an own connection stays open that nobody needs any more. */
const IDLE_MS = 1000;
const MAX_WAIT_MS = 30_000;

/**
 * WAIT confirms what its own connection wrote and holds up everything behind it, so that script and WAIT share a
 * connection that is theirs (https://redis.io/docs/latest/commands/wait/).
 *
 * @throws {TypeError | RangeError} If the options are not as `ReplicaConfirmation` says.
 */
export function confirmedBy(client: RedisClient, options: ReplicaConfirmation): RunScript {
  const action = "create a Redis backend";
  const { count, timeoutMs } = knownOptions(action, options, ["count", "timeoutMs"]);
  wholeNumber(action, "confirmReplicas.count", count, 1, 1000);
  wholeNumber(action, "confirmReplicas.timeoutMs", timeoutMs, 1, MAX_WAIT_MS);
  const lenderOf = lenders(client, timeoutMs);

  function unconfirmed(cause?: unknown): SessionBackendError {
    const message = `Not every one of ${count} replicas confirmed the operation within ${timeoutMs} ms`;
    return new SessionBackendError(message, { reason: "timeout", outcome: "unknown", cause });
  }

  return async (script, key, args) => {
    const until = Date.now() + timeoutMs;
    try {
      return await answerOf(client, "unknown", async () => {
        const lend = await lenderOf(key);
        return await lend(async (lease) => {
          // Whoever asked has been told by now that it failed.
          if (Date.now() > until) throw unavailable("not-applied");
          const reply = await runScript(lease, script, key, args);
          const confirmed = await lease.wait(count, timeoutMs).catch((error) => {
            // Also if the server refuses: it has run the script.
            throw unavailable("unknown", error);
          });
          if (confirmed < count) throw unconfirmed();
          return reply;
        });
      });
    } catch (error) {
      const { cause } = error as { cause?: unknown };
      if (!["MOVED", "ASK"].includes(codeOf(cause) ?? "")) throw error;
      // The slot has another master: the cluster client finds it, and knows it from then on.
      await answerOf(client, "unknown", () => runScript(client, script, key, args));
      throw unconfirmed(cause);
    }
  };
}

/** Where connections to the server of a key come from, by the kind of client. */
function lenders(client: RedisClient, timeoutMs: number): (key: string) => Promise<Lend> {
  if (client.execute !== undefined) {
    const pool = client as unknown as Pool;
    return async () => pool.execute.bind(pool) as Lend;
  }
  if (client.use !== undefined) return async () => await sentinelOf(client);
  return async (key) => {
    const node = client.getNodeClientForKey === undefined ? client : await client.getNodeClientForKey(key);
    return await poolOf(node as RedisClient, timeoutMs);
  };
}

/** A pool of its own beside a connection, which is empty while nobody confirms. */
function poolOf(client: RedisClient, timeoutMs: number): Promise<Lend> {
  return beside(client, async () => {
    if (client.createPool === undefined) throw new TypeError("Cannot confirm as the client has no createPool()");
    const options = { minimum: 0, maximum: CONNECTIONS, acquireTimeout: timeoutMs, cleanupDelay: IDLE_MS };
    const pool = client.createPool(options) as Pool;
    listen(pool);
    await pool.connect();
    return { lend: pool.execute.bind(pool) as Lend, end: () => pool.destroy() };
  });
}

/** A second sentinel client. */
function sentinelOf(client: RedisClient): Promise<Lend> {
  return beside(client, async () => {
    const own = client.duplicate?.({ masterPoolSize: CONNECTIONS }) as Sentinel;
    listen(own);
    await own.connect();
    return { lend: own.use.bind(own) as Lend, end: () => own.destroy() };
  });
}

interface Lender {
  readonly lend: Lend;
  end(): unknown;
}

const lendersBeside = new WeakMap<RedisClient, { made: Promise<Lender> | null }>();

/**
 * What is made once beside a client and ends with it: what tried for ever to reach a server that is gone would keep the
 * process alive. Made again after it could not be made, and for a client that is connected again.
 */
async function beside(client: RedisClient, make: () => Promise<Lender>): Promise<Lend> {
  const lender = lendersBeside.get(client) ?? { made: null };
  if (!lendersBeside.has(client)) {
    lendersBeside.set(client, lender);
    client.on("end", () => {
      lender.made?.then(({ end }) => end()).catch(() => {});
      lender.made = null;
    });
  }
  lender.made ??= make();
  const { made } = lender;
  try {
    return (await made).lend;
  } catch (error) {
    if (lender.made === made) lender.made = null;
    throw error;
  }
}
