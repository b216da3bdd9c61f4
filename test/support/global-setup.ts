import process from "node:process";
import { createClient } from "redis";
import type { TestProject } from "vitest/node";
import { startServer } from "./redis-server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    redisUrl: string;
  }
}

/** Provides `REDIS_URL`, or starts a server for this run. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const url = process.env["REDIS_URL"];
  if (!url) {
    const server = await startServer();
    project.provide("redisUrl", server.url);
    return () => server.stop();
  }
  const client = createClient({ url, socket: { connectTimeout: 2000, reconnectStrategy: false } });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.ping();
    await client.close();
  } catch (cause) {
    throw new Error("REDIS_URL is set, but no server answers there", { cause });
  }
  project.provide("redisUrl", url);
  return undefined;
}
