import process from "node:process";
import { fileURLToPath } from "node:url";
import { createClient } from "redis";
import { startServer } from "../test/support/redis-server.ts";
import { commandOf, startServing } from "./runtimes.ts";

/** Connects to the server in REDIS_URL, or starts one. */
export async function openRedis() {
  const own = process.env["REDIS_URL"] ? null : await startServer();
  const url = own?.url ?? process.env["REDIS_URL"] ?? "";
  const admin = await createClient({ url }).connect();
  const version = /redis_version:(\S+)/.exec(await admin.info("server"))?.[1] ?? "?";
  return {
    url,
    admin,
    version,
    async clear(prefix: string): Promise<void> {
      for await (const keys of admin.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
        if (keys.length > 0) await admin.unlink(keys);
      }
    },
    async close(): Promise<void> {
      admin.destroy();
      await own?.stop();
    },
  };
}

export type Redis = Awaited<ReturnType<typeof openRedis>>;

/** Starts a proxy, in its own process, that adds a network delay of 1 ms to a server. */
export async function openDistant(url: string): Promise<{ readonly url: string; close(): void }> {
  const script = fileURLToPath(import.meta.resolve("./delay.ts"));
  const { child, port } = await startServing([...commandOf("node", script), new URL(url).port]);
  return { url: `redis://127.0.0.1:${port}`, close: () => child.kill() };
}
