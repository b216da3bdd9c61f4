import { createClient } from "redis";
import { type Server, startSentinel, startServer } from "./redis-server.ts";
import { until } from "./until.ts";

/** Servers that are one, for a client that knows some of them. */
export interface Topology {
  /** Masters first. */
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
/** Long enough for no failover to begin by itself while a test holds up a server. */
const FAILOVER_MS = 15_000;
/** How late a failover may come: sentinels that were held up do nothing for the first 30 s of it. */
export const TILT_MS = 45_000;
const REPLICATES_AT_ONCE = ["--repl-diskless-sync-delay", "0"];

/** Sends one command over a connection of its own. */
export async function command({ url }: Server, ...args: string[]): Promise<unknown> {
  const client = createClient({ url });
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

/** At once: a server that is told to shut down in peace waits for its replicas. */
async function kill(servers: readonly Server[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop("SIGKILL")));
}

const isLinked = (replica: Server): Promise<boolean> => says(replica, "master_link_status:up", "INFO", "replication");

/** Has the replica all that the master was told? One that does not follow yet has nothing, as a new master has. */
export async function isInStep(master: Server, replica: Server): Promise<boolean> {
  const [offset] = /(?<=master_repl_offset:)\d+/.exec(String(await command(master, "INFO", "replication"))) ?? [];
  const told = String(await command(replica, "INFO", "replication"));
  return told.includes("master_link_status:up") && told.includes(`slave_repl_offset:${offset}\r\n`);
}

/**
 * Three masters, and the replica of each in the same order.
 *
 * @param failoverMs Silence of a master after which its replica takes its place.
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

/** Until a sentinel names another master than this one. */
export async function failOver(group: SentinelGroup, { port }: Server): Promise<void> {
  await until(
    "there is another master",
    async () => {
      if ((await masterPort(group)) !== port) return true;
      // Again and again, as one that takes too long is given up; one that is under way is not begun anew.
      await command(group.sentinels[0] as Server, "SENTINEL", "FAILOVER", group.name).catch(() => {});
      return false;
    },
    TILT_MS,
  );
}

/**
 * Do all sentinels agree on another master than this one, and have no work left with it? Before that, a client that asks
 * them may hear that there is none, and fail what it is asked meanwhile.
 */
export async function isReplaced(master: Server, { name, sentinels }: SentinelGroup): Promise<boolean> {
  return await all(sentinels, async (sentinel) => {
    const told = (await command(sentinel, "SENTINEL", "MASTER", name)) as { port: string; flags: string };
    return told.port !== `${master.port}` && told.flags === "master";
  });
}

/**
 * A master, two replicas and the three sentinels that watch them.
 *
 * @param failoverMs Silence of the master after which the sentinels take it for gone.
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
