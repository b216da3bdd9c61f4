import { randomUUID } from "node:crypto";
import type { createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, SessionBackendError } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";
import { backendContract } from "../../src/testing/index.ts";
import { keysOf } from "../support/backends.ts";
import { allListed } from "../support/members.ts";
import { races } from "../support/races.ts";
import type { Server } from "../support/redis-server.ts";
import { scenarios } from "../support/scenarios.ts";
import { stalls } from "../support/stalls.ts";
import { command, isInStep, startCluster, type Topology } from "../support/topologies.ts";
import { until } from "../support/until.ts";

const MASTERS = 3;

let cluster: Topology;
let client: ReturnType<typeof createCluster>;

beforeAll(async () => {
  cluster = await startCluster();
  client = (await connectRedis({ cluster: cluster.servers.map(({ url }) => url) })) as unknown as typeof client;
});
afterAll(async () => {
  client?.destroy();
  await cluster?.stop();
});

const masters = (): Server[] => cluster.servers.slice(0, MASTERS);
const wait = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

/** A backend with a prefix of its own. */
function open() {
  const prefix = `${randomUUID()}:`;
  return { prefix, backend: redisBackend(client, { prefix }), now: Date.now };
}

async function masterOf(key: string): Promise<Server> {
  const slot = Number(await command(cluster.servers[0] as Server, "CLUSTER", "KEYSLOT", key));
  const port = client.slots[slot]?.master.port;
  return cluster.servers.find((server) => server.port === port) as Server;
}

/** The number of the keys on each master. */
async function spread(keys: readonly string[]): Promise<number[]> {
  const owners = await Promise.all(keys.map(masterOf));
  return masters().map((master) => owners.filter((owner) => owner === master).length);
}

const isUnapplied = (error: unknown): boolean =>
  error instanceof SessionBackendError && error.reason === "unavailable" && error.outcome === "not-applied";

const schema = z.object({ userId: z.string(), views: z.int().default(0), code: z.string().optional() });
const many = Array.from({ length: 60 }, (_, at) => `${at}`);

describe("the backend contract on a cluster", () => {
  backendContract(test.concurrent, () => open().backend, { now: Date.now, advance: (seconds) => wait(seconds * 1000) });
});

describe("keys on a cluster", () => {
  test("scan lists the sessions of all masters", async () => {
    const { backend, prefix } = open();
    const store = createSessionStore({ schema, backend });
    const created = await Promise.all(many.map((userId) => store.create({ userId })));
    const ids = created.map(({ session }) => session.id).sort();
    expect(Math.min(...(await spread(ids.map((id) => prefix + id))))).toBeGreaterThan(0);
    expect((await keysOf(backend)).sort()).toEqual(ids);
    const listed: string[] = [];
    for await (const { id } of store.scan()) listed.push(id);
    expect(listed.sort()).toEqual(ids);
  });

  test("an index finds its sessions on all masters", async () => {
    const { backend, prefix } = open();
    const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
    const created = await Promise.all(many.map(() => store.create({ userId: "42" })));
    const keys = created.map(({ session }) => prefix + session.id);
    expect(Math.min(...(await spread(keys)))).toBeGreaterThan(0);
    const others = await Promise.all(many.slice(0, 10).map((userId) => store.create({ userId: `other-${userId}` })));
    const user = "42";

    expect(await store.count({ user })).toBe(many.length);
    expect(await allListed(store, { user })).toHaveLength(many.length);
    expect(await store.updateAll({ user }, { views: 7 })).toBe(many.length);
    expect((await allListed(store, { user })).every(({ data }) => data.views === 7)).toBe(true);

    const moving = created.slice(0, 20);
    await Promise.all(moving.map(({ token }) => store.update(token, { userId: "43" })));
    expect([await store.count({ user }), await store.count({ user: "43" })]).toEqual([40, 20]);

    expect(await store.revokeAll({ user }, { except: created[59]?.session })).toBe(39);
    expect((await allListed(store, { user })).map(({ id }) => id)).toEqual([created[59]?.session.id]);
    expect(await store.count({ user: "43" })).toBe(20);
    for (const { token } of others) expect(await store.peek(token)).not.toBeNull();
  });

  test("limits hold on a cluster for many logins at once", async () => {
    const limited = (whenFull: "evict-oldest" | "reject") => {
      const user = { from: "userId", limit: { max: 5, whenFull } } as const;
      return createSessionStore({ schema, backend: open().backend, indexes: { user } });
    };
    const attempt = async (store: ReturnType<typeof limited>) => {
      const outcomes = await Promise.allSettled(many.map(() => store.create({ userId: "42" })));
      return outcomes.filter(({ status }) => status === "fulfilled").length;
    };
    const [evicting, rejecting] = [limited("evict-oldest"), limited("reject")];
    expect(await attempt(evicting)).toBe(many.length);
    expect(await evicting.count({ user: "42" })).toBe(5);
    expect(await attempt(rejecting)).toBe(5);
    expect(await rejecting.count({ user: "42" })).toBe(5);
  });
});

test("scripts are sent again to every master that has lost them", async () => {
  const { backend, prefix } = open();
  const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
  const forget = () => Promise.all(masters().map((master) => command(master, "SCRIPT", "FLUSH")));
  await forget();
  const created = await Promise.all(many.slice(20).map((userId) => store.create({ userId, code: "123456" })));
  expect(Math.min(...(await spread(created.map(({ session }) => prefix + session.id))))).toBeGreaterThan(0);
  const uses: Record<string, (token: string, id: string, user: string) => Promise<unknown>> = {
    get: (token) => store.get(token),
    update: (token) => store.update(token, ({ views }) => ({ views: views + 1 })),
    increment: (token) => store.increment(token, "views"),
    take: (token) => store.take(token, "code"),
    list: (_token, _id, user) => allListed(store, { user }),
    revokeAll: (_token, _id, user) => store.revokeAll({ user }),
    destroy: (token) => store.destroy(token),
  };
  for (const [use, run] of Object.entries(uses)) {
    await forget();
    const answers = await Promise.all(created.map(({ token, session }) => run(token, session.id, session.data.userId)));
    expect(answers, use).not.toContain(null);
  }
});

test("a session is found after its slot has moved to another master", async () => {
  const { backend, prefix } = open();
  const store = createSessionStore({ schema, backend });
  const { token, session } = await store.create({ userId: "42" });
  const slot = String(await command(cluster.servers[0] as Server, "CLUSTER", "KEYSLOT", prefix + session.id));
  const from = await masterOf(prefix + session.id);
  const to = masters().find((master) => master !== from) as Server;
  const [fromId, toId] = await Promise.all([from, to].map((one) => command(one, "CLUSTER", "MYID").then(String)));

  await command(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", `${fromId}`);
  await command(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", `${toId}`);
  expect(await store.increment(token, "views")).toBe(1);
  await command(from, "MIGRATE", "127.0.0.1", `${to.port}`, prefix + session.id, "0", "5000");
  expect(await store.increment(token, "views")).toBe(2);
  for (const master of [to, from, ...masters()]) await command(master, "CLUSTER", "SETSLOT", slot, "NODE", `${toId}`);
  expect(await store.increment(token, "views")).toBe(3);
  expect((await store.rotate(token))?.session.data.views).toBe(3);
  expect(await keysOf(backend)).toEqual([session.id]);
});

races(() => {
  const { prefix, ...place } = open();
  return { ...place, expire: (id) => client.pExpireAt(prefix + id, 1) };
});

scenarios(open);

describe("on a cluster", () => {
  stalls(async () => {
    const { prefix, ...place } = open();
    return {
      ...place,
      async stall(ids) {
        const stopped = new Set(await Promise.all(ids.map((id) => masterOf(prefix + id))));
        const resumes = [...stopped].map((server) => server.stall());
        return () => {
          for (const resume of resumes) resume();
        };
      },
    };
  });
});

test("every session exists after a replica has replaced its failed master", async () => {
  const { backend, prefix } = open();
  const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
  const created = await Promise.all(many.map(() => store.create({ userId: "42" })));
  const dead = await masterOf(prefix + created[0]?.session.id);
  const replica = cluster.servers[cluster.servers.indexOf(dead) + MASTERS] as Server;
  await until("the replica has all writes", () => isInStep(dead, replica));
  await dead.stop("SIGKILL");
  await until("the client knows", () => store.get(created[0]?.token ?? "").then(() => false, isUnapplied));
  await command(replica, "CLUSTER", "FAILOVER", "TAKEOVER");
  await until("every session answers", async () => {
    const attempts = await Promise.allSettled(created.map(({ token }) => store.get(token)));
    return attempts.every((attempt) => attempt.status === "fulfilled" && attempt.value !== null);
  });
  expect(await store.revokeAll({ user: "42" })).toBe(many.length);
  expect(await keysOf(backend)).toEqual([]);
});

test("no command names keys of different slots", async () => {
  const living = cluster.servers.filter(({ process }) => process.exitCode === null && process.signalCode === null);
  const errors = await Promise.all(living.map((server) => command(server, "INFO", "errorstats")));
  expect(errors.join("\n")).toContain("errorstat_NOSCRIPT");
  expect(errors.join("\n")).not.toContain("errorstat_CROSSSLOT");
});
