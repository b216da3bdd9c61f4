/**
 * A process that uses sessions and closes its client, which should let it exit.
 *
 * @module
 */
import process from "node:process";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";

/** The argument of the process. */
export interface Task {
  readonly address: Parameters<typeof connectRedis>[0];
  readonly how: "close" | "destroy";
  /** Whether it prints a line and waits for one before it ends a session and closes the client. */
  readonly waits: boolean;
}

const { address, how, waits } = JSON.parse(process.argv[2] ?? "") as Task;
const client = await connectRedis(address);
const store = createSessionStore({
  schema: z.object({ userId: z.string() }),
  backend: redisBackend(client, { waitForReplicas: { count: 1, timeout: "100ms" } }),
  operationTimeout: "500ms",
});
const { token } = await store.create({ userId: "42" });
if (waits) {
  console.log("waits");
  await new Promise((told) => process.stdin.once("data", told));
  process.stdin.destroy();
}
// No replica confirms the logout. The test is about the connections that wait for one.
await store.destroy(token).catch(() => {});
await client[how]();
console.log("closed");
