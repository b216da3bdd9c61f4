import { once } from "node:events";
import { createServer } from "node:net";
import { createClient } from "redis";
import { describe, expect, inject, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { connectRedis, type RedisAddress, redisBackend } from "../../src/redis/index.ts";
import { backendContract } from "../../src/testing/index.ts";
import { atEnd, bySentinel, ownServers, serve, serveCluster, serveSentinel, through } from "../support/own-servers.ts";
import { startProcess } from "../support/processes.ts";
import { connect, ownPrefix } from "../support/redis.ts";
import { freePort } from "../support/redis-server.ts";
import { command } from "../support/topologies.ts";
import { unhandledRejections } from "../support/unhandled.ts";
import { persevering, until } from "../support/until.ts";

const SECRET = "hunter2";
/** Above what a busy machine takes for a call, and below every timeout. */
const AT_ONCE_MS = 2500;
const PATIENT_MS = 15_000;

ownServers();
const unhandled = unhandledRejections();
const shared = await ownPrefix(await connect());
const wait = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

function own(address: RedisAddress, options?: Parameters<typeof redisBackend>[1]) {
  const backend = redisBackend(address, options);
  atEnd(() => backend.close());
  return backend;
}

function storeOn(backend: SessionBackend, operationTimeoutMs = PATIENT_MS) {
  return createSessionStore({ schema: z.object({}), backend, operationTimeout: `${operationTimeoutMs}ms` });
}

const connectionsTo = async (server: Parameters<typeof command>[0]) =>
  Number(/total_connections_received:(\d+)/.exec(String(await command(server, "INFO", "stats")))?.[1]);

/** A server that accepts connections and never replies. */
async function serveSilence() {
  // Without reading, it would not notice that a connection was closed.
  const server = createServer((socket) => socket.on("error", () => {}).resume()).listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(() => server.close());
  const { port } = server.address() as { port: number };
  return { server, url: `redis://127.0.0.1:${port}` };
}

describe("the backend contract on a Redis address", () => {
  const backend = own(inject("redisUrl"), { prefix: `${shared}contract:` });
  backendContract(test.concurrent, () => backend, { now: Date.now, advance: (seconds) => wait(seconds * 1000) });
});

describe("a backend with an address", () => {
  test.concurrent("the backend does not connect before its first use", async () => {
    const listening = createServer().listen(0, "127.0.0.1");
    await once(listening, "listening");
    atEnd(() => listening.close());
    let connections = 0;
    listening.on("connection", (socket) => {
      connections++;
      socket.destroy();
    });
    const { port } = listening.address() as { port: number };
    const store = storeOn(own(`redis://127.0.0.1:${port}`));
    await wait(50);
    expect(connections).toBe(0);
    await expect(store.create({})).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
    expect(connections).toBe(1);
  });

  test.concurrent("concurrent first uses share one connection", async () => {
    const server = await serve();
    const before = await connectionsTo(server);
    const store = storeOn(own(server.url));
    await Promise.all(Array.from({ length: 20 }, () => store.create({})));
    // One of the application, and one that asks.
    expect(await connectionsTo(server)).toBe(before + 2);
  });

  test.concurrent("the backend connects to a cluster and to a master with sentinels", async () => {
    const [cluster, { sentinel }] = await Promise.all([serveCluster(), serveSentinel()]);
    for (const address of [{ cluster: [cluster.url] }, bySentinel(sentinel)]) {
      const backend = own(address);
      const store = storeOn(backend);
      const { token } = await store.create({});
      expect(await store.get(token)).not.toBeNull();
      for await (const session of store.scan()) expect(session.data).toEqual({});
      await backend.close();
    }
  });

  test.concurrent("while nobody listens, calls fail at once and say why, and the first one after the server is there succeeds", async () => {
    const port = await freePort();
    const store = storeOn(own(`redis://app:${SECRET}@127.0.0.1:${port}`, { username: "default", password: "" }));
    for (let call = 0; call < 3; call++) {
      const since = performance.now();
      const errors = await Promise.all([1, 2, 3].map(() => store.create({}).catch((error: unknown) => error)));
      expect(performance.now() - since).toBeLessThan(AT_ONCE_MS);
      for (const error of errors) {
        expect(error).toMatchObject({ name: "SessionBackendError", reason: "unavailable", outcome: "not-applied" });
        expect((error as Error).message).toBe(`Cannot connect to Redis at 127.0.0.1:${port}: ECONNREFUSED`);
      }
    }
    await serve("--port", `${port}`);
    const { token } = await store.create({});
    expect(await store.get(token)).not.toBeNull();
  });

  test.concurrent("credentials that are rejected fail each call, until the server accepts them", async () => {
    const server = await serve("--requirepass", "other");
    const store = storeOn(own(server.url, { password: SECRET }));
    for (let call = 0; call < 2; call++) {
      await expect(store.create({})).rejects.toMatchObject({
        reason: "rejected",
        message: expect.stringContaining("credentials"),
      });
    }
    const url = `redis://:other@127.0.0.1:${server.port}`;
    await command({ ...server, url }, "CONFIG", "SET", "requirepass", SECRET);
    await store.create({});
  });

  test.concurrent("no call takes longer than the operation timeout, and a connection that is late is used by later calls", async () => {
    const server = await serve();
    const proxy = await through(server);
    const release = proxy.hold();
    const store = storeOn(own(`redis://127.0.0.1:${proxy.port}`), 300);
    const since = performance.now();
    await expect(store.get(`${"a".repeat(22)}.${"b".repeat(43)}`)).rejects.toMatchObject({ reason: "timeout" });
    expect(performance.now() - since).toBeLessThan(300 + AT_ONCE_MS);
    const before = await connectionsTo(server);
    release();
    await until("a call succeeds", () =>
      store.create({}).then(
        () => true,
        () => false,
      ),
    );
    // The one that asks, and the first of the application is still the only one.
    expect(await connectionsTo(server)).toBe(before + 1);
  });

  test.concurrent("connectTimeout ends an attempt to which nothing replies", async () => {
    const { server, url } = await serveSilence();
    const store = storeOn(own(url, { connectTimeout: "200ms" }));
    const since = performance.now();
    await expect(store.create({})).rejects.toMatchObject({
      reason: "unavailable",
      message: expect.stringContaining("did not answer in time"),
    });
    expect(performance.now() - since).toBeLessThan(200 + AT_ONCE_MS);
    await until(
      "no connection remains",
      () => new Promise((resolve) => server.getConnections((_, count) => resolve(count === 0))),
    );
  });

  test.concurrent("a password that is a function is asked at each connection", async () => {
    const server = await serve("--requirepass", SECRET);
    const admin = { ...server, url: `redis://:${SECRET}@127.0.0.1:${server.port}` };
    let current = SECRET;
    let asked = 0;
    const password = async () => {
      asked++;
      return current;
    };
    const store = storeOn(own(server.url, { password }));
    const { token } = await store.create({});
    expect(asked).toBe(1);
    current = "changed";
    await command(admin, "CONFIG", "SET", "requirepass", current);
    await command(
      { ...admin, url: admin.url.replace(SECRET, current) },
      "CLIENT",
      "KILL",
      "TYPE",
      "normal",
      "SKIPME",
      "yes",
    );
    await until("it is asked again", () => asked > 1);
    await until("the client is back", () =>
      store.get(token).then(
        (session) => session !== null,
        () => false,
      ),
    );
  });

  test.concurrent("a password that is a function works for a cluster and for a master with sentinels", async () => {
    const [cluster, { sentinel }] = await Promise.all([
      serveCluster("--requirepass", SECRET),
      serveSentinel("--requirepass", SECRET),
    ]);
    const byCluster = { cluster: [`redis://127.0.0.1:${cluster.port}`] };
    for (const address of [byCluster, bySentinel(sentinel)]) {
      const backend = own(address, { password: () => SECRET, waitForReplicas: { count: 1, timeout: "200ms" } });
      const store = storeOn(backend);
      const { token } = await store.create({});
      // No replica confirms it; it travels on another connection, which needs the password as well.
      await expect(persevering(() => store.destroy(token))).rejects.toMatchObject({ reason: "timeout" });
      await backend.close();
    }
  });

  test.concurrent("a password function that fails or returns no string is named, and its own error is not shown", async () => {
    const server = await serve();
    const fail = (): never => {
      throw new Error(SECRET);
    };
    for (const [password, message] of [
      [fail, "the function password failed"],
      [async () => fail(), "the function password failed"],
      [() => undefined as unknown as string, "the function password must return a string"],
    ] as const) {
      const error: unknown = await storeOn(own(server.url, { password }))
        .create({})
        .catch((error: unknown) => error);
      expect(error).toMatchObject({ name: "SessionBackendError", reason: "unavailable", outcome: "not-applied" });
      expect((error as Error).message).toBe(`Cannot connect to Redis at 127.0.0.1:${server.port}: ${message}`);
    }
  });

  test.concurrent("a password function that never answers ends neither in a call that hangs nor in a connection that remains", async () => {
    const server = await serve();
    const backend = own(server.url, { password: () => new Promise<string>(() => {}), connectTimeout: "300ms" });
    const store = storeOn(backend);
    await expect(store.create({})).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
    await until("no connection remains", async () =>
      String(await command(server, "INFO", "clients")).includes("connected_clients:1\r"),
    );
  });
});

describe("the end of a backend", () => {
  const calls: Record<string, (backend: SessionBackend) => Promise<unknown>> = {
    insert: (backend) => backend.insert("key", {}, {}, Date.now()),
    touch: (backend) => backend.touch("key", { now: 0, verifier: null, previous: false }),
    revoke: (backend) => backend.revoke("key", "user:42", { id: "key", cause: "revoked" }, 1000, 0),
    keys: async (backend) => {
      for await (const page of backend.keys()) expect(page).toBeDefined();
    },
  };

  test.concurrent("after close(), every call says that the backend was closed", async () => {
    const client = createClient({ url: inject("redisUrl") });
    await client.connect();
    atEnd(() => client.destroy());
    const used = own(inject("redisUrl"), { prefix: shared });
    await storeOn(used).create({});
    const unused = own(inject("redisUrl"), { prefix: shared });
    const foreign = redisBackend(client, { prefix: shared });
    for (const backend of [used, unused, foreign]) {
      await backend.close();
      await backend.close();
      for (const call of Object.values(calls)) {
        const error = await call(backend).catch((error: unknown) => error);
        expect(error).toBeInstanceOf(SessionBackendError);
        expect(error).toMatchObject({ reason: "rejected", outcome: "not-applied" });
        expect((error as Error).message).toMatch(/^The Redis backend was closed by the application/);
      }
    }
    // The caller owns this one.
    expect(await client.ping()).toBe("PONG");
  });

  test.concurrent("await using closes the connection of a backend and of a client", async () => {
    const server = await serve();
    const connected = async () =>
      Number(/connected_clients:(\d+)/.exec(String(await command(server, "INFO", "clients")))?.[1]);
    {
      await using backend = redisBackend(server.url);
      await storeOn(backend).create({});
      expect(await connected()).toBe(2);
    }
    await until("the server has closed it", async () => (await connected()) === 1);
    {
      await using client = await connectRedis(server.url);
      await storeOn(redisBackend(client)).create({});
      expect(await connected()).toBe(2);
    }
    await until("the server has closed it", async () => (await connected()) === 1);
  });

  test.concurrent("close() waits for pending replies, and does not wait for ever", async () => {
    const proxy = await through(await serve());
    const backend = own(`redis://127.0.0.1:${proxy.port}`);
    const store = storeOn(backend);
    await store.create({});
    const release = proxy.hold();
    const creating = store.create({});
    const closing = backend.close();
    release();
    await closing;
    expect((await creating).token).toHaveLength(66);

    const other = own(`redis://127.0.0.1:${proxy.port}`);
    const blocked = storeOn(other);
    await blocked.create({});
    proxy.hold();
    const pending = expect(blocked.create({})).rejects.toMatchObject({ name: "SessionBackendError" });
    const since = performance.now();
    await other.close();
    await pending;
    expect(performance.now() - since).toBeLessThan(3000 + AT_ONCE_MS);
  });

  test.concurrent("close() waits for a touch behind an answer, also if the server does not know its script", async () => {
    const server = await serve();
    const client = await createClient({ url: server.url }).connect();
    atEnd(() => client.destroy());
    for (const backend of [own(server.url), redisBackend(client)]) {
      const events: string[] = [];
      const store = createSessionStore({
        schema: z.object({}),
        backend,
        touchInterval: 0,
        onEvent: ({ type }) => events.push(type),
      });
      const { token, session } = await store.create({});
      const key = `session:${session.id}`;
      const long = new Date(Date.now() - 60_000).toISOString();
      await command(server, "HSET", key, "last_accessed_at", long);
      await command(server, "SCRIPT", "FLUSH");
      expect(await store.get(token)).not.toBeNull();
      await backend.close();
      expect(await command(server, "HGET", key, "last_accessed_at")).not.toBe(long);
      expect(events).toEqual(["created"]);
    }
  });

  test.concurrent("close() ends an attempt to connect, and the calls that wait for it fail at once", async () => {
    const { server, url } = await serveSilence();
    for (const address of [url, { cluster: [url] }, bySentinel({ url })]) {
      const backend = own(address);
      const store = storeOn(backend);
      const connected = once(server, "connection");
      const call = store.create({}).catch((error: unknown) => error);
      await connected;
      const since = performance.now();
      await backend.close();
      expect(await call).toMatchObject({ reason: "rejected", message: expect.stringContaining("was closed") });
      expect(performance.now() - since).toBeLessThan(AT_ONCE_MS);
    }
    await until(
      "no connection remains",
      () => new Promise((resolve) => server.getConnections((_, count) => resolve(count === 0))),
    );
  });

  test.concurrent("the process ends after close(), after a failed attempt, and if the backend was never used", async () => {
    const server = await serve();
    const nobody = `redis://127.0.0.1:${await freePort()}`;
    const tasks = [
      { address: server.url, uses: true, closes: true },
      { address: nobody, uses: true, closes: false },
      { address: nobody, uses: false, closes: false },
    ];
    for (const task of tasks) {
      const child = startProcess("first-use.ts", JSON.stringify(task));
      await child.says("done");
      expect(await child.end(4000)).toBe(0);
    }
  });

  test.concurrent("a process that connects, fails and closes at the same time has no unhandled rejection", async () => {
    const backend = own(`redis://127.0.0.1:${await freePort()}`);
    const calls = [1, 2].map(() =>
      storeOn(backend)
        .create({})
        .catch((error: unknown) => error),
    );
    await backend.close();
    for (const error of await Promise.all(calls)) expect(error).toBeInstanceOf(SessionBackendError);
    await wait(200);
    expect(unhandled).toEqual([]);
  });
});

describe("what redisBackend is given instead of an address or a client", () => {
  test("options of the connection are rejected beside a client", () => {
    const client = createClient();
    for (const options of [
      { password: SECRET },
      { username: "app" },
      { tls: {} },
      { family: 0 },
      { connectTimeout: 1 },
    ]) {
      const [name] = Object.keys(options);
      expect(() => redisBackend(client, options as object)).toThrow(TypeError);
      expect(() => redisBackend(client, options as object)).toThrow(`"${name}" is an option for an address`);
    }
    expect(() => redisBackend(client, { password: undefined })).not.toThrow();
  });

  test("a promise of a client is rejected with an error that says await", async () => {
    const connecting = connectRedis(inject("redisUrl"));
    expect(() => redisBackend(connecting as never)).toThrow(TypeError);
    expect(() => redisBackend(connecting as never)).toThrow("await connectRedis()");
    await (await connecting).close();
  });

  test("options of the backend are checked before it connects", () => {
    for (const options of [{ prefix: "{}" }, { waitForReplicas: { count: 0, timeoutMs: 1 } }, { prefixes: "a:" }]) {
      expect(() => redisBackend("redis://localhost", options as object)).toThrow(/^Cannot create a Redis backend as /);
    }
  });
});
