import { createClient } from "redis";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { SessionBackendError } from "../../src/index.ts";
import { type RedisClient, redisBackend } from "../../src/redis/index.ts";
import { madeUp } from "../support/advisories.ts";
import { ownBackend } from "../support/redis.ts";
import { visits } from "../support/visits.ts";

const { client, prefix } = await ownBackend();

describe("T-11 clients in an unusable state", () => {
  // Closed and unconnected clients: test/redis/backend.test.ts. A client of a single cluster node: test/faults.

  test("a transaction is rejected as a client", () => {
    const transaction = client.multi() as unknown as RedisClient;
    expect(() => redisBackend(transaction)).toThrow(
      /client must be a node-redis client of version .*: it has no \w+\(\)/,
    );
  });

  test.each([2, 3] as const)(
    "calls on a client in subscribe mode (RESP %d) succeed or reject within a second",
    async (RESP) => {
      const own = createClient({ url: inject("redisUrl"), RESP, disableOfflineQueue: true });
      own.on("error", () => {});
      await own.connect();
      onTestFinished(() => own.destroy());
      await own.subscribe(`${prefix}channel`, () => {});
      const { store } = visits({ backend: redisBackend(own as unknown as RedisClient, { prefix }) });
      const since = Date.now();
      for (const call of [() => store.create({}), () => store.get(madeUp()), () => store.peek(madeUp())]) {
        await call().catch((error: unknown) => expect(error).toBeInstanceOf(SessionBackendError));
      }
      expect(Date.now() - since).toBeLessThan(1000);
    },
  );

  test("calls on a client in the middle of a raw MULTI reject, and work again after DISCARD", async () => {
    const own = createClient({ url: inject("redisUrl") });
    own.on("error", () => {});
    await own.connect();
    onTestFinished(() => own.destroy());
    const { store } = visits({ backend: redisBackend(own, { prefix }), operationTimeout: "500ms" });
    await own.sendCommand(["MULTI"]);
    for (const call of [() => store.create({}), () => store.get(madeUp()), () => store.peek(madeUp())]) {
      const answer = await call().catch((error: unknown) => error);
      expect(answer).toBeInstanceOf(SessionBackendError);
    }
    await own.sendCommand(["DISCARD"]);
    const { token } = await store.create({ userId: "42" });
    expect((await store.get(token))?.data.userId).toBe("42");
  });
});
