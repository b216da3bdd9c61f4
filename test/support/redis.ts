import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, inject } from "vitest";
import { redisBackend } from "../../src/redis/index.ts";

/** A connection to the run's server, closed when the file's tests are over. */
export async function connect() {
  const client = createClient({ url: inject("redisUrl") });
  client.on("error", () => {});
  await client.connect();
  afterAll(() => client.close());
  return client;
}

/** A prefix that nobody else uses; what is below it is deleted when the file's tests are over. */
export async function ownPrefix(client: Awaited<ReturnType<typeof connect>>): Promise<string> {
  const prefix = `zession-test:${randomUUID()}:`;
  afterAll(async () => {
    for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
      if (keys.length > 0) await client.del(keys);
    }
  });
  return prefix;
}

/** A backend below a prefix of its own. */
export async function ownBackend() {
  const client = await connect();
  const prefix = await ownPrefix(client);
  return { client, prefix, backend: redisBackend(client, { prefix }) };
}
