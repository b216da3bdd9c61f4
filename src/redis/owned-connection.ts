import { clearTimeout, setTimeout } from "node:timers";
import { pause } from "../base/step.ts";
import type { RedisClient } from "./client.ts";
import { type ClientPlan, type ConnectedRedis, SILENCE_MS } from "./client-plan.ts";
import { connectOnce, destroy, RETRY_MS } from "./connect.ts";

/** A connection, and what its users need of it. */
export interface Connection<R> {
  /** Returns what uses the connection, or `null` before the connection was established. */
  current(): R | null;
  /** Connects; concurrent calls share one attempt. */
  open(): Promise<R>;
  /**
   * Closes the connection, and makes pending calls of `open` reject with `reason`. Must be called once.
   *
   * @param pending What may still send commands. It is waited for as long as for replies. Never rejects.
   */
  close(reason: Error, pending: Promise<unknown>): Promise<void>;
}

/**
 * Returns a connection that is established at first use and lasts until it is closed.
 *
 * Each use makes one attempt and no more: while Redis is not available, calls fail at once, as they do on a connection
 * that was lost.
 *
 * @param use Creates what uses the client.
 */
export function connectionAtFirstUse<R>(plan: ClientPlan, use: (client: RedisClient) => R): Connection<R> {
  const ending = new AbortController();
  let client: ConnectedRedis | null = null;
  let user: R | null = null;
  let attempt: Promise<R> | null = null;
  let failedAt = Number.NEGATIVE_INFINITY;

  async function connect(): Promise<R> {
    try {
      const early = failedAt + RETRY_MS - Date.now();
      if (early > 0) await pause(Math.min(early, RETRY_MS));
      client = await connectOnce(plan, plan.timeoutMs, ending.signal);
      user = use(client);
      return user;
    } catch (error) {
      failedAt = Date.now();
      throw error;
    } finally {
      attempt = null;
    }
  }

  return {
    current: () => user,
    open() {
      attempt ??= connect();
      return attempt;
    },
    async close(reason, pending) {
      ending.abort(reason);
      await attempt?.catch(() => {});
      if (client !== null) await end(client, pending);
    },
  };
}

/** Closes a client once its pending commands are answered, or after a time in which a working server answers. */
async function end(client: ConnectedRedis, pending: Promise<unknown>): Promise<void> {
  await inTime(pending.then(() => client.close()));
  // Does nothing unless replies are missing.
  await destroy(client);
}

/** Waits for a promise, but no longer than a working server takes to answer. Never rejects. */
export async function inTime(promise: Promise<unknown>): Promise<void> {
  let late: ReturnType<typeof setTimeout> | undefined;
  const waited = new Promise<void>((resolve) => {
    late = setTimeout(resolve, SILENCE_MS);
  });
  await Promise.race([promise, waited]).catch(() => {});
  clearTimeout(late);
}
