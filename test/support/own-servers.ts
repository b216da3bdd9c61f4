import { afterAll } from "vitest";
import { type BreakingConnection, connectThrough } from "./proxy.ts";
import { type Server, startSentinel, startServer } from "./redis-server.ts";
import { command } from "./topologies.ts";
import { until } from "./until.ts";

const ends: (() => unknown)[] = [];

/** Registers a function to run after the tests of the file. */
export function atEnd(end: () => unknown): void {
  if (ends.length === 0) afterAll(async () => void (await Promise.all(ends.map((end) => end()))));
  ends.push(end);
}

/** Must be called at the top level of the file, so that the functions passed to `atEnd` are run. */
export function ownServers(): void {
  atEnd(() => {});
}

export async function serve(...options: string[]): Promise<Server> {
  const server = await startServer(...options);
  atEnd(() => server.stop("SIGKILL"));
  return server;
}

/** A proxy for the server whose connections can be broken. */
export async function through({ port }: Pick<Server, "port">): Promise<BreakingConnection> {
  const proxy = await connectThrough(port);
  atEnd(() => proxy.stop());
  return proxy;
}

/** A cluster of one master. */
export async function serveCluster(...options: string[]): Promise<Server> {
  const server = await serve("--cluster-enabled", "yes", ...options);
  const at = options.indexOf("--requirepass");
  const url = at === -1 ? server.url : `redis://:${options[at + 1]}@127.0.0.1:${server.port}`;
  await command({ ...server, url }, "CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  await until("the cluster works", async () =>
    String(await command({ ...server, url }, "CLUSTER", "INFO")).includes("cluster_state:ok"),
  );
  return server;
}

/** A sentinel, and the master that it monitors under the name `main`. */
export async function serveSentinel(
  ...options: string[]
): Promise<{ readonly master: Server; readonly sentinel: Server }> {
  const master = await serve(...options);
  const at = options.indexOf("--requirepass");
  const sentinel = await startSentinel(
    `sentinel monitor main 127.0.0.1 ${master.port} 1`,
    ...(at === -1 ? [] : [`sentinel auth-pass main ${options[at + 1]}`]),
  );
  atEnd(() => sentinel.stop("SIGKILL"));
  return { master, sentinel };
}

/** The address of the master that the sentinel monitors. */
export const bySentinel = ({ url }: Pick<Server, "url">) => ({ sentinel: { name: "main", nodes: [url] } });

/** Makes a server a replica of the master at this port, and waits until the master counts it. */
export async function follow(replica: Server, port: number): Promise<void> {
  const master = { ...replica, url: `redis://127.0.0.1:${port}` };
  await command(replica, "REPLICAOF", "127.0.0.1", `${port}`);
  const says = async (server: Server, words: string) =>
    String(await command(server, "INFO", "replication")).includes(words);
  await until(
    "it follows",
    async () =>
      (await says(replica, "master_link_status:up")) && (await says(master, `port=${replica.port},state=online`)),
  );
}
