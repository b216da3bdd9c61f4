/** Redis through a client of `connectRedis`. */
import { createSessionStore, nistTimeouts } from "zession";
import { connectRedis, redisBackend } from "zession/redis";
import { visit } from "./visits.ts";

const client = await connectRedis("rediss://localhost:6379", { connectTimeout: "5s", password: "secret" });
const backend = redisBackend(client, { prefix: "app:", waitForReplicas: { count: 1, timeout: "200ms" } });
export const store = createSessionStore({ schema: visit, backend, ...nistTimeouts.aal2, operationTimeout: "500ms" });
await connectRedis({ cluster: ["redis://a:7000", "redis://b:7000"] });
await client.close();
