import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, SessionBackendError } from "../../src/index.ts";
import { type ConnectedRedis, connectRedis, redisBackend } from "../../src/redis/index.ts";
import { holdUps } from "../support/fault-grounds.ts";
import { startLoad } from "../support/load.ts";
import { atEnd, ownServers } from "../support/own-servers.ts";
import type { Server } from "../support/redis-server.ts";
import {
  command,
  isReplaced,
  type SentinelGroup,
  startCluster,
  startSentinels,
  TILT_MS,
  type Topology,
} from "../support/topologies.ts";
import { persevering, until } from "../support/until.ts";

const MASTERS = 3;
/** The time of silence after which the servers of these tests consider one of them failed. */
const DOWN_MS = 1000;
const TIME_MS = 1000;
const LATE_MS = 500;
/** The time for which the load runs before and after an incident. */
const STEADY_MS = 300;

ownServers();

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

function storeOn(client: ConnectedRedis, confirms = false, prefix = `${randomUUID()}:`) {
  const waitForReplicas = confirms ? ({ count: 1, timeout: `${TIME_MS / 2}ms` } as const) : undefined;
  return createSessionStore({
    schema: z.object({ userId: z.string(), views: z.int().default(0), theme: z.string().default("light") }),
    backend: redisBackend(client, { prefix, waitForReplicas }),
    operationTimeout: `${TIME_MS}ms`,
  });
}

async function open(address: Parameters<typeof connectRedis>[0]): Promise<ConnectedRedis> {
  const client = await connectRedis(address);
  atEnd(() => client.destroy());
  return client;
}

describe("a cluster under load", () => {
  let cluster: Topology;
  let client: ConnectedRedis;
  beforeAll(async () => {
    cluster = await startCluster(DOWN_MS);
    client = await open({ cluster: cluster.servers.slice(0, 2).map(({ url }) => url) });
  });
  afterAll(() => cluster?.stop());

  const ask = (...args: string[]) => command(cluster.servers[0] as Server, ...args);

  async function masterOf(slot: number): Promise<Server> {
    const slots = (await ask("CLUSTER", "SLOTS")) as [number, number, [string, number]][];
    const [, , [, port]] = slots.find(([from, to]) => from <= slot && slot <= to) as [number, number, [string, number]];
    return cluster.servers.find((server) => server.port === port) as Server;
  }

  const idOf = async (server: Server): Promise<string> => String(await command(server, "CLUSTER", "MYID"));

  /** Moves a slot and all keys in it, one by one. */
  async function migrate(slot: number, from: Server, to: Server): Promise<void> {
    const [fromId, toId] = await Promise.all([idOf(from), idOf(to)]);
    await command(to, "CLUSTER", "SETSLOT", `${slot}`, "IMPORTING", fromId);
    await command(from, "CLUSTER", "SETSLOT", `${slot}`, "MIGRATING", toId);
    for (;;) {
      const keys = (await command(from, "CLUSTER", "GETKEYSINSLOT", `${slot}`, "10")) as string[];
      if (keys.length === 0) break;
      for (const key of keys) await command(from, "MIGRATE", "127.0.0.1", `${to.port}`, key, "0", "5000");
    }
    for (const server of [to, from]) await command(server, "CLUSTER", "SETSLOT", `${slot}`, "NODE", toId);
  }

  test("no acknowledged write is lost while slots move between masters", async () => {
    const prefix = `${randomUUID()}:`;
    const heldUp = holdUps();
    const load = await startLoad(storeOn(client, false, prefix), 24);
    try {
      await pause(STEADY_MS);
      const slots = await Promise.all(
        load
          .ids()
          .slice(0, 6)
          .map((id) => ask("CLUSTER", "KEYSLOT", prefix + id)),
      );
      const masters = cluster.servers.slice(0, MASTERS);
      for (let round = 0; round < 2; round++) {
        for (const slot of slots.map(Number)) {
          const from = await masterOf(slot);
          await migrate(slot, from, masters[(masters.indexOf(from) + 1) % MASTERS] as Server);
        }
      }
      await pause(STEADY_MS);
    } finally {
      await load.stop();
    }
    const report = await load.check();
    console.log(`12 migrations: ${JSON.stringify(report)}`);
    expect(report.wrong).toEqual([]);
    expect(report.lost).toBe(0);
    expect(report.slowest).toBeLessThan(TIME_MS + LATE_MS + heldUp());
    expect(load.errors.every((error) => error instanceof SessionBackendError)).toBe(true);
    expect(report.unknown).toBe(0);
    expect(report.acknowledged).toBeGreaterThan(200);
  });

  test("the first confirmed logout after a slot has moved rejects with an unknown outcome, but ends the session", async () => {
    const prefix = `${randomUUID()}:`;
    const store = storeOn(client, true, prefix);
    const { token, session } = await store.create({ userId: "42" });
    const slot = Number(await ask("CLUSTER", "KEYSLOT", prefix + session.id));
    const from = await masterOf(slot);
    const to = cluster.servers.slice(0, MASTERS).find((server) => server !== from) as Server;
    await migrate(slot, from, to);
    await expect(store.destroy(token)).rejects.toMatchObject({ outcome: "unknown" });
    expect(await store.peek(token)).toBeNull();
    expect(await store.destroy(token)).toBe(false);
    await migrate(slot, to, from);
  });

  test("every session can be used again after a master was killed, and no reply is wrong", async () => {
    const heldUp = holdUps();
    const load = await startLoad(storeOn(client), 24);
    let down = 0;
    try {
      await pause(STEADY_MS);
      const victim = cluster.servers[0] as Server;
      await victim.stop("SIGKILL");
      const since = performance.now();
      await until("every session answers", () => load.isWell(), 20_000);
      down = performance.now() - since;
      await pause(STEADY_MS);
    } finally {
      await load.stop();
    }
    const report = await load.check();
    console.log(`a cluster's master killed: ${Math.round(down)} ms, ${JSON.stringify(report)}`);
    expect(report.wrong).toEqual([]);
    expect(report.slowest).toBeLessThan(TIME_MS + LATE_MS + heldUp());
    expect(load.errors.every((error) => error instanceof SessionBackendError)).toBe(true);
  });

  test("a logout that a replica confirmed is not lost when the master is killed", async () => {
    const store = storeOn(client, true);
    const ended: string[] = [];
    // The test before killed a master: its shard has no replica left and confirms nothing.
    await until("some logouts are confirmed", async () => {
      const create = () => persevering(() => store.create({ userId: "42" }));
      const issued = await Promise.all(Array.from({ length: 40 }, create));
      await Promise.all(
        issued.map(async ({ token }) => {
          if (await store.destroy(token).catch(() => false)) ended.push(token);
        }),
      );
      return ended.length > 5;
    });
    const victim = cluster.servers[1] as Server;
    await victim.stop("SIGKILL");
    await command(cluster.servers[1 + MASTERS] as Server, "CLUSTER", "FAILOVER", "TAKEOVER");
    for (const token of ended) {
      let revived: unknown = null;
      await until("it answers", async () => {
        try {
          revived = await store.peek(token);
          return true;
        } catch {
          return false;
        }
      });
      expect(revived).toBeNull();
    }
  });
});

describe("a master with sentinels under load", () => {
  let group: SentinelGroup;
  let client: ConnectedRedis;
  beforeAll(async () => {
    group = await startSentinels(DOWN_MS);
    client = await open({ sentinel: { name: group.name, nodes: group.sentinels.map(({ url }) => url) } });
  });
  afterAll(() => group?.stop());

  test("every session can be used again after the master was killed, and no reply or confirmed logout is wrong", {
    timeout: 2 * TILT_MS,
  }, async () => {
    const heldUp = holdUps();
    const load = await startLoad(storeOn(client), 24);
    let down = 0;
    const confirming = storeOn(client, true);
    const logouts = await Promise.all(Array.from({ length: 20 }, () => confirming.create({ userId: "42" })));
    let ended: boolean[];
    try {
      await pause(STEADY_MS);
      ended = await Promise.all(logouts.map(({ token }) => confirming.destroy(token).catch(() => false)));
      await (group.servers[0] as Server).stop("SIGKILL");
      const since = performance.now();
      await until("every session answers", () => load.isWell(), TILT_MS);
      down = performance.now() - since;
      await until("the failover is over", () => isReplaced(group.servers[0] as Server, group));
      await pause(STEADY_MS);
    } finally {
      await load.stop();
    }
    const report = await load.check();
    console.log(`the sentinels' master killed: ${Math.round(down)} ms, ${JSON.stringify(report)}`);
    expect(report.wrong).toEqual([]);
    expect(report.slowest).toBeLessThan(TIME_MS + LATE_MS + heldUp());
    expect(load.errors.every((error) => error instanceof SessionBackendError)).toBe(true);
    // One of the two replicas has confirmed it, and the sentinels promote the replica with the most writes.
    expect(ended.filter(Boolean).length).toBeGreaterThan(0);
    for (const [at, { token }] of logouts.entries()) {
      if (ended[at]) expect(await persevering(() => confirming.peek(token))).toBeNull();
    }
  });
});
