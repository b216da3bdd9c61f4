import { createClient } from "redis";
import { describe, expect, test } from "vitest";
import { createSessionStore, type SessionEvent } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { member, memberStore } from "../support/members.ts";
import { startServer } from "../support/redis-server.ts";

async function connect(url: string) {
  return await createClient({ url })
    .on("error", () => {})
    .connect();
}

/** Runs a test on a server with this eviction policy. */
async function withPolicy(
  policy: string,
  act: (url: string, admin: Awaited<ReturnType<typeof connect>>) => Promise<void>,
): Promise<void> {
  const server = await startServer("--maxmemory-policy", policy, "--maxmemory", "100mb");
  const admin = await connect(server.url);
  try {
    await act(server.url, admin);
  } finally {
    admin.destroy();
    await server.stop("SIGKILL");
  }
}

const evictable = (events: readonly SessionEvent[]) => events.filter(({ type }) => type === "indexes-evictable");

describe("the event indexes-evictable", () => {
  test.each(["volatile-ttl", "allkeys-lru"])("a store with indexes reports the policy %s once", async (policy) => {
    await withPolicy(policy, async (url) => {
      const backend = redisBackend(url);
      const { store, events } = memberStore(backend, Date.now);
      await Promise.all([store.create({ userId: "andrew" }), store.create({ userId: "andrew" })]);
      await expect
        .poll(() => evictable(events))
        .toEqual([{ type: "indexes-evictable", id: null, at: expect.any(Date), policy }]);
      await store.create({ userId: "barbara" });
      expect(evictable(events)).toHaveLength(1);
      await backend.close();
    });
  });

  test("a store does not report the policy noeviction", async () => {
    await withPolicy("noeviction", async (url) => {
      const backend = redisBackend(url);
      const { store, events } = memberStore(backend, Date.now);
      await store.create({ userId: "andrew" });
      expect(await backend.evictionPolicy?.()).toBeNull();
      expect(events.map(({ type }) => type)).toEqual(["created"]);
      await backend.close();
    });
  });

  test("a store without indexes does not ask for the policy", async () => {
    await withPolicy("allkeys-lru", async (url, admin) => {
      const backend = redisBackend(url);
      const store = createSessionStore({ schema: member, backend });
      const { token } = await store.create({ userId: "andrew" });
      await store.get(token);
      expect(await admin.info("commandstats")).not.toContain("cmdstat_info");
      await backend.close();
    });
  });

  test("an account that may not ask gets no event, and its sessions are created", async () => {
    await withPolicy("allkeys-lru", async (url, admin) => {
      await admin.sendCommand(["ACL", "SETUSER", "sessions", "on", ">secret", "~*", "+@all", "-info"]);
      const backend = redisBackend(url, { username: "sessions", password: "secret" });
      const { store, events } = memberStore(backend, Date.now);
      await store.create({ userId: "andrew" });
      await store.create({ userId: "andrew" });
      expect(await store.count({ user: "andrew" })).toBe(2);
      expect(events.map(({ type }) => type)).toEqual(["created", "created"]);
      await backend.close();
    });
  });
});
