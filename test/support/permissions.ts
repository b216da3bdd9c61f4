/**
 * A process that creates and reads a session, for tests of the permissions that this needs on Deno. It reads no
 * environment variable and no file.
 *
 * @module
 */
import process from "node:process";
import { z } from "zod";
import { createSessionStore, memoryBackend } from "../../src/index.ts";
import { type RedisBackend, redisBackend } from "../../src/redis/index.ts";

const [, , address] = process.argv;
const backend = address === undefined ? memoryBackend() : redisBackend(address);
const schema = z.object({ userId: z.string() });
const store = createSessionStore({ schema, backend, absoluteTimeout: 3600, operationTimeout: "30s", onEvent() {} });
try {
  const { token } = await store.create({ userId: "42" });
  console.log(`The session belongs to user ${(await store.get(token))?.data.userId}`);
  await store.destroy(token);
} catch (error) {
  const { reason, message } = error as { readonly reason?: string; readonly message: string };
  console.log(`${reason}: ${message}`);
} finally {
  if (address !== undefined) await (backend as RedisBackend).close();
}
