import { createClient } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { SessionBackendError, SessionDataError } from "../../src/index.ts";
import { type ConnectedRedis, connectRedis, redisBackend } from "../../src/redis/index.ts";
import { type Server, startServer } from "../support/redis-server.ts";
import { failureOf } from "../support/stored.ts";
import { visits } from "../support/visits.ts";

// On a server of its own, because such fields keep a server busy.
let server: Server;
let client: ConnectedRedis;

beforeAll(async () => {
  server = await startServer();
  client = await connectRedis(server.url);
});
afterAll(async () => {
  client?.destroy();
  await server?.stop();
});

/** A store, and the token of a session with a field of so many MB, which the server itself makes. */
async function withHugeField(megabytes: number) {
  const { store } = visits({ backend: redisBackend(client), operationTimeout: "30s" });
  const { token, session } = await store.create({ userId: "42" });
  const program = `local part, parts = string.rep('x', 1048576), {}
    for at = 1, ARGV[1] do parts[at] = part end
    redis.call('HSET', KEYS[1], 'flash', table.concat(parts))`;
  const admin = await createClient({ url: server.url }).connect();
  await admin.eval(program, { keys: [`session:${session.id}`], arguments: [String(megabytes)] });
  await admin.close();
  return { store, token };
}

/** Ends the session, and creates another one. The heartbeat may have replaced the connection, which gave no replies. */
async function expectNoOtherTrouble({ store, token }: Awaited<ReturnType<typeof withHugeField>>): Promise<void> {
  await expect.poll(() => store.destroy(token).catch(() => null), { timeout: 30_000 }).toBe(true);
  expect((await store.create({ userId: "43" })).session.data.userId).toBe("43");
}

test.each([1, 64])("S-16 a field of %i MB is rejected as too large", { timeout: 60_000 }, async (megabytes) => {
  const { store, token } = await withHugeField(megabytes);
  expect(await failureOf(store.get(token))).toMatchObject({ origin: "stored", issues: [{ code: "too_many_bytes" }] });
  await expectNoOtherTrouble({ store, token });
});

test.each([511])(
  "S-16 a field of %i MB makes its own call fail, and no later calls of the process",
  { timeout: 60_000 },
  async (megabytes) => {
    const { store, token } = await withHugeField(megabytes);
    // Receiving it may take longer than a connection may be silent.
    const failure: unknown = await store.get(token).catch((error: unknown) => error);
    expect(failure instanceof SessionDataError || failure instanceof SessionBackendError).toBe(true);
    await expectNoOtherTrouble({ store, token });
  },
);
