import { kindOf, knownOptions } from "../base/checks.ts";
import { CONNECT_OPTIONS, type ConnectOptions } from "./connect-options.ts";
import { type Confirmation, type ReplicaConfirmation, readConfirmation } from "./replicas.ts";

/** Options for `redisBackend`. With an address, the options of `connectRedis` as well. */
export interface RedisBackendOptions {
  /**
   * Prefix of every key: 1 to 128 letters, digits and `_ - . : /`. Default: `"session:"`. Give each store its own
   * prefix.
   */
  readonly prefix?: string | undefined;
  /**
   * Makes everything that ends a session or a token wait until replicas have the change, so that a failover does not restore it:
   * `destroy`, `consume`, `revoke`, `revokeAll`, `revokeEverybody`, `rotate`, and a `create` that replaces a session. If the replicas do not confirm in time, the operation fails with the outcome
   * `unknown`: the primary has applied the change, but a failover may lose it. Default: no waiting, so a failover may
   * lose the changes that the primary had not replicated yet.
   */
  readonly waitForReplicas?: ReplicaConfirmation | undefined;
}

/** Checked options with their defaults. */
export interface BackendSettings {
  readonly prefix: string;
  readonly waitForReplicas: Confirmation | undefined;
}

const ACTION = "create a Redis backend";
const PREFIX = /^[A-Za-z0-9_.:/-]{1,128}$/;

/**
 * Checks the options of `redisBackend` and returns those of the backend and those of the connection.
 *
 * @param connects Whether the backend gets an address.
 * @throws {TypeError | RangeError} If an option of the backend is unknown, has the wrong type or is out of range, or if
 * there are options of the connection for a client, which has its own.
 */
export function settle(
  options: RedisBackendOptions & ConnectOptions,
  connects: boolean,
): { readonly settings: BackendSettings; readonly connection: ConnectOptions } {
  const names = ["prefix", "waitForReplicas", ...CONNECT_OPTIONS] as const;
  const { prefix = "session:", waitForReplicas, ...connection } = knownOptions(ACTION, options, names);
  const [first] = Object.entries(connection).find(([, value]) => value !== undefined) ?? [];
  if (first !== undefined && !connects) {
    throw new TypeError(`Cannot ${ACTION} as "${first}" is an option for an address: give it to the client instead`);
  }
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    const received = typeof prefix === "string" ? JSON.stringify(prefix.slice(0, 150)) : kindOf(prefix);
    throw new TypeError(`Cannot ${ACTION} as prefix must be 1 to 128 letters, digits or "_-.:/": received ${received}`);
  }
  const confirmation = waitForReplicas === undefined ? undefined : readConfirmation(ACTION, waitForReplicas);
  return { settings: { prefix, waitForReplicas: confirmation }, connection };
}
