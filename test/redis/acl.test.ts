import { readFile } from "node:fs/promises";
import { createClient } from "redis";
import { describe, expect, inject, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { connectRedis, type RedisClient, redisBackend } from "../../src/redis/index.ts";
import { allListed } from "../support/members.ts";
import { atEnd, ownServers, serve } from "../support/own-servers.ts";
import { startServer } from "../support/redis-server.ts";

test("an account with the rights in the README can run every operation, and has no access to other keys", async () => {
  const [, keys = "", rights = ""] =
    /needs the keys `(\S+)` and\n`([^`]+)`/.exec(await readFile("README.md", "utf8")) ?? [];
  const server = await startServer();
  const admin = await createClient({ url: server.url })
    .on("error", () => {})
    .connect();
  try {
    await admin.sendCommand(["ACL", "SETUSER", "sessions", "on", ">secret", keys, ...rights.split(" ")]);
    const client = await connectRedis(server.url, { username: "sessions", password: "secret" });
    const backend = redisBackend(client);
    const store = createSessionStore({
      schema: z.object({ userId: z.string(), views: z.int().default(0), code: z.string().optional() }),
      backend,
      indexes: { user: { from: "userId", limit: { max: 2, whenFull: "evict-oldest" } } },
    });
    for (const _ of "123") await store.create({ userId: "42", code: "1" });
    const { token, session } = await store.create({ userId: "42", code: "1" });
    expect(await store.get(token)).not.toBeNull();
    expect(await store.peek(token)).not.toBeNull();
    expect(await store.increment(token, "views")).toBe(1);
    expect((await store.update(token, ({ views }) => ({ views: views + 1 })))?.data.views).toBe(2);
    expect(await store.take(token, "code")).toBe("1");
    expect((await store.setIdleTimeout(token, 60))?.idleTimeout).toBe(60);
    expect((await store.update(token, { userId: "43" }))?.data.userId).toBe("43");
    const rotated = await store.rotate(token);
    expect(await store.count({ user: "43" })).toBe(1);
    expect(await allListed(store, { user: "43" })).toMatchObject([{ id: session.id }]);
    expect(await store.updateAll({ user: "43" }, { views: 7 })).toBe(1);
    expect(await store.find(session.id)).not.toBeNull();
    expect(await store.reindex()).toBe(0);
    expect(await store.revoke(session.id, { of: { user: "42" } })).toBe(false);
    expect(await store.revokeAll({ user: "44" }, { scan: true })).toBe(0);
    const once = await store.create({ userId: "44" });
    expect(await store.consume(once.token)).toEqual(once.session);
    expect(await backend.shared("text")).toHaveLength(43);
    let all = 0;
    for await (const _ of store.scan()) all++;
    expect(all).toBe(2);
    expect(await store.destroy(rotated?.token ?? "")).toBe(true);
    expect(await store.revokeAll({ user: "42" })).toBe(1);
    expect(await store.revoke(session.id)).toBe(false);
    await expect(client.hGetAll("elsewhere")).rejects.toThrow("NOPERM");
    await client.close();
  } finally {
    admin.destroy();
    await server.stop("SIGKILL");
  }
});

ownServers();

const schema = z.object({ userId: z.string(), views: z.int().default(0), code: z.string().optional() });

/** Every operation on a session, each of which runs another script. */
function operations(client: RedisClient) {
  const store = createSessionStore({ schema, backend: redisBackend(client), indexes: { user: "userId" } });
  const all: Record<string, (token: string) => Promise<unknown>> = {
    create: () => store.create({ userId: "42" }),
    get: (token) => store.get(token),
    update: (token) => store.update(token, { code: "1" }),
    "update of an index": (token) => store.update(token, { userId: "43" }),
    increment: (token) => store.increment(token, "views"),
    setIdleTimeout: (token) => store.setIdleTimeout(token, 60),
    rotate: (token) => store.rotate(token),
    count: () => store.count({ user: "42" }),
    revoke: () => store.revoke("r".repeat(22), { of: { user: "42" } }),
    destroy: (token) => store.destroy(token),
  };
  return { store, all };
}

async function accountOn(...options: string[]) {
  const server = await serve(...options);
  const admin = await createClient({ url: server.url, RESP: 3 })
    .on("error", () => {})
    .connect();
  atEnd(() => admin.destroy());
  const allow = (...rights: string[]) =>
    admin.sendCommand(["ACL", "SETUSER", "sessions", "on", ">secret", "~session:*", ...rights]);
  const open = async () => {
    const client = await connectRedis(server.url, { username: "sessions", password: "secret" });
    atEnd(() => client.destroy());
    return client;
  };
  const dump = async () => {
    const keys = (await admin.keys("*")).sort();
    return await Promise.all(keys.map(async (key) => [key, String(await admin.dump(key))]));
  };
  return { admin, allow, open, dump };
}

describe("an account that lacks a command", () => {
  const commands = "hmget hgetall hget hset hdel hexists exists pttl pexpire del time zadd zcard zrange";
  test(`each operation without one of ${commands} works or is rejected with its name before it changes anything`, async () => {
    const { admin, allow, open, dump } = await accountOn();
    const full = operations(admin as unknown as RedisClient);
    for (const command of commands.split(" ")) {
      await allow("+@all", `-${command}`);
      const { all } = operations(await open());
      let rejected = 0;
      for (const [name, run] of Object.entries(all)) {
        const { token } = await full.store.create({ userId: "42" });
        const before = await dump();
        const error = await run(token).then(
          () => null,
          (error) => error,
        );
        if (error === null) continue;
        rejected++;
        expect(error, `${name} without ${command}`).toMatchObject({ reason: "rejected", outcome: "not-applied" });
        expect(error.message).toBe(
          `The Redis server rejected the operation: NOPERM: its ACL does not allow the account the command +${command}`,
        );
        // An index may have a stale entry, which is pruned later.
        const isSession = ([key]: string[]) => !key?.startsWith("session:index:");
        expect((await dump()).filter(isSession), `${name} without ${command}`).toEqual(before.filter(isSession));
      }
      expect(rejected, command).toBeGreaterThan(0);
    }
  });

  test("calls made together are all rejected, and work as soon as the account has the command", async () => {
    const { allow, open, dump } = await accountOn();
    await allow("+@all", "-pexpire");
    const { store } = operations(await open());
    const together = await Promise.allSettled(Array.from({ length: 20 }, () => store.create({ userId: "42" })));
    for (const one of together) expect(one).toMatchObject({ status: "rejected", reason: { reason: "rejected" } });
    expect(await dump()).toEqual([]);
    await allow("+pexpire");
    expect((await store.create({ userId: "42" })).session.data.userId).toBe("42");
  });

  test("a command that the account loses later leaves the outcome unknown, as the script may have changed something", async () => {
    const { allow, open } = await accountOn();
    await allow("+@all");
    const { store } = operations(await open());
    const { token } = await store.create({ userId: "42" });
    await store.update(token, { views: 1 });
    await allow("-pexpire");
    const updated = store.update(token, { views: 2 });
    await expect(updated).rejects.toMatchObject({ reason: "rejected", outcome: "unknown" });
    await expect(updated).rejects.toThrow("no longer allows the account a command");
    expect((await store.peek(token))?.data.views).toBe(2);
  });

  test("a command that was renamed is named before the first write", async () => {
    const { allow, open, dump } = await accountOn("--rename-command", "PEXPIRE", "");
    await allow("+@all");
    const { store } = operations(await open());
    await expect(store.create({ userId: "42" })).rejects.toThrow("+pexpire");
    expect(await dump()).toEqual([]);
  });
});

describe("a server without Lua", () => {
  test("the first operation is rejected and says that scripts cannot run if the server does not know EVAL", async () => {
    const server = await serve("--rename-command", "EVAL", "", "--rename-command", "EVALSHA", "");
    const client = await connectRedis(server.url);
    atEnd(() => client.destroy());
    const created = operations(client).store.create({ userId: "42" });
    await expect(created).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    await expect(created).rejects.toThrow(/cannot run Lua scripts.*Valkey.*Lua module/);
  });

  test("the first operation is rejected and says that scripts cannot run if the server lacks the engine", async () => {
    const client = await connectRedis(inject("redisUrl"));
    atEnd(() => client.destroy());
    const noEngine = async () => {
      throw new Error("ERR Could not find scripting engine 'lua'");
    };
    const other: RedisClient = Object.create(client, { eval: { value: noEngine } });
    await expect(operations(other).store.create({ userId: "42" })).rejects.toThrow("cannot run Lua scripts");
  });
});
