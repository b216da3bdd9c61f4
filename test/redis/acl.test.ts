import { readFile } from "node:fs/promises";
import { createClient } from "redis";
import { expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";
import { allListed } from "../support/members.ts";
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
