import process from "node:process";
import { serve } from "@hono/node-server";
import { demoApp } from "../../demo/app.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";

/** The demo on node:http as in demo/node.ts, for an address that is not a URL. It is passed as JSON. */
const [, , address = "", replicas] = process.argv;
const client = await connectRedis(JSON.parse(address));
client.on("error", (error) => console.error(`Redis: ${(error as Error).message}`));
const backend = redisBackend(client, { waitForReplicas: { count: Number(replicas), timeout: "1s" } });
const fetch = demoApp({ backend, storage: "Redis", client: "node-redis", server: "node:http" });
const server = serve({ fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => {
  console.log(`Session store demo on Redis: http://localhost:${port}`);
});

process.once("SIGTERM", () => {
  setTimeout(() => process.exit(0), 3000).unref();
  server.close(async () => {
    await client.destroy();
    process.exit(0);
  });
});
