import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SessionBackendError, sessionMiddleware } from "../../src/index.ts";
import { connectRedis } from "../../src/redis/index.ts";
import { expectFailure, holdUps, recovers, storeOn } from "../support/fault-grounds.ts";
import { request } from "../support/http.ts";
import type { Server } from "../support/redis-server.ts";
import { command, startCluster, type Topology } from "../support/topologies.ts";

const TIMEOUT_MS = 1000;
const MASTERS = 3;

let cluster: Topology;
let client: Awaited<ReturnType<typeof connectRedis>>;

beforeAll(async () => {
  cluster = await startCluster();
  client = await connectRedis({ cluster: cluster.servers.map(({ url }) => url) });
});
afterAll(async () => {
  client?.destroy();
  await cluster?.stop();
});

const many = Array.from({ length: 30 }, (_, at) => `${at}`);

describe("a client of one cluster node", () => {
  test("F-18 with MOVED, sessions on other nodes are unavailable and not absent, and those on the node work", async () => {
    const prefix = "moved:";
    const created = await Promise.all(many.map((userId) => storeOn(client, prefix, TIMEOUT_MS).create({ userId })));
    const plain = await connectRedis((cluster.servers[0] as Server).url);
    try {
      const store = storeOn(plain, prefix, TIMEOUT_MS);
      const uses = {
        get: (token: string) => store.get(token),
        peek: (token: string) => store.peek(token),
        update: (token: string) => store.update(token, { theme: "dark" }),
        rotate: (token: string) => store.rotate(token, { grace: 60 }),
        destroy: (token: string) => store.destroy(token),
      };
      for (const [use, act] of Object.entries(uses)) {
        let [own, others] = [0, 0];
        for (const { token, session } of created) {
          const outcome = await act(token).then(
            (value) => ({ value }),
            (error: unknown) => ({ error }),
          );
          if ("value" in outcome) own++;
          else {
            others++;
            expectFailure(outcome.error, { reason: "unavailable", outcome: "not-applied" }, use);
            const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${token}`), async (visitor) => {
              await visitor.get();
              return new Response();
            });
            expect(response.status).toBe(503);
            expect(response.headers.getSetCookie()).toEqual([]);
            const there = await storeOn(client, prefix, TIMEOUT_MS).peek(token);
            expect(there?.data).toEqual(session.data);
          }
        }
        expect(own, use).toBeGreaterThan(0);
        expect(others, use).toBeGreaterThan(0);
      }
    } finally {
      plain.destroy();
    }
  });
});

describe("a cluster client", () => {
  test("F-04 F-18 while one node is stopped, sessions on the others work, and all work when it continues", async () => {
    const prefix = "stopped:";
    const created = await Promise.all(many.map((userId) => storeOn(client, prefix, TIMEOUT_MS).create({ userId })));
    const store = storeOn(client, prefix, 300);
    const resume = (cluster.servers[1] as Server).stall();
    try {
      const [since, heldUp] = [performance.now(), holdUps()];
      const outcomes = await Promise.allSettled(created.map(({ token }) => store.get(token)));
      expect(performance.now() - since).toBeLessThan(800 + heldUp());
      const failed = outcomes.filter(({ status }) => status === "rejected");
      expect(failed.length).toBeGreaterThan(0);
      expect(failed.length).toBeLessThan(many.length);
      for (const outcome of outcomes) {
        if (outcome.status === "fulfilled") expect(outcome.value).not.toBeNull();
        else expect(outcome.reason).toMatchObject({ reason: "timeout", outcome: "not-applied" });
      }
    } finally {
      resume();
    }
    for (const { token } of created) await recovers(store, token);
  });

  test("F-18 F-20 sessions on every node work again after all connections were closed", async () => {
    const prefix = "ended:";
    const store = storeOn(client, prefix, TIMEOUT_MS);
    const created = await Promise.all(many.map((userId) => store.create({ userId })));
    await Promise.all(cluster.servers.map((server) => command(server, "CLIENT", "KILL", "TYPE", "normal")));
    await Promise.allSettled(created.map(({ token }) => store.get(token)));
    for (const { token } of created) await recovers(store, token);
  });

  test("F-18 with CLUSTERDOWN for one slot, only the sessions in that slot are unavailable", async () => {
    const prefix = "unserved:";
    const store = storeOn(client, prefix, TIMEOUT_MS);
    const created = await Promise.all(many.map((userId) => store.create({ userId })));
    const masters = cluster.servers.slice(0, MASTERS);
    const set = (value: string) =>
      Promise.all(
        cluster.servers.map((server) => command(server, "CONFIG", "SET", "cluster-require-full-coverage", value)),
      );
    await set("no");
    const { token, session } = created[0] as (typeof created)[number];
    const slot = String(await command(masters[0] as Server, "CLUSTER", "KEYSLOT", prefix + session.id));
    const owner = await ownerOf(masters, slot);
    await command(owner, "CLUSTER", "DELSLOTS", slot);
    try {
      const failed = store.get(token);
      await expect(failed).rejects.toBeInstanceOf(SessionBackendError);
      await expect(failed).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
      const others = await Promise.allSettled(created.slice(1).map((one) => store.get(one.token)));
      expect(others.filter(({ status }) => status === "fulfilled").length).toBeGreaterThan(many.length - 5);
    } finally {
      await command(owner, "CLUSTER", "ADDSLOTS", slot);
      await set("yes");
    }
    await recovers(store, token);
  });
});

test("F-19 CROSSSLOT never occurs, as no command names two keys", async () => {
  const store = storeOn(client, "slots:", TIMEOUT_MS);
  const created = await Promise.all(many.map(() => store.create({ userId: "42" })));
  for (const { token } of created.slice(0, 5)) await store.update(token, { userId: "43" });
  expect(await store.revokeAll({ user: "42" })).toBe(many.length - 5);
  const errors = await Promise.all(cluster.servers.map((server) => command(server, "INFO", "errorstats")));
  expect(errors.join("\n")).toContain("errorstat_");
  expect(errors.join("\n")).not.toContain("errorstat_CROSSSLOT");
});

async function ownerOf(masters: readonly Server[], slot: string): Promise<Server> {
  for (const master of masters) {
    const owned = await command(master, "CLUSTER", "COUNTKEYSINSLOT", slot);
    if (Number(owned) > 0) return master;
  }
  throw new Error("Nobody owns the slot");
}
