import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, inject } from "vitest";
import { redisBackend } from "../../src/redis/index.ts";

/** A connection to the server of the test run, closed after the tests of the file. */
export async function connect() {
  const client = createClient({ url: inject("redisUrl") });
  client.on("error", () => {});
  await client.connect();
  afterAll(() => client.close());
  return client;
}

/** A prefix for this file. Its keys are deleted after the tests of the file. */
export async function ownPrefix(client: Awaited<ReturnType<typeof connect>>): Promise<string> {
  const prefix = `zession-test:${randomUUID()}:`;
  afterAll(async () => {
    for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
      if (keys.length > 0) await client.del(keys);
    }
  });
  return prefix;
}

/** A backend with a prefix of its own. */
export async function ownBackend() {
  const client = await connect();
  const prefix = await ownPrefix(client);
  return { client, prefix, backend: redisBackend(client, { prefix }) };
}
