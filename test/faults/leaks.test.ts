import { randomUUID } from "node:crypto";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { type ConnectedRedis, connectRedis, redisBackend } from "../../src/redis/index.ts";
import { activeTimers } from "../support/counted-timers.ts";
import { leaks } from "../support/leaks.ts";
import { ownBackend } from "../support/redis.ts";
import { visits } from "../support/visits.ts";

vi.mock(import("node:timers"), async (original) => {
  const { countTimers } = await import("../support/counted-timers.ts");
  return countTimers(await original());
});

const { client, prefix } = await ownBackend();

/** The number of listeners of a client, by event. */
function listenersOf(client: unknown): Record<string, number> {
  const emitter = client as NodeJS.EventEmitter;
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]));
}

describe("on Redis", () => {
  leaks(() => redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }), 1000);
});

test("a thousand backends and calls on one client add its listeners once", async () => {
  const own = await connectRedis(inject("redisUrl"));
  onTestFinished(async () => {
    await own.close();
  });
  const use = async () => {
    const { store } = visits({ backend: redisBackend(own, { prefix }) });
    const { token } = await store.create({ userId: "42" });
    await store.get(token);
  };
  await use();
  const before = listenersOf(own);
  expect(before["error"]).toBeGreaterThan(0);
  await Promise.all(Array.from({ length: 1000 }, use));
  expect(listenersOf(own)).toEqual(before);
});

test("clients that are closed leave no timer behind once their heartbeat is over", async () => {
  const clients: ConnectedRedis[] = [];
  for (let n = 0; n < 20; n++) clients.push(await connectRedis(inject("redisUrl")));
  expect(activeTimers.size).toBeGreaterThanOrEqual(20);
  await Promise.all(clients.map((client) => client.close()));
  await expect.poll(() => activeTimers.size, { timeout: 5000 }).toBe(0);
});

test("attempts to connect that fail leave no timer behind", async () => {
  const before = activeTimers.size;
  for (let n = 0; n < 5; n++) {
    await expect(connectRedis("redis://127.0.0.1:1", { connectTimeout: "20ms" })).rejects.toThrow("ECONNREFUSED");
  }
  expect(activeTimers.size).toBe(before);
});
