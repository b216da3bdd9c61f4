/**
 * The connections of a client to the primaries. A replica may still return a session that was destroyed.
 *
 * @module
 */
import type { RedisClient, RedisKeys } from "./client.ts";
import { refuseOptions } from "./client-options.ts";

/** Clients with several connections, and the methods of node-redis that run a task on one of these. */
interface Executor extends RedisClient {
  /** Sentinel clients: runs a task on the connection to the primary if `isReadonly` is false. */
  _execute?<R>(isReadonly: false, task: (master: RedisClient) => Promise<R>): Promise<R>;
  /** Pools: runs a task on a connection that no other task uses. */
  execute?<R>(task: (connection: RedisClient) => Promise<R>): Promise<R>;
}

/**
 * Runs a task on a connection to a primary: a sentinel client with a `replicaPoolSize` would send reads to replicas. A
 * cluster client finds the connection itself.
 *
 * @throws {TypeError} If the connection has options that `refuseOptions` rejects: only then these can be seen.
 */
export async function onPrimary<R>(client: RedisClient, task: (connection: RedisClient) => Promise<R>): Promise<R> {
  const executor = client as Executor;
  const checked = async (connection: RedisClient): Promise<R> => {
    refuseOptions(connection);
    return await task(connection);
  };
  if (client.getMasterNode !== undefined) return await checked(await masterOf(client));
  return await (executor.execute === undefined ? task(client) : executor.execute(checked));
}

/**
 * Returns a sentinel client's connection to its primary. The caller runs its command outside of `_execute`, which runs
 * commands that begin together one after the other, a round trip each. Does not call `use`, whose leases cost 20 ms of
 * processor time.
 */
export async function masterOf(client: RedisClient): Promise<RedisClient> {
  return await (client as Executor & Required<Pick<Executor, "_execute">>)._execute(false, async (master) => master);
}

/** Cluster clients of node-redis 5. */
interface Cluster5 extends RedisClient {
  /** Runs a task on the connection to the primary that holds the key. */
  _execute<R>(key: string, isReadonly: false, options: undefined, task: (node: RedisClient) => Promise<R>): Promise<R>;
}

/** Returns the client's connection to the primary that holds the key. */
export async function primaryFor(client: RedisClient, key: string): Promise<RedisClient> {
  if (client.getMasterNode !== undefined) return await masterOf(client);
  if (client.getNodeClientForKey !== undefined) return (await client.getNodeClientForKey(key)) as RedisClient;
  if (client.masters === undefined) return client;
  return await (client as Cluster5)._execute(key, false, undefined, async (node) => node);
}

/** Returns the primaries of a cluster; `[null]` for any other client, which has one server. */
export async function servers(client: RedisClient): Promise<readonly (RedisKeys | null)[]> {
  const { nodeClient } = client;
  if (client.masters !== undefined && nodeClient !== undefined) {
    return await Promise.all(client.masters.map((master) => nodeClient.call(client, master as never)));
  }
  if (client.scan === undefined) {
    throw new TypeError("Cannot scan sessions as this Redis client has no scan(): use connectRedis or createClient");
  }
  return [null];
}
