import { randomUUID } from "node:crypto";
import { createSentinel } from "redis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { createSessionStore, SessionBackendError } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";
import { backendContract } from "../../src/testing/index.ts";
import { keysOf } from "../support/backends.ts";
import { allListed } from "../support/members.ts";
import { type BreakingConnection, connectThrough } from "../support/proxy.ts";
import { races } from "../support/races.ts";
import type { Server } from "../support/redis-server.ts";
import { onOldestRedis } from "../support/runtime.ts";
import { scenarios } from "../support/scenarios.ts";
import { stalls } from "../support/stalls.ts";
import {
  command,
  failOver,
  isInStep,
  isReplaced,
  masterPort,
  type SentinelGroup,
  startSentinels,
  TILT_MS,
} from "../support/topologies.ts";
import { until } from "../support/until.ts";

let group: SentinelGroup;
let client: ReturnType<typeof connectTo>;

/** A client that the application creates itself, with a proxy in front of the master. */
function connectTo({ name, sentinels, servers }: SentinelGroup, proxyPort: number) {
  const [master] = servers;
  return createSentinel({
    name,
    sentinelRootNodes: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
    // With more, the client would send a command again whose reply was lost.
    maxCommandRediscovers: 0,
    nodeAddressMap: (address) =>
      address.endsWith(`:${master?.port}`) ? { host: "127.0.0.1", port: proxyPort } : undefined,
  });
}

beforeAll(async () => {
  group = await startSentinels();
  const nodes = group.sentinels.map(({ url }) => url);
  client = (await connectRedis({ sentinel: { name: group.name, nodes } })) as unknown as typeof client;
});
afterAll(async () => {
  await client?.destroy();
  await group?.stop();
});

const wait = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));
const schema = z.object({ userId: z.string(), views: z.int().default(0) });
const many = Array.from({ length: 60 }, (_, at) => `${at}`);

/** A backend with a prefix of its own. */
function open() {
  const prefix = `${randomUUID()}:`;
  return { prefix, backend: redisBackend(client, { prefix }), now: Date.now };
}

async function masterNow(): Promise<Server> {
  const port = await masterPort(group);
  return group.servers.find((server) => server.port === port) as Server;
}

describe("the backend contract on a master with sentinels", () => {
  backendContract(test.concurrent, () => open().backend, { now: Date.now, advance: (seconds) => wait(seconds * 1000) });
});

test("scan finds every session on a master with sentinels, and the index finds those of a user", async () => {
  const { backend } = open();
  const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
  const created = await Promise.all(many.map(() => store.create({ userId: "42" })));
  const ids = created.map(({ session }) => session.id).sort();
  expect((await keysOf(backend)).sort()).toEqual(ids);
  const listed: string[] = [];
  for await (const { id } of store.scan()) listed.push(id);
  expect(listed.sort()).toEqual(ids);
  expect(await store.count({ user: "42" })).toBe(many.length);
  expect(await store.updateAll({ user: "42" }, { views: 7 })).toBe(many.length);
  expect((await allListed(store, { user: "42" })).every(({ data }) => data.views === 7)).toBe(true);
  expect(await store.revokeAll({ user: "42" })).toBe(many.length);
  expect(await keysOf(backend)).toEqual([]);
});

test("scripts are sent again after the master has lost them", async () => {
  const store = createSessionStore({ schema, backend: open().backend, indexes: { user: "userId" } });
  const forget = async () => command(await masterNow(), "SCRIPT", "FLUSH");
  await forget();
  const { token } = await store.create({ userId: "42" });
  const uses: Record<string, () => Promise<unknown>> = {
    get: () => store.get(token),
    update: () => store.update(token, ({ views }) => ({ views: views + 1 })),
    increment: () => store.increment(token, "views"),
    list: () => allListed(store, { user: "42" }),
    revokeAll: () => store.revokeAll({ user: "42" }),
  };
  for (const [use, run] of Object.entries(uses)) {
    await forget();
    expect(await run(), use).not.toBeNull();
  }
});

races(() => {
  const { prefix, ...place } = open();
  return { ...place, expire: (id) => client.pExpireAt(prefix + id, 1) };
});

scenarios(open);

describe("on a master with sentinels", () => {
  stalls(() => ({
    ...open(),
    stall: async () => (await masterNow()).stall(),
  }));
});

test("F-26 a client with a replicaPoolSize reads sessions from the master, not from its replicas", async () => {
  const { name, sentinels, servers } = group;
  const own = createSentinel({
    name,
    sentinelRootNodes: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
    replicaPoolSize: 1,
  });
  own.on("error", () => {});
  await own.connect();
  onTestFinished(() => own.destroy());
  await until("the client is connected to the replicas", () => [...own.getReplicaNodes().values()].some(Boolean));
  const master = await masterNow();
  const reads = async (): Promise<number> => {
    const stats = await Promise.all(
      servers.filter((server) => server !== master).map((replica) => command(replica, "INFO", "commandstats")),
    );
    const calls = stats.flatMap((text) => [...String(text).matchAll(/cmdstat_(?:hmget|hgetall|scan):calls=(\d+)/g)]);
    return calls.reduce((sum, [, count]) => sum + Number(count), 0);
  };
  const backend = redisBackend(own, { prefix: `${randomUUID()}:` });
  const store = createSessionStore({ schema, backend, touchInterval: 60 });
  const { token } = await store.create({ userId: "42" });
  const before = await reads();
  for (const read of [
    () => store.get(token),
    () => store.peek(token),
    () => store.scan()[Symbol.asyncIterator]().next(),
  ]) {
    expect(await read()).not.toBeNull();
  }
  expect(await store.destroy(token)).toBe(true);
  expect(await store.get(token)).toBeNull();
  expect(await reads()).toBe(before);
});

// The proxy needs `nodeAddressMap`, which the oldest node-redis does not have.
describe.skipIf(onOldestRedis)("a connection to the master that breaks", () => {
  let proxy: BreakingConnection;
  let own: ReturnType<typeof connectTo>;
  beforeAll(async () => {
    proxy = await connectThrough((await masterNow()).port);
    own = connectTo(group, proxy.port);
    own.on("error", () => {});
    await own.connect();
  });
  afterAll(async () => {
    await own?.destroy();
    await proxy?.stop();
  });

  async function scene() {
    const store = createSessionStore({ schema, backend: redisBackend(own, { prefix: `${randomUUID()}:` }) });
    const { token } = await store.create({ userId: "42" });
    await store.increment(token, "views");
    const works = () =>
      until("the store works again", () =>
        store.get(token).then(
          () => true,
          () => false,
        ),
      );
    return { store, token, works };
  }

  test("a change whose reply is lost is not applied twice", async () => {
    const { store, token, works } = await scene();
    proxy.loseNextAnswer();
    const lost = store.increment(token, "views");
    await expect(lost).rejects.toThrow(SessionBackendError);
    await expect(lost).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
    await works();
    expect((await store.get(token))?.data.views).toBe(2);
  });

  test("calls while the master is unreachable reject and are not sent later, and calls work when it is back", async () => {
    const { store, token, works } = await scene();
    const restore = await proxy.cut();
    await until("the client knows", () => own.getMasterNode() === undefined);
    const since = Date.now();
    for (let at = 0; at < 5; at++) {
      const failed = store.increment(token, "views");
      await expect(failed).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
      await wait(50);
    }
    expect(Date.now() - since).toBeLessThan(2000);
    await restore();
    await works();
    expect((await store.get(token))?.data.views).toBe(1);
  });
});

test("every session exists after a failover", { timeout: 2 * TILT_MS }, async () => {
  const { backend } = open();
  const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
  const created = await Promise.all(many.map(() => store.create({ userId: "42" })));
  const before = await masterNow();
  await until("the replicas have all writes", async () =>
    (await Promise.all(group.servers.slice(1).map((replica) => isInStep(before, replica)))).every(Boolean),
  );
  await before.stop("SIGKILL");
  await failOver(group, before);
  await until("the failover is over", () => isReplaced(before, group));
  await until("every session answers", async () => {
    const attempts = await Promise.allSettled(created.map(({ token }) => store.get(token)));
    return attempts.every((attempt) => attempt.status === "fulfilled" && attempt.value !== null);
  });
  expect(await store.revokeAll({ user: "42" })).toBe(many.length);
  expect(await keysOf(backend)).toEqual([]);
});
