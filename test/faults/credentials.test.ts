import { randomUUID } from "node:crypto";
import { createClientPool } from "redis";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type Duration } from "../../src/index.ts";
import { type ConnectedRedis, connectRedis, type RedisAddress, redisBackend } from "../../src/redis/index.ts";
import { atEnd, bySentinel, ownServers, serve, serveCluster, serveSentinel, through } from "../support/own-servers.ts";
import type { BreakingConnection } from "../support/proxy.ts";
import { freePort, type Server, startSentinel } from "../support/redis-server.ts";
import { command } from "../support/topologies.ts";
import { until } from "../support/until.ts";

const PASSWORD = "hunter2";
const OTHER = "correct horse battery staple";

ownServers();

interface Scene {
  /** The server, as an admin reaches it with the first password. */
  readonly server: Server;
  readonly client: ConnectedRedis;
}

const withPassword = (server: Server, password = PASSWORD): Server => ({
  ...server,
  url: `redis://:${encodeURIComponent(password)}@127.0.0.1:${server.port}`,
});

async function open(address: RedisAddress): Promise<ConnectedRedis> {
  const client = await connectRedis(address, { password: PASSWORD });
  atEnd(() => client.destroy());
  return client;
}

async function pool(url: string): Promise<ConnectedRedis> {
  const pool = createClientPool({ url }, { minimum: 2, maximum: 4 });
  pool.on("error", () => {});
  await pool.connect();
  atEnd(() => pool.destroy());
  return pool as unknown as ConnectedRedis;
}

const kinds: Record<string, () => Promise<Scene>> = {
  "a single client": async () => {
    const server = withPassword(await serve("--requirepass", PASSWORD));
    return { server, client: await open(server.url) };
  },
  "a pool": async () => {
    const server = withPassword(await serve("--requirepass", PASSWORD));
    return { server, client: await pool(server.url) };
  },
  "a cluster client": async () => {
    const server = withPassword(await serveCluster("--requirepass", PASSWORD));
    return { server, client: await open({ cluster: [server.url] }) };
  },
  "a sentinel client": async () => {
    const { master, sentinel } = await serveSentinel("--requirepass", PASSWORD);
    return { server: withPassword(master), client: await open(bySentinel(sentinel)) };
  },
};

function storeOn(client: ConnectedRedis, operationTimeout?: Duration) {
  const backend = redisBackend(client, { prefix: `${randomUUID()}:` });
  return createSessionStore({ schema: z.object({ userId: z.string() }), backend, operationTimeout });
}

describe("a password that is no longer valid", () => {
  for (const [kind, make] of Object.entries(kinds)) {
    test.concurrent(`calls of ${kind} that reconnects with an old password are rejected with WRONGPASS, and work again with the right one`, async () => {
      const { server, client } = await make();
      const store = storeOn(client);
      const { token } = await store.create({ userId: "42" });
      await command(server, "CONFIG", "SET", "requirepass", OTHER);
      const changed = withPassword(server, OTHER);
      await command(changed, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      let failure: unknown;
      await until("calls are rejected", async () => {
        failure = await store.get(token).catch((error: unknown) => error);
        return (failure as { reason?: string } | null)?.reason === "rejected";
      });
      for (let at = 0; at < 20; at++) {
        const since = performance.now();
        await expect(store.destroy(token)).rejects.toMatchObject({
          name: "SessionBackendError",
          message: expect.stringContaining("credentials"),
          reason: "rejected",
          outcome: "not-applied",
          cause: expect.objectContaining({ message: expect.stringMatching(/^WRONGPASS/) }),
        });
        expect(performance.now() - since).toBeLessThan(1000);
        await new Promise((done) => setTimeout(done, 100));
      }
      await command(changed, "CONFIG", "SET", "requirepass", PASSWORD);
      await until("the session can be read again", () =>
        store.get(token).then(
          (session) => session?.data.userId === "42",
          () => false,
        ),
      );
    });
  }
});

test.concurrent("calls without a connection say why", async () => {
  const server = await serve();
  const client = await connectRedis(server.url);
  atEnd(() => client.destroy());
  const store = storeOn(client);
  await store.create({ userId: "42" });
  await server.stop("SIGKILL");
  await until("the reason is known", () =>
    store.create({ userId: "42" }).then(
      () => false,
      ({ reason, cause }) => reason === "unavailable" && cause?.code === "ECONNREFUSED",
    ),
  );
});

describe("a client that is destroyed during a call", () => {
  const LONG_MS = 15_000;

  /** A server behind a proxy, and a client that reaches it through the proxy. */
  const behind = async (
    make: (proxy: BreakingConnection, server: Server) => Promise<ConnectedRedis>,
  ): Promise<{ proxy: BreakingConnection; client: ConnectedRedis }> => {
    const server = await serve();
    const proxy = await through(server);
    return { proxy, client: await make(proxy, server) };
  };
  const clients: Record<string, () => Promise<{ proxy: BreakingConnection; client: ConnectedRedis }>> = {
    "a single client": () => behind(({ port }) => openPlain(`redis://127.0.0.1:${port}`)),
    "a pool": () => behind(({ port }) => pool(`redis://127.0.0.1:${port}`)),
    "a cluster client": async () => {
      const port = await freePort();
      const proxy = await through({ port });
      await serveCluster("--port", `${port}`, "--cluster-announce-port", `${proxy.port}`);
      return { proxy, client: await openPlain({ cluster: [`redis://127.0.0.1:${proxy.port}`] }) };
    },
    "a sentinel client": () =>
      behind(async ({ port }) => {
        const sentinel = await startSentinel(`sentinel monitor main 127.0.0.1 ${port} 1`);
        atEnd(() => sentinel.stop("SIGKILL"));
        return await openPlain(bySentinel(sentinel));
      }),
  };
  async function openPlain(address: RedisAddress): Promise<ConnectedRedis> {
    const client = await connectRedis(address);
    atEnd(() => client.destroy());
    return client;
  }

  for (const [kind, make] of Object.entries(clients)) {
    test.concurrent(`every pending call of ${kind} rejects at once when the client is destroyed, and so do later calls`, async () => {
      const { proxy, client } = await make();
      const store = storeOn(client, `${LONG_MS}ms`);
      const created = await Promise.all(Array.from({ length: 5 }, () => store.create({ userId: "42" })));
      const [read, rotated, updated, ended, revoked] = created;
      let isAsked = (): void => {};
      const asked = new Promise<void>((resolve) => {
        isAsked = resolve;
      });
      proxy.replace(() => {
        isAsked();
        return "";
      });
      const since = performance.now();
      const pending = Promise.allSettled([
        store.get(read?.token ?? ""),
        store.rotate(rotated?.token ?? ""),
        store.update(updated?.token ?? "", () => ({ userId: "43" })),
        store.destroy(ended?.token ?? ""),
        store.revoke(revoked?.session.id ?? ""),
        store.create({ userId: "44" }),
      ]);
      await asked;
      client.destroy();
      for (const outcome of await pending) {
        expect(outcome).toMatchObject({ status: "rejected", reason: { name: "SessionBackendError" } });
      }
      await expect(store.get(read?.token ?? "")).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
      expect(performance.now() - since).toBeLessThan(2000);
    });
  }
});
