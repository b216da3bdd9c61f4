import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";
import { listen, type RedisClient, repliesTo, stateOf } from "./client.ts";
import { codeOf } from "./error-codes.ts";
import { masterOf } from "./primaries.ts";

/** A client with a connection to one server. */
interface Connection extends RedisClient {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  connect(): Promise<unknown>;
  destroy(): void;
  ping(): Promise<unknown>;
  role(): Promise<{ readonly role: string }>;
  duplicate(): Connection;
}

/** A cluster client, and the method of node-redis that asks a node, and otherwise all others, for the primaries. */
interface Cluster extends RedisClient {
  readonly _slots: { rediscover(startWith: Connection): Promise<unknown> };
}

/**
 * Replaces connections on which the server stops answering, until the client is closed. TCP alone needs up to 15
 * minutes to notice a dead connection, and the socket timeout restarts with every command that is written.
 *
 * @param pingMs The interval between two PINGs, in milliseconds.
 * @param silenceMs How long PINGs may stay unanswered before the connection is replaced, in milliseconds.
 */
export function keepAlive(
  client: RedisClient & { readonly isOpen?: boolean },
  pingMs: number,
  silenceMs: number,
): void {
  // Counts PINGs instead of time, because time also passes while this process is too busy to read the replies.
  const unanswered = new WeakMap<Connection, number>();
  // A PING waits behind long replies, so any reply counts as a sign of life. In a cluster it does not count, as it is
  // unknown which connection received it.
  const isOne = client.masters === undefined;
  let before = 0;

  function beat(connection: Connection): void {
    const now = repliesTo(client);
    const pings = isOne && now > before ? 0 : (unanswered.get(connection) ?? 0);
    before = now;
    unanswered.delete(connection);
    if (!connection.isReady) return;
    if (pings * pingMs >= silenceMs) {
      startOver(connection);
      return;
    }
    unanswered.set(connection, pings + 1);
    connection.ping().then(
      () => unanswered.delete(connection),
      // An error reply, as from a server that is still loading, is a sign of life as well.
      (error) => codeOf(error) !== null && unanswered.delete(connection),
    );
  }

  const timer = setInterval(() => {
    if (client.isOpen === false) clearInterval(timer);
    else
      connectionsOf(client)
        .then(async (connections) => {
          connections.forEach(beat);
          const lost = connections.find((connection) => !connection.isReady);
          // node-redis 5 reconnects to a primary for ever, even if another one has replaced it.
          if (isOne || lost === undefined) return;
          const working = connections.find((connection) => connection.isReady);
          await (client as Cluster)._slots.rediscover(working ?? lost);
        })
        .catch(() => {});
  }, pingMs);
  timer.unref();
  // Not needed with a cluster, which answers MOVED, or with Sentinel, which announces the new primary.
  if (client.masters === undefined && client.getMasterNode === undefined) {
    stateOf(client).onDemotion = leaver(client as Connection, pingMs, silenceMs);
  }
}

/** Returns the connections to all primaries: one for each node of a cluster, otherwise one in total. */
async function connectionsOf(client: RedisClient): Promise<readonly Connection[]> {
  if (client.getMasterNode !== undefined) {
    return client.getMasterNode() === undefined ? [] : [(await masterOf(client)) as Connection];
  }
  if (client.masters === undefined) return [client as Connection];
  const masters = client.masters as readonly { readonly client?: Connection | undefined }[];
  return masters.map((master) => master.client).filter((connection) => connection !== undefined);
}

/** Closes the connection and connects again. */
function startOver(connection: Connection): void {
  listen(connection);
  if (!connection.isOpen) return;
  connection.destroy();
  connection.connect().catch(() => {});
}

/**
 * Returns a function that reconnects a client whose server has become a replica, if the address now leads to a primary.
 * Until it does, the client stays connected to the replica, so reads continue to work.
 *
 * @param pauseMs The pause between two checks, in milliseconds.
 * @param lookMs The timeout of one check, in milliseconds: the connection that it opens would retry without limit.
 */
function leaver(connection: Connection, pauseMs: number, lookMs: number): () => void {
  let next = 0;
  return async () => {
    if (Date.now() < next) return;
    next = Number.POSITIVE_INFINITY;
    const other = connection.duplicate();
    listen(other);
    const late = setTimeout(() => other.destroy(), lookMs);
    try {
      await other.connect();
      const { role } = await other.role();
      if (role === "master") startOver(connection);
    } catch {
      // The next write that the replica rejects starts another check.
    } finally {
      clearTimeout(late);
      other.destroy();
      next = Date.now() + pauseMs;
    }
  };
}
