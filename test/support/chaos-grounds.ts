import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RedisAddress } from "../../src/redis/index.ts";
import {
  type FailoverHands,
  type Fault,
  failoverFaults,
  type Hands,
  pause,
  serverFaults,
  singleFaults,
} from "./chaos-faults.ts";
import { type Server, startServer } from "./redis-server.ts";
import { command, failOver, masterPort, startCluster, startSentinels } from "./topologies.ts";
import { until } from "./until.ts";

/** A Redis setup, and the faults that can happen there. */
export interface Ground {
  readonly address: RedisAddress;
  /** The replicas of each master. Fewer confirmations are not enough, as any replica may be promoted. */
  readonly replicas: number;
  readonly faults: Readonly<Record<string, Fault>>;
  /** Returns fields of a hash from its master. */
  read(key: string, fields: readonly string[]): Promise<(string | null)[]>;
  stop(): Promise<void>;
}

const HOST = "127.0.0.1";

/** One server that persists what it acknowledged. */
export async function singleGround(between: Hands["between"]): Promise<Ground> {
  const folder = await mkdtemp(join(tmpdir(), "zession-chaos-"));
  const lasting = ["--dir", folder, "--appendonly", "yes", "--appendfsync", "always"];
  let server = await startServer(...lasting);
  const hands: Hands = {
    master: async () => server,
    async restart({ port }, ...options) {
      server = await startServer(...lasting, "--port", `${port}`, ...options);
      return server;
    },
    between,
  };
  return {
    address: server.url,
    replicas: 0,
    faults: { ...serverFaults(hands), ...singleFaults(hands) },
    read: (key, fields) => readAt(server, key, fields),
    async stop() {
      await server.stop("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A master, two replicas and three sentinels. */
export async function sentinelGround(between: Hands["between"]): Promise<Ground> {
  const group = await startSentinels();
  const { name, sentinels } = group;
  const servers = serversOf(group.servers);
  const master = async (): Promise<Server> => servers.at(await masterPort(group));
  const hands: FailoverHands = {
    master,
    restart: (was, ...options) => servers.restart(was, ...options),
    between,
    async failOver(was) {
      await failOver(group, was);
      const now = await master();
      await until("it is one", () => says(now, "role:master", "INFO", "replication"));
      return now;
    },
    follow: ({ port }) => ["--replicaof", HOST, `${port}`],
    replicasOf: async (now) => servers.all().filter((server) => server !== now),
  };
  const sentinelsStalled: Fault = async () => {
    const going = sentinels.map((sentinel) => sentinel.stall());
    await pause(between(500, 4000));
    for (const go of going) go();
  };
  return {
    replicas: servers.all().length - 1,
    address: { sentinel: { name, nodes: sentinels.map(({ url }) => url) } },
    faults: { ...serverFaults(hands), ...failoverFaults(hands), "sentinels stalled": sentinelsStalled },
    read: async (key, fields) => await readAt(await master(), key, fields),
    stop: () => servers.stop(group),
  };
}

/** Three masters, each with a replica. */
export async function clusterGround(between: Hands["between"]): Promise<Ground> {
  const group = await startCluster();
  const servers = serversOf(group.servers);
  const partner = (server: Server): Server => {
    const all = servers.all();
    return all[(all.indexOf(server) + all.length / 2) % all.length] as Server;
  };
  const isMaster = (server: Server) => says(server, "role:master", "INFO", "replication");
  const hands: FailoverHands = {
    async master() {
      const roles = await Promise.all(servers.all().map(isMaster));
      const masters = servers.all().filter((_, at) => roles[at]);
      return masters[Math.floor(between(0, masters.length))] as Server;
    },
    restart: (was, ...options) => servers.restart(was, "--cluster-enabled", "yes", ...options),
    between,
    async failOver(was, isGone) {
      const now = partner(was);
      const ask = isGone ? ["TAKEOVER"] : [];
      await until("the failover begins", () => says(now, "OK", "CLUSTER", "FAILOVER", ...ask));
      await until("there is another master", () => isMaster(now));
      const others = servers.all().filter((server) => server !== was || !isGone);
      await until("the others know it", async () => {
        const known = await Promise.all(others.map((server) => command(server, "CLUSTER", "SLOTS")));
        return known.every((slots) =>
          (slots as [number, number, [string, number]][]).some(([, , [, port]]) => port === now.port),
        );
      });
      return now;
    },
    replicasOf: async (now) => [partner(now)],
    // The server's own node list, which is still in its folder, tells it the master.
    follow: () => ["--cluster-node-timeout", "15000", "--repl-diskless-sync-delay", "0"],
  };
  return {
    replicas: 1,
    address: { cluster: servers.all().map(({ url }) => url) },
    faults: { ...serverFaults(hands), ...failoverFaults(hands) },
    async read(key, fields) {
      const answers = servers.all().map(async (server) => {
        if (!(await isMaster(server))) throw new Error("A replica");
        return await readAt(server, key, fields);
      });
      return await Promise.any(answers);
    },
    stop: () => servers.stop(group),
  };
}

/** The servers of a group, some of which are restarted with their port and folder. */
function serversOf(first: readonly Server[]) {
  const servers = [...first];
  const folders = new Map<number, string>();
  const known = Promise.all(
    servers.map(async (server) => {
      const dir = (await command(server, "CONFIG", "GET", "dir")) as object;
      folders.set(server.port, String(Object.values(dir).at(-1)));
    }),
  );
  known.catch(() => {});
  return {
    all: () => servers,
    at: (port: number) => servers.find((server) => server.port === port) as Server,
    async restart(was: Server, ...options: string[]): Promise<Server> {
      await known;
      const own = ["--dir", folders.get(was.port) ?? "", "--port", `${was.port}`];
      const again = await startServer(...options, ...own);
      servers[servers.indexOf(was)] = again;
      return again;
    },
    async stop(group: { stop(): Promise<void> }): Promise<void> {
      await Promise.all(servers.filter((server) => !first.includes(server)).map((server) => server.stop("SIGKILL")));
      await group.stop();
    },
  };
}

async function says(server: Server, words: string, ...args: string[]): Promise<boolean> {
  return await command(server, ...args).then(
    (answer) => String(answer).includes(words),
    () => false,
  );
}

async function readAt(server: Server, key: string, fields: readonly string[]): Promise<(string | null)[]> {
  return (await command(server, "HMGET", key, ...fields)) as (string | null)[];
}
