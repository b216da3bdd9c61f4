import process from "node:process";

/** Whether the tests run on Node, and not on Bun or Deno. */
export const onNode = !("Bun" in globalThis || "Deno" in globalThis);
/** Whether the tests run with the oldest supported node-redis, which lacks some options of later versions. */
export const onOldestRedis = process.env["OLDEST_REDIS"] !== undefined;
