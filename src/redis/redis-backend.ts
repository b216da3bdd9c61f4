import type { SessionBackend } from "../backend.ts";
import { ignore, isPromise } from "../base/promises.ts";
import { SessionBackendError } from "../errors.ts";
import type { RedisAddress } from "./address.ts";
import { type AsyncDisposing, asyncDisposable } from "./async-disposal.ts";
import { type ClientBackend, clientBackend } from "./backend.ts";
import { type RedisBackendOptions, settle } from "./backend-options.ts";
import { guard, type RedisClient } from "./client.ts";
import { planOf } from "./client-plan.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { type Connection, connectionAtFirstUse, inTime } from "./owned-connection.ts";

/** A backend that may own its connection. */
export interface RedisBackend extends SessionBackend, AsyncDisposing {
  /**
   * Ends the use of the backend: every later call fails with a `SessionBackendError` whose `reason` is `rejected`. With
   * an address, waits up to 3 s for pending replies, also of touches behind an answer, and closes the connection. A client that was passed to
   * `redisBackend` stays connected.
   */
  close(): Promise<void>;
}

/**
 * Creates a backend that stores sessions in Redis 6.2 or later, or in Valkey: one hash for each session, as in the
 * session-store guides of the Redis documentation.
 *
 * With an address, the backend connects at the first call, so that an application starts and builds without Redis, and
 * owns the connection: close it by `close()` or `await using`. Calls made meanwhile wait for the same attempt. If it
 * fails, they fail with the reason `unavailable`, or `rejected` if no retry helps, and the next call tries again. Later
 * the connection behaves as that of `connectRedis` does.
 *
 * With a client, the caller owns it: connect it before use and close it afterwards.
 *
 * @param place An address as for `connectRedis`, or a connected node-redis client from `connectRedis`, `createClient`,
 * `createClientPool`, `createCluster` or `createSentinel`. `undefined` is accepted by the type alone, for
 * `process.env.REDIS_URL`.
 * @param options Those of `connectRedis` are for an address only.
 * @throws {TypeError} If `place` is missing, malformed or no such client, for example of node-redis 4; if it is a client with a `keyPrefix`,
 * `readonly`, `useReplicas` or a command option other than `timeout`, for example a type mapping; or if an option is
 * unknown, has the wrong type, or is a `prefix` with other characters. Options that only the connections have are
 * rejected at the first call.
 * @throws {RangeError} If a number in the options is out of range.
 */
export function redisBackend(
  place: RedisAddress | RedisClient | undefined,
  options: RedisBackendOptions & ConnectOptions = {},
): RedisBackend {
  if (isAddress(place)) {
    const { settings, connection } = settle(options, true);
    const plan = planOf(place, connection);
    return closable(connectionAtFirstUse(plan, (client) => clientBackend(client, settings)));
  }
  const { settings } = settle(options, false);
  if (isPromise(place)) {
    ignore(place);
    throw new TypeError("Cannot create a Redis backend as it received a promise: await connectRedis() first");
  }
  guard(place);
  const backend = clientBackend(place, settings);
  return closable({ current: () => backend, open: async () => backend, close: (_, pending) => inTime(pending) });
}

function isAddress(place: RedisAddress | RedisClient | undefined): place is RedisAddress | undefined {
  if (typeof place !== "object" || place === null) return place === undefined || typeof place === "string";
  return !("evalSha" in place) && ("cluster" in place || "sentinel" in place);
}

/** Returns a backend that sends its calls through a connection until it is closed. */
function closable(connection: Connection<ClientBackend>): RedisBackend {
  let closing: Promise<void> | null = null;
  /** The touches under way, for which no caller may be waiting. */
  const touches = new Set<Promise<unknown>>();

  function on<R>(call: (backend: ClientBackend) => Promise<R>): Promise<R> {
    if (closing !== null) return Promise.reject(closed());
    const backend = connection.current();
    return backend === null ? connection.open().then(call) : call(backend);
  }

  const close = (): Promise<void> => {
    closing ??= connection.close(closed(), Promise.allSettled(touches));
    return closing;
  };

  const backend: SessionBackend & Pick<RedisBackend, "close"> = {
    insert: (...args) => on((backend) => backend.insert(...args)),
    read: (...args) => on((backend) => backend.read(...args)),
    touch(...args) {
      const touch = on((backend) => backend.touch(...args));
      const end = (): unknown => touches.delete(touch);
      touches.add(touch);
      touch.then(end, end);
      return touch;
    },
    write: (...args) => on((backend) => backend.write(...args)),
    increment: (...args) => on((backend) => backend.increment(...args)),
    remove: (...args) => on((backend) => backend.remove(...args)),
    revoke: (...args) => on((backend) => backend.revoke(...args)),
    enter: (...args) => on((backend) => backend.enter(...args)),
    extend: (...args) => on((backend) => backend.extend(...args)),
    page: (...args) => on((backend) => backend.page(...args)),
    leave: (...args) => on((backend) => backend.leave(...args)),
    evictionPolicy: () => on(async (backend) => (await backend.evictionPolicy?.()) ?? null),
    shared: (...args) => on((backend) => backend.shared(...args)),
    left: (...args) => on((backend) => backend.left(...args)),
    async *keys() {
      yield* await on(async (backend) => backend.keys());
    },
    close,
  };
  return asyncDisposable(backend, close);
}

function closed(): SessionBackendError {
  const message = "The Redis backend was closed by the application: create another one";
  return new SessionBackendError(message, { reason: "rejected", outcome: "not-applied" });
}
