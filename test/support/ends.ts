/**
 * A process that uses sessions and closes its client: nothing else ends it.
 *
 * @module
 */
import process from "node:process";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";

/** What the process is told. */
export interface Task {
  readonly address: Parameters<typeof connectRedis>[0];
  readonly how: "close" | "destroy";
  /** Says so and waits for a line before it ends a session and closes. */
  readonly waits: boolean;
}

const { address, how, waits } = JSON.parse(process.argv[2] ?? "") as Task;
const client = await connectRedis(address);
const store = createSessionStore({
  schema: z.object({ userId: z.string() }),
  backend: redisBackend(client, { waitForReplicas: { count: 1, timeoutMs: 100 } }),
  operationTimeoutMs: 500,
});
const { token } = await store.create({ userId: "42" });
if (waits) {
  console.log("waits");
  await new Promise((told) => process.stdin.once("data", told));
  process.stdin.destroy();
}
// Nobody confirms it; what matters are the connections that this takes.
await store.destroy(token).catch(() => {});
await client[how]();
console.log("closed");
