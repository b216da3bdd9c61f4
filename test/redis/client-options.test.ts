import { randomUUID } from "node:crypto";
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from "redis";
import { describe, expect, inject, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { type RedisClient, redisBackend } from "../../src/redis/index.ts";
import { atEnd, ownServers, serveCluster, serveSentinel } from "../support/own-servers.ts";
import { onOldestRedis } from "../support/runtime.ts";

ownServers();

const url = inject("redisUrl");
const rootNodes = [{ url }];
const sentinelRootNodes = [{ host: "127.0.0.1", port: 1 }];
const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer };
const commandOptions = { typeMapping };
const { signal } = new AbortController();

describe("a client of another version", () => {
  const client = createClient({ url });
  for (const method of ["close", "destroy", "evalSha"]) {
    test(`redisBackend rejects a client without ${method}(), and the error says which versions of node-redis fit`, () => {
      const other = Object.create(client, { [method]: { value: undefined } });
      expectRefused(other, `a node-redis client of version ^5.9 or ^6.3: it has no ${method}()`);
    });
  }

  const pass = async (...cursors: unknown[]) => {
    const asked: string[] = [];
    const scan = async (cursor: string) => {
      asked.push(cursor);
      return { cursor: cursors[asked.length - 1], keys: [] };
    };
    const own = Object.create(client, { isOpen: { value: true }, isReady: { value: true }, scan: { value: scan } });
    for await (const page of redisBackend(own).keys()) expect(page).toEqual([]);
    return asked;
  };

  test("a pass over all keys ends at the cursor 0, whether it is a text, a number or a Buffer", async () => {
    for (const end of ["0", 0, 0n, Buffer.from("0")]) expect(await pass("3", 7, end)).toEqual(["0", "3", "7"]);
  });

  test("a pass over all keys whose cursor comes again fails instead of running for ever", async () => {
    await expect(pass("3", "7", "3")).rejects.toMatchObject({ name: "SessionBackendError", reason: "unavailable" });
    await expect(pass(undefined, undefined)).rejects.toThrow("not available");
  });
});

function expectRefused(client: unknown, message: string | RegExp): void {
  expect(() => redisBackend(client as RedisClient)).toThrow(TypeError);
  expect(() => redisBackend(client as RedisClient)).toThrow(message);
}

describe("a client with a keyPrefix", () => {
  const clients: Record<string, () => unknown> = {
    client: () => createClient({ url, keyPrefix: "app:" }),
    "client, given as a Buffer,": () => createClient({ url, keyPrefix: Buffer.from("app:") }),
    "client from withCommandOptions": () => createClient({ url, keyPrefix: "app:" }).withCommandOptions({}),
    pool: () => createClientPool({ url, keyPrefix: "app:" }),
    cluster: () => createCluster({ rootNodes, keyPrefix: "app:" }),
    "cluster node": () => createCluster({ rootNodes, defaults: { keyPrefix: "app:" } as object }),
    sentinel: () => createSentinel({ name: "main", sentinelRootNodes, keyPrefix: "app:" }),
  };
  for (const [kind, make] of Object.entries(clients)) {
    // The oldest node-redis ignores this option there, so that the keys have no prefix.
    test.skipIf(onOldestRedis && ["pool", "sentinel"].includes(kind))(
      `redisBackend rejects the keyPrefix of a ${kind} and names the option prefix`,
      () => {
        expectRefused(make(), "keyPrefix: use the option prefix of redisBackend");
      },
    );
  }
});

describe("a client with command options that change replies or their order", () => {
  const buffers: Record<string, () => unknown> = {
    client: () => createClient({ url, commandOptions }),
    "client from withTypeMapping": () => createClient({ url }).withTypeMapping(typeMapping),
    "client from withCommandOptions": () => createClient({ url }).withCommandOptions({ typeMapping }),
    pool: () => createClientPool({ url, commandOptions }),
    "pool from withTypeMapping": () => createClientPool({ url }).withTypeMapping(typeMapping),
    "pool connection": () => createClientPool({ url, commandOptions }).withCommandOptions({}),
    cluster: () => createCluster({ rootNodes, commandOptions }),
    "cluster from withTypeMapping": () => createCluster({ rootNodes }).withTypeMapping(typeMapping),
    "cluster node": () => createCluster({ rootNodes, defaults: { commandOptions } as object }),
    sentinel: () => createSentinel({ name: "main", sentinelRootNodes, commandOptions }),
    "sentinel from withTypeMapping": () =>
      createSentinel({ name: "main", sentinelRootNodes }).withTypeMapping(typeMapping),
    "client that reads numbers as strings": () =>
      createClient({ url }).withTypeMapping({ [RESP_TYPES.NUMBER]: String }),
  };
  for (const [kind, make] of Object.entries(buffers)) {
    // The oldest node-redis does not show it before the first call.
    test.skipIf(onOldestRedis && ["pool", "pool connection"].includes(kind))(
      `redisBackend rejects the type mapping of a ${kind}`,
      () => {
        expectRefused(make(), 'the client has the command option "typeMapping"');
      },
    );
  }

  const others: Record<string, () => unknown> = {
    asap: () => createClient({ url }).asap(),
    abortSignal: () => createClient({ url }).withAbortSignal(signal),
    chainId: () => createClient({ url, commandOptions: { chainId: Symbol("one") } }),
  };
  for (const [option, make] of Object.entries(others)) {
    test(`redisBackend rejects a client with the command option ${option}`, () => {
      expectRefused(make(), `the client has the command option "${option}"`);
    });
  }

  test("redisBackend accepts a client with a command timeout, an empty type mapping or an empty keyPrefix", () => {
    for (const client of [
      createClient({ url, commandOptions: { timeout: 100 }, keyPrefix: "" }),
      createClient({ url }).withTypeMapping({}),
      createClient({ url }).withCommandOptions({ asap: false }),
      createClientPool({ url, commandOptions: { timeout: 100 } }),
    ]) {
      expect(() => redisBackend(client as unknown as RedisClient)).not.toThrow();
    }
  });
});

describe("F-26 a client that reads from a replica", () => {
  test("redisBackend rejects a client with readonly", () => {
    expectRefused(createClient({ url, readonly: true }), "readonly");
  });

  test("redisBackend rejects a cluster client with useReplicas before it is connected", () => {
    expectRefused(createCluster({ rootNodes, useReplicas: true }), "useReplicas");
  });

  test("a pool with a type mapping is rejected at the first call at the latest", async () => {
    const pool = createClientPool({ url, commandOptions });
    pool.on("error", () => {});
    await pool.connect();
    atEnd(() => pool.destroy());
    const creating = async () => await storeOn(pool).create({ userId: "42" });
    await expect(creating()).rejects.toThrow('the client has the command option "typeMapping"');
  });

  test("a pool with readonly is rejected at the first call", async () => {
    const { url } = await serveCluster();
    const pool = createClientPool({ url, readonly: true });
    pool.on("error", () => {});
    await pool.connect();
    atEnd(() => pool.destroy());
    await expect(storeOn(pool).get(`${"a".repeat(22)}.${"a".repeat(43)}`)).rejects.toThrow(TypeError);
  });
});

function storeOn(client: unknown, prefix = `${randomUUID()}:`) {
  const backend = redisBackend(client as RedisClient, { prefix });
  return createSessionStore({ schema: z.object({ userId: z.string() }), backend });
}

describe("a sentinel client whose connections have options of their own", () => {
  const wrong: Record<string, { options: object; message: string }> = {
    "a keyPrefix": { options: { keyPrefix: "app:" }, message: "keyPrefix" },
    "a type mapping": { options: { commandOptions }, message: "typeMapping" },
  };
  for (const [what, { options, message }] of Object.entries(wrong)) {
    test.concurrent(`a sentinel client whose connections have ${what} is rejected at the first call`, async () => {
      const { sentinel } = await serveSentinel();
      const client = createSentinel({
        name: "main",
        sentinelRootNodes: [{ host: "127.0.0.1", port: sentinel.port }],
        nodeClientOptions: options,
      });
      client.on("error", () => {});
      await client.connect();
      atEnd(() => client.destroy());
      const created = storeOn(client).create({ userId: "42" });
      await expect(created).rejects.toThrow(TypeError);
      await expect(created).rejects.toThrow(message);
    });
  }
});
