import { createClient } from "redis";
import { type Server, startSentinel, startServer } from "./redis-server.ts";
import { until } from "./until.ts";

/** Several servers that a client uses as one. */
export interface Topology {
  /** Masters come first. */
  readonly servers: readonly Server[];
  stop(): Promise<void>;
}

export interface SentinelGroup extends Topology {
  /** The name under which the sentinels know the master. */
  readonly name: string;
  readonly sentinels: readonly Server[];
}

const MASTERS = 3;
const SLOTS = 16_384;
/** Long enough that no failover begins by itself while a test stops a server. */
const FAILOVER_MS = 15_000;
/** The longest delay of a failover: sentinels that were stopped do nothing for 30 s afterwards. */
export const TILT_MS = 45_000;
const REPLICATES_AT_ONCE = ["--repl-diskless-sync-delay", "0"];

/** Sends one command over its own connection. */
export async function command({ url }: Server, ...args: string[]): Promise<unknown> {
  const client = createClient({ url, RESP: 3 });
  client.on("error", () => {});
  await client.connect();
  try {
    return await client.sendCommand(args);
  } finally {
    client.destroy();
  }
}

async function says(server: Server, words: string, ...args: string[]): Promise<boolean> {
  return String(await command(server, ...args)).includes(words);
}

async function all(servers: readonly Server[], ask: (server: Server) => Promise<boolean>): Promise<boolean> {
  return (await Promise.all(servers.map(ask))).every(Boolean);
}

/** Kills the servers, as a server that is shut down gracefully waits for its replicas. */
async function kill(servers: readonly Server[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop("SIGKILL")));
}

const isLinked = (replica: Server): Promise<boolean> => says(replica, "master_link_status:up", "INFO", "replication");

/** Whether the replica has every write of the master. A replica that is not linked yet is not in step. */
export async function isInStep(master: Server, replica: Server): Promise<boolean> {
  const [offset] = /(?<=master_repl_offset:)\d+/.exec(String(await command(master, "INFO", "replication"))) ?? [];
  const told = String(await command(replica, "INFO", "replication"));
  return told.includes("master_link_status:up") && told.includes(`slave_repl_offset:${offset}\r\n`);
}

/**
 * Starts three masters, each with a replica. The replicas are in the same order.
 *
 * @param failoverMs The time of silence after which a replica replaces its master.
 */
export async function startCluster(failoverMs = FAILOVER_MS): Promise<Topology> {
  const options = ["--cluster-enabled", "yes", "--cluster-node-timeout", `${failoverMs}`, ...REPLICATES_AT_ONCE];
  const servers = await Promise.all(Array.from({ length: 2 * MASTERS }, () => startServer(...options)));
  const [masters, replicas] = [servers.slice(0, MASTERS), servers.slice(MASTERS)];
  const [first, ...others] = servers as [Server, ...Server[]];

  await Promise.all(servers.map((server, at) => command(server, "CLUSTER", "SET-CONFIG-EPOCH", `${at + 1}`)));
  const slots = Array.from({ length: SLOTS }, (_, slot) => `${slot}`);
  await Promise.all(
    masters.map((master, at) => {
      const from = (part: number): number => Math.floor((part * SLOTS) / MASTERS);
      return command(master, "CLUSTER", "ADDSLOTS", ...slots.slice(from(at), from(at + 1)));
    }),
  );
  for (const { port } of others) await command(first, "CLUSTER", "MEET", "127.0.0.1", `${port}`);
  await until("every node knows the others", () =>
    all(servers, (server) => says(server, `cluster_known_nodes:${servers.length}`, "CLUSTER", "INFO")),
  );
  const ids = await Promise.all(masters.map((master) => command(master, "CLUSTER", "MYID")));
  await Promise.all(replicas.map((replica, at) => command(replica, "CLUSTER", "REPLICATE", `${ids[at]}`)));
  await until("the cluster works", () => all(servers, (server) => says(server, "cluster_state:ok", "CLUSTER", "INFO")));
  await until("the replicas follow their masters", () => all(replicas, isLinked));
  return { servers, stop: () => kill(servers) };
}

export async function masterPort({ name, sentinels }: SentinelGroup): Promise<number> {
  const address = await command(sentinels[0] as Server, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name);
  return Number((address as string[])[1]);
}

/** Makes the sentinels promote a replica, and waits until they name another master. */
export async function failOver(group: SentinelGroup, { port }: Server): Promise<void> {
  await until(
    "there is another master",
    async () => {
      if ((await masterPort(group)) !== port) return true;
      // Repeated, as a failover that takes too long is given up; one that is in progress is not started again.
      await command(group.sentinels[0] as Server, "SENTINEL", "FAILOVER", group.name).catch(() => {});
      return false;
    },
    TILT_MS,
  );
}

/**
 * Whether all sentinels agree on another master and are done with the failover. Before that, a client that asks them may
 * be told that there is no master, and its calls may fail.
 */
export async function isReplaced(master: Server, { name, sentinels }: SentinelGroup): Promise<boolean> {
  return await all(sentinels, async (sentinel) => {
    const told = (await command(sentinel, "SENTINEL", "MASTER", name)) as { port: string; flags: string };
    return told.port !== `${master.port}` && told.flags === "master";
  });
}

/**
 * Starts a master, two replicas and three sentinels.
 *
 * @param failoverMs The time of silence after which the sentinels consider the master failed.
 */
export async function startSentinels(failoverMs = FAILOVER_MS): Promise<SentinelGroup> {
  const name = "main";
  const master = await startServer(...REPLICATES_AT_ONCE);
  const replicaOf = ["--replicaof", "127.0.0.1", `${master.port}`];
  const replicas = await Promise.all([1, 2].map(() => startServer(...replicaOf, ...REPLICATES_AT_ONCE)));
  await until("the replicas follow their master", () => all(replicas, isLinked));
  const sentinels = await Promise.all(
    [1, 2, 3].map(() =>
      startSentinel(
        `sentinel monitor ${name} 127.0.0.1 ${master.port} 2`,
        `sentinel down-after-milliseconds ${name} ${failoverMs}`,
        `sentinel failover-timeout ${name} 3000`,
      ),
    ),
  );
  await until("the sentinels know the replicas", () =>
    all(sentinels, async (sentinel) => {
      const known = (await command(sentinel, "SENTINEL", "REPLICAS", name)) as unknown[];
      return known.length === replicas.length;
    }),
  );
  const servers = [master, ...replicas];
  return { name, servers, sentinels, stop: () => kill([...sentinels, ...servers]) };
}
