/**
 * A process with a Redis backend that connects at first use.
 *
 * @module
 */
import process from "node:process";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";

const { address, uses, closes } = JSON.parse(process.argv[2] ?? "") as {
  readonly address: string;
  /** Whether it creates a session, which may fail. */
  readonly uses: boolean;
  readonly closes: boolean;
};
const backend = redisBackend(address);
const store = createSessionStore({ schema: z.object({ userId: z.string() }), backend, absoluteTimeout: 3600 });
if (uses) await store.create({ userId: "42" }).catch(() => {});
if (closes) await backend.close();
console.log("done");
