import { knownOptions, wholeNumber } from "../base/checks.ts";
import { SessionBackendError } from "../errors.ts";
import { answerOf, codeOf, runScript, unavailable } from "./answers.ts";
import { type Lease, listen, masterOf, type Pool, type RedisClient, stateOf } from "./client.ts";
import type { Script } from "./session-scripts.ts";

/** What has to hold before an end or a rotation counts as done. */
export interface ReplicaConfirmation {
  /** Replicas of the session's master that have it: all of those that may take its place, or another may be promoted. */
  readonly count: number;
  /** How long to wait for them, in milliseconds: 1 to 30000, and less than the store's `operationTimeoutMs`. */
  readonly timeoutMs: number;
}

/** Runs a script on the server of its key. */
export type RunScript = (script: Script, key: string, args: string[]) => Promise<unknown>;

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
  wholeNumber(action, "waitForReplicas.count", count, 1, 1000);
  wholeNumber(action, "waitForReplicas.timeoutMs", timeoutMs, 1, MAX_WAIT_MS);

  function unconfirmed(cause?: unknown): SessionBackendError {
    const message = `Not every one of ${count} replicas confirmed the operation within ${timeoutMs} ms`;
    return new SessionBackendError(message, { reason: "timeout", outcome: "unknown", cause });
  }

  /**
   * Sent together, as a WAIT that left after a reconnection would confirm nothing and say that it did; and as text, as a
   * WAIT behind a script that the server does not know takes its time.
   */
  async function confirmed(lease: Lease, { text }: Script, key: string, args: string[]): Promise<unknown> {
    const run = lease.eval(text, { keys: [key], arguments: args });
    const wait = lease.wait(count, timeoutMs).catch((error) => {
      // Also if the server refuses: it has run the script.
      throw unavailable("unknown", error);
    });
    const [reply, replicas] = await Promise.all([run, wait]);
    if (replicas < count) throw unconfirmed();
    return reply;
  }

  return async (script, key, args) => {
    const until = Date.now() + timeoutMs;
    try {
      return await answerOf(client, "unknown", async () => {
        const pool = isPool(client) ? client : poolOf(await serverOf(client, key), timeoutMs);
        return await pool.execute(async (lease) => {
          // Whoever asked has been told by now that it failed.
          if (Date.now() > until) throw unavailable("not-applied");
          return await confirmed(lease, script, key, args);
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

function isPool(client: object): client is Pool {
  return "execute" in client;
}

/** The one connection of a client to the server of a key. */
async function serverOf(client: RedisClient, key: string): Promise<RedisClient> {
  if (client.use !== undefined) return await masterOf(client);
  if (client.getNodeClientForKey !== undefined) return (await client.getNodeClientForKey(key)) as RedisClient;
  return client;
}

/**
 * A pool beside a connection, to the same server, empty while nobody confirms. Ends with it: what tried for ever to reach
 * a server that is gone would keep the process alive, and what still led to a master that was left would not confirm.
 */
function poolOf(client: RedisClient, timeoutMs: number): Pool {
  const state = stateOf(client);
  if (state.pool === undefined) {
    state.pool = null;
    client.on("end", () => {
      state.pool?.destroy();
      state.pool = null;
    });
  }
  state.pool ??= newPool(client, timeoutMs);
  return state.pool;
}

function newPool(client: RedisClient, timeoutMs: number): Pool {
  if (client.createPool === undefined) throw new TypeError("Cannot confirm as the client has no createPool()");
  const options = { minimum: 0, maximum: CONNECTIONS, acquireTimeout: timeoutMs, cleanupDelay: IDLE_MS };
  const pool = client.createPool(options) as Pool;
  listen(pool);
  // There is none to connect yet.
  pool.connect().catch(() => {});
  return pool;
}
