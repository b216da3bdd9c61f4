import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { type ConnectedRedis, connectRedis, redisBackend } from "../../src/redis/index.ts";
import { type HeldPushes, holdPushes } from "../support/held-pushes.ts";
import { allListed } from "../support/members.ts";
import { until } from "../support/until.ts";

const TOUCH_SECONDS = 2;
const schema = z.object({ userId: z.string(), views: z.int().default(0), code: z.string().optional() });

/** One process with client-side caching, whose invalidation messages can be held up, and one without. */
let pushes: HeldPushes;
let near: ConnectedRedis;
let far: ConnectedRedis;

beforeAll(async () => {
  const url = new URL(inject("redisUrl"));
  pushes = await holdPushes(Number(url.port));
  far = await connectRedis(url.href);
  url.port = String(pushes.port);
  near = await connectRedis(url.href, { clientSideCache: true });
});
afterAll(async () => {
  near?.destroy();
  await far?.close();
  await pushes?.stop();
});

function scene(touchInterval = TOUCH_SECONDS) {
  const prefix = `zession-test:${randomUUID()}:`;
  let late = 0;
  const now = () => Date.now() + late;
  const storeOn = (client: ConnectedRedis) =>
    createSessionStore({
      schema,
      backend: redisBackend(client, { prefix }),
      touchInterval,
      now,
      indexes: { user: "userId" },
    });
  return {
    prefix,
    here: storeOn(near),
    there: storeOn(far),
    wait(milliseconds: number) {
      late += milliseconds;
    },
  };
}

describe("client-side caching", () => {
  test("repeated reads within the touch interval reach Redis only once", async () => {
    const { here } = scene();
    const { token } = await here.create({ userId: "42" });
    await here.get(token);
    const before = pushes.reads;
    expect(before).toBeGreaterThan(0);
    for (let at = 0; at < 100; at++) expect((await here.get(token))?.data.userId).toBe("42");
    for (let at = 0; at < 100; at++) expect((await here.peek(token))?.data.userId).toBe("42");
    expect(pushes.reads).toBe(before);
  });

  test("a process sees its own writes, rotations and logouts at once, even before Redis sends the invalidation", async () => {
    pushes.hold();
    const { here } = scene();
    const { token, session } = await here.create({ userId: "42" });
    const views = async () => (await here.get(token))?.data.views;
    expect(await views()).toBe(0);
    await here.update(token, { views: 1 });
    expect(await views()).toBe(1);
    await here.update(token, ({ views }) => ({ views: views + 1 }));
    expect(await views()).toBe(2);
    await here.increment(token, "views");
    expect(await views()).toBe(3);
    expect((await here.setIdleTimeout(token, 60))?.idleTimeout).toBe(60);
    expect((await here.get(token))?.idleTimeout).toBe(60);
    await here.update(token, { code: "1" });
    await here.get(token);
    expect(await here.take(token, "code")).toBe("1");
    expect((await here.get(token))?.data.code).toBeUndefined();
    await here.updateAll({ user: "42" }, { views: 7 });
    expect(await views()).toBe(7);
    const rotated = await here.rotate(token);
    expect(await here.get(token)).toBeNull();
    expect((await here.get(rotated?.token ?? ""))?.id).toBe(session.id);
    await here.destroy(rotated?.token ?? "");
    expect(await here.get(rotated?.token ?? "")).toBeNull();
    expect(await here.peek(rotated?.token ?? "")).toBeNull();
    expect(pushes.held).toBeGreaterThan(0);

    for (const end of ["revoke", "revokeAll"] as const) {
      const { token, session } = await here.create({ userId: "43" });
      expect(await here.get(token)).not.toBeNull();
      await (end === "revoke" ? here.revoke(session.id) : here.revokeAll({ user: "43" }));
      expect(await here.get(token), end).toBeNull();
    }
    pushes.release();
  });

  test("a cached copy is not used after the session's own idle timeout, even if it is below the touch interval", async () => {
    pushes.hold();
    const { here } = scene(60);
    const { token } = await here.create({ userId: "42" }, { idleTimeout: 1 });
    expect(await here.peek(token)).not.toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await here.peek(token)).toBeNull();
    pushes.release();
  });

  test("a process sees the writes and logouts of others after the invalidation, or after the touch interval at the latest", async () => {
    for (const seen of ["told", "late"] as const) {
      pushes.hold();
      const { here, there, wait } = scene();
      const { token } = await here.create({ userId: "42" });
      await here.get(token);
      await there.update(token, { views: 1 });
      expect((await here.get(token))?.data.views, seen).toBe(0);
      if (seen === "told") {
        pushes.release();
        await until("the invalidation is here", async () => (await here.get(token))?.data.views === 1);
        pushes.hold();
      } else {
        wait(TOUCH_SECONDS * 1000);
        expect((await here.peek(token))?.data.views).toBe(1);
        expect((await here.get(token))?.data.views).toBe(1);
        wait(-TOUCH_SECONDS * 1000);
      }
      await here.get(token);
      await there.destroy(token);
      expect(await here.get(token), seen).not.toBeNull();
      if (seen === "told") {
        pushes.release();
        await until("the invalidation is here", async () => (await here.get(token)) === null);
      } else {
        wait(TOUCH_SECONDS * 1000);
        expect(await here.peek(token)).toBeNull();
        expect(await here.get(token)).toBeNull();
      }
    }
    pushes.release();
  });

  test("a token that another process issued by a rotation works at once, even if the old record is cached", async () => {
    pushes.hold();
    const { here, there } = scene();
    const { token } = await here.create({ userId: "42" });
    await here.get(token);
    const rotated = await there.rotate(token);
    expect((await here.get(rotated?.token ?? ""))?.data.userId).toBe("42");
    expect((await here.peek(rotated?.token ?? ""))?.data.userId).toBe("42");
    expect(await here.get(token)).toBeNull();
    pushes.release();
  });

  test("list, count and update by function read from Redis and not from the cache", async () => {
    pushes.hold();
    const { here, there } = scene();
    const { token } = await here.create({ userId: "42" });
    await here.get(token);
    await there.update(token, { views: 5 });
    expect((await allListed(here, { user: "42" }))[0]?.data.views).toBe(5);
    await here.get(token);
    await there.update(token, { views: 6 });
    expect((await here.update(token, ({ views }) => ({ views: views + 1 })))?.data.views).toBe(7);
    await here.get(token);
    await there.destroy(token);
    expect(await here.count({ user: "42" })).toBe(0);
    pushes.release();
  });

  test("made-up tokens take no space in the cache", async () => {
    const { here } = scene();
    const { clientSideCache } = near as unknown as { clientSideCache: { size(): number } };
    const before = clientSideCache.size();
    for (let at = 0; at < 50; at++) {
      const made = `${`${at}`.padStart(22, "x")}.${"y".repeat(43)}`;
      expect(await here.peek(made)).toBeNull();
      expect(await here.get(made)).toBeNull();
    }
    expect(clientSideCache.size()).toBeLessThanOrEqual(before);
  });

  test("every read reaches Redis if the store has no touch interval", async () => {
    pushes.hold();
    const { here, there } = scene(0);
    const { token } = await here.create({ userId: "42" });
    expect((await here.peek(token))?.data.views).toBe(0);
    await there.update(token, { views: 1 });
    expect((await here.peek(token))?.data.views).toBe(1);
    await there.update(token, { views: 2 });
    expect((await here.get(token))?.data.views).toBe(2);
    await there.destroy(token);
    expect(await here.peek(token)).toBeNull();
    pushes.release();
  });

  test("cached sessions stay readable on a silent connection for the touch interval, and then calls time out", async () => {
    const url = new URL(inject("redisUrl"));
    const silent = await holdPushes(Number(url.port));
    url.port = String(silent.port);
    const client = await connectRedis(url.href, { clientSideCache: true });
    try {
      const prefix = `zession-test:${randomUUID()}:`;
      let late = 0;
      const store = createSessionStore({
        schema,
        backend: redisBackend(client, { prefix }),
        touchInterval: TOUCH_SECONDS,
        operationTimeout: "200ms",
        now: () => Date.now() + late,
      });
      const { token } = await store.create({ userId: "42" });
      await store.get(token);
      silent.fallSilent();
      expect(await store.get(token)).not.toBeNull();
      expect(await store.peek(token)).not.toBeNull();
      late += TOUCH_SECONDS * 1000;
      await expect(store.peek(token)).rejects.toMatchObject({ reason: "timeout" });
      await expect(store.get(token)).rejects.toMatchObject({ reason: "timeout" });
    } finally {
      client.destroy();
      await silent.stop();
    }
  });

  test("a read that failed is sent again by the next call", async () => {
    const user = `near-${randomUUID()}`;
    const admin = await createClient({ url: inject("redisUrl") }).connect();
    const allow = (...rights: string[]) => admin.sendCommand(["ACL", "SETUSER", user, ...rights]);
    await allow("on", ">secret", "~*", "&*", "+@all");
    const options = { username: user, password: "secret", clientSideCache: true };
    const client = await connectRedis(inject("redisUrl"), options);
    try {
      const backend = redisBackend(client, { prefix: `zession-test:${randomUUID()}:` });
      const store = createSessionStore({ schema, backend, touchInterval: TOUCH_SECONDS });
      const { token } = await store.create({ userId: "42" });
      await allow("-hmget");
      await expect(store.peek(token)).rejects.toMatchObject({ reason: "rejected" });
      await allow("+hmget");
      expect((await store.peek(token))?.data.userId).toBe("42");
    } finally {
      client.destroy();
      await admin.sendCommand(["ACL", "DELUSER", user]);
      admin.destroy();
    }
  });
});
