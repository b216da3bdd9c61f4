import { clearInterval, clearTimeout, setInterval, setTimeout } from "node:timers";
import { codeOf } from "./answers.ts";
import { listen, masterOf, type RedisClient, stateOf } from "./client.ts";

/** A connection to one server. */
interface Connection extends RedisClient {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  connect(): Promise<unknown>;
  destroy(): void;
  ping(): Promise<unknown>;
  role(): Promise<{ readonly role: string }>;
  duplicate(): Connection;
}

/**
 * Makes a connection anew on which the server has been silent, until the client is closed. TCP alone notices after a
 * quarter of an hour that nothing it sends arrives, and a socket's own timeout starts again with every command that is
 * written.
 *
 * @param silenceMs The silence after which a connection is given up, though asked for a sign of life every `pingMs`.
 */
export function keepAlive(
  client: RedisClient & { readonly isOpen?: boolean },
  pingMs: number,
  silenceMs: number,
): void {
  // Counted, as time also passes while this process does not get to read the answers.
  const unanswered = new WeakMap<Connection, number>();
  // Behind long answers that of a PING is late. Of a cluster's connections it is not known which one had them.
  const isOne = client.masters === undefined;
  let before = 0;

  function beat(connection: Connection): void {
    const now = stateOf(client).answers;
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
      // A server that is loading refuses even this, and is not silent.
      (error) => codeOf(error) !== null && unanswered.delete(connection),
    );
  }

  const timer = setInterval(() => {
    if (client.isOpen === false) clearInterval(timer);
    else
      connectionsOf(client).then(
        (connections) => connections.forEach(beat),
        () => {},
      );
  }, pingMs);
  timer.unref();
  // A cluster is told by MOVED, and sentinels tell who the master is.
  if (client.masters === undefined && client.getMasterNode === undefined) {
    stateOf(client).onDemotion = leaver(client as Connection, pingMs, silenceMs);
  }
}

/** The one, or that to each master of a cluster, or the one to the master that sentinels know. */
async function connectionsOf(client: RedisClient): Promise<readonly Connection[]> {
  if (client.getMasterNode !== undefined) {
    return client.getMasterNode() === undefined ? [] : [(await masterOf(client)) as Connection];
  }
  if (client.masters === undefined) return [client as Connection];
  const masters = client.masters as readonly { readonly client?: Connection | undefined }[];
  return masters.map((master) => master.client).filter((connection) => connection !== undefined);
}

function startOver(connection: Connection): void {
  listen(connection);
  if (!connection.isOpen) return;
  connection.destroy();
  connection.connect().catch(() => {});
}

/**
 * Leaves a server that has become a replica, once the address leads to a master: until then it can still be read.
 *
 * @param pauseMs Between two looks at where the address leads.
 * @param lookMs For one of them: a connection that is not made would be tried for without end.
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
      // The next refusal leads here again.
    } finally {
      clearTimeout(late);
      other.destroy();
      next = Date.now() + pauseMs;
    }
  };
}
