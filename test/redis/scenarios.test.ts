import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll } from "vitest";
import { redisBackend } from "../../src/redis/index.ts";
import { startServer } from "../support/redis-server.ts";
import { scenarios } from "../support/scenarios.ts";
import { stalls } from "../support/stalls.ts";

// Its own server, as stopping it must not hold up other tests.
const server = await startServer();
const client = await createClient({ url: server.url }).connect();
afterAll(async () => {
  client.destroy();
  await server.stop("SIGKILL");
});

const open = () => ({ backend: redisBackend(client, { prefix: `${randomUUID()}:` }), now: Date.now });

scenarios(open);

stalls(() => ({ ...open(), stall: server.stall }));
