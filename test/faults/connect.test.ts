import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { createClient } from "redis";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import {
  type ConnectedRedis,
  type ConnectOptions,
  connectRedis,
  type RedisAddress,
  redisBackend,
} from "../../src/redis/index.ts";
import type { Task } from "../support/ends.ts";
import { holdUps } from "../support/fault-grounds.ts";
import {
  atEnd,
  bySentinel,
  follow,
  ownServers,
  serve,
  serveCluster,
  serveSentinel,
  through,
} from "../support/own-servers.ts";
import { startProcess } from "../support/processes.ts";
import type { BreakingConnection } from "../support/proxy.ts";
import { freePort, type Server, startSentinel } from "../support/redis-server.ts";
import { command } from "../support/topologies.ts";
import { persevering, until } from "../support/until.ts";

const SECRET = "hunter2";
const TIME_MS = 1000;
const PATIENT_MS = 10_000;
/** A silent connection is noticed after three seconds and a ping. */
const NOTICED_MS = 5000;

ownServers();

/** A client that is destroyed after the tests. */
async function open(address: RedisAddress, options?: ConnectOptions) {
  const client = (await connectRedis(address, options)) as ConnectedRedis & {
    sendCommand(args: readonly string[]): Promise<unknown>;
    listenerCount(event: string): number;
    on(event: string, listener: (...args: never[]) => void): unknown;
  };
  atEnd(() => client.destroy());
  return client;
}

/** A master and a sentinel that reaches it, as the client does, through a proxy. */
async function watched() {
  const proxy = await through(await serve());
  const sentinel = await startSentinel(`sentinel monitor main 127.0.0.1 ${proxy.port} 1`);
  atEnd(() => sentinel.stop("SIGKILL"));
  return { proxy, client: await open(bySentinel(sentinel)) };
}

function storeOn(client: ConnectedRedis, operationTimeoutMs = TIME_MS) {
  const backend = redisBackend(client, { prefix: `${randomUUID()}:` });
  return createSessionStore({
    schema: z.object({ userId: z.string(), views: z.int().default(0) }),
    backend,
    operationTimeout: `${operationTimeoutMs}ms`,
  });
}

async function works(client: ConnectedRedis): Promise<boolean> {
  const store = storeOn(client, PATIENT_MS);
  const { token } = await store.create({ userId: "42" });
  return (await store.increment(token, "views")) === 1 && (await store.destroy(token));
}

async function failure(address: RedisAddress, options?: ConnectOptions) {
  const since = performance.now();
  const error = await connectRedis(address, options).then(
    (client) => {
      client.destroy();
      throw new Error("It is connected");
    },
    (reason: unknown) => reason,
  );
  return { error, milliseconds: performance.now() - since };
}

describe("connectRedis", () => {
  test.concurrent("connectRedis connects to a single server, a cluster, and a master with sentinels", async () => {
    const [single, cluster, { sentinel }] = await Promise.all([serve(), serveCluster(), serveSentinel()]);
    expect(await works(await open(single.url))).toBe(true);
    expect(await works(await open({ cluster: [cluster.url] }))).toBe(true);
    expect(await works(await open(bySentinel(sentinel)))).toBe(true);
  });

  test.concurrent("connectRedis connects to a unix socket with the credentials and database in the URL", async () => {
    const folder = mkdtempSync(join(tmpdir(), "zession-socket-"));
    atEnd(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "redis.sock");
    await serve("--unixsocket", path, "--requirepass", SECRET);
    const client = await open(`unix://:${SECRET}@${path}?db=3`);
    expect(await works(client)).toBe(true);
    expect(await client.sendCommand(["CLIENT", "INFO"])).toMatch(/ db=3 /);
    expect(await works(await open(`unix://:wrong@${path}`, { password: SECRET }))).toBe(true);
  });

  test.concurrent("connectRedis uses the credentials and database in the URL, and credentials in the options override them", async () => {
    const { port } = await serve("--user", "app", "on", `>p@ss/${SECRET}`, "~*", "+@all");
    const password = `p@ss/${SECRET}`;
    const client = await open(`redis://app:${encodeURIComponent(password)}@127.0.0.1:${port}/2`);
    expect(await works(client)).toBe(true);
    expect(await client.sendCommand(["CLIENT", "INFO"])).toMatch(/ db=2 .*user=app /);
    expect(await works(await open(`redis://app:wrong@127.0.0.1:${port}`, { password }))).toBe(true);
    expect(await works(await open(`redis://nobody:wrong@127.0.0.1:${port}`, { username: "app", password }))).toBe(true);
    expect(await works(await open(`redis://127.0.0.1:${port}`, { username: "app", password }))).toBe(true);
  });

  test.concurrent("connectRedis connects to a cluster and a master with sentinels that require a password", async () => {
    const [{ port }, { sentinel }] = await Promise.all([
      serveCluster("--requirepass", SECRET),
      serveSentinel("--requirepass", SECRET),
    ]);
    expect(await works(await open({ cluster: [`redis://:${SECRET}@127.0.0.1:${port}`] }))).toBe(true);
    expect(await works(await open({ cluster: [`redis://127.0.0.1:${port}`] }, { password: SECRET }))).toBe(true);
    expect(await works(await open(bySentinel(sentinel), { password: SECRET }))).toBe(true);
  });

  test.concurrent("connectRedis connects to a cluster even if one of the given nodes is down", async () => {
    const gone = `redis://127.0.0.1:${await freePort()}`;
    const { url } = await serveCluster();
    for (const cluster of [
      [gone, url],
      [url, gone],
    ]) {
      expect(await works(await open({ cluster }))).toBe(true);
    }
  });

  test.concurrent("connectRedis connects to a server that becomes available while it waits", async () => {
    const port = await freePort();
    const refusing = createServer((socket) => socket.destroy()).listen(port, "127.0.0.1");
    await once(refusing, "listening");
    const connecting = open(`redis://127.0.0.1:${port}`);
    await once(refusing, "connection");
    await new Promise((closed) => refusing.close(closed));
    await serve("--port", `${port}`);
    expect(await works(await connecting)).toBe(true);
  });
});

describe("invalid arguments of connectRedis", () => {
  const nodes = (...urls: string[]) => [{ cluster: urls }, { sentinel: { name: "main", nodes: urls } }];
  const malformed: unknown[] = [
    "",
    "localhost:6379",
    `http://:${SECRET}@localhost`,
    `redis:/:${SECRET}@localhost`,
    `redis://:${SECRET}@localhost:port`,
    `redis://:${SECRET}@localhost:70000`,
    `redis://:${SECRET}@localhost/first`,
    `redis://:${SECRET}%zz@localhost`,
    `redis://:${SECRET}%ff@localhost`,
    `redis://:${SECRET}@`,
    `unix://:${SECRET}@`,
    "unix:///%zz",
    42,
    null,
    undefined,
    {},
    [],
    ...nodes(),
    ...nodes(`redis://:${SECRET}@one`, `rediss://:${SECRET}@two`),
    ...nodes(`redis://:${SECRET}@one`, `http://:${SECRET}@two`),
    ...nodes(`unix://:${SECRET}@/tmp/socket`),
    ...nodes(`redis://:${SECRET}@one/1`),
    { cluster: SECRET },
    { cluster: null },
    { sentinel: { name: "", nodes: ["redis://localhost"] } },
    { sentinel: { nodes: ["redis://localhost"] } },
  ];
  for (const address of malformed) {
    test(`connectRedis rejects the address ${JSON.stringify(address)} and does not repeat it in the error`, async () => {
      const { error } = await failure(address as RedisAddress, { connectTimeout: "200ms" });
      expect(error).toBeInstanceOf(TypeError);
      expect(inspect(error)).not.toContain(SECRET);
    });
  }

  const options: Record<string, unknown> = {
    "an unknown option": { passwort: SECRET },
    "options that are not an object": SECRET,
    "a connectTimeout that is not a duration": { connectTimeout: SECRET },
    "a connectTimeout that is not whole milliseconds": { connectTimeout: "0.5ms" },
    "a connectTimeout of 0": { connectTimeout: 0 },
    "TLS options for a connection without TLS": { tls: { ca: SECRET } },
  };
  for (const [what, given] of Object.entries(options)) {
    test(`connectRedis rejects ${what}`, async () => {
      const { error } = await failure("redis://localhost", given as ConnectOptions);
      expect(error).toMatchObject({ name: expect.stringMatching(/^(TypeError|RangeError)$/) });
      expect(inspect(error)).not.toContain(SECRET);
    });
  }
});

describe("failing attempts of connectRedis", () => {
  test.concurrent("connectRedis rejects at once if its credentials are wrong, and shows no password", async () => {
    const [single, cluster, { sentinel }] = await Promise.all([
      serve("--requirepass", "right"),
      serveCluster("--requirepass", "right"),
      serveSentinel("--requirepass", "right"),
    ]);
    const addresses: RedisAddress[] = [single.url, { cluster: [cluster.url] }, bySentinel(sentinel)];
    for (const address of addresses) {
      for (const given of [{ password: SECRET }, {}]) {
        const { error, milliseconds } = await failure(address, given);
        expect(error, inspect(address)).toMatchObject({ name: "SessionBackendError", reason: "rejected" });
        expect(milliseconds).toBeLessThan(3000);
        expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET);
      }
    }
  });

  test.concurrent("connectRedis rejects after connectTimeout if there is no server, or one that never replies", async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    atEnd(() => silent.close());
    await until("it listens", () => silent.listening);
    const { port } = silent.address() as { port: number };
    for (const url of [`redis://127.0.0.1:${await freePort()}`, `redis://127.0.0.1:${port}`]) {
      for (const address of [url, { cluster: [url] }, bySentinel({ url })]) {
        const heldUp = holdUps();
        const { error, milliseconds } = await failure(address, { connectTimeout: "400ms" });
        expect(error).toMatchObject({ name: "SessionBackendError", reason: "unavailable", outcome: "not-applied" });
        expect((error as Error).message).toMatch(/^Cannot connect to Redis at 127\.0\.0\.1:\d+ within 400 ms: /);
        expect(milliseconds).toBeGreaterThan(250);
        expect(milliseconds).toBeLessThan(900 + heldUp());
      }
    }
  });
});

describe("a client from connectRedis", () => {
  test.concurrent("the client has the documented settings for the offline queue, ping and timeouts", async () => {
    const settings = {
      disableOfflineQueue: true,
      pingInterval: 1000,
      socket: { connectTimeout: 2000, socketTimeout: 3000, reconnectStrategy: expect.any(Function) },
    };
    const [single, node] = await Promise.all([serve(), serveCluster()]);
    const client = (await open(single.url)) as unknown as { options: typeof settings & { socket: object } };
    expect(client.options).toMatchObject(settings);
    const strategy = client.options.socket.reconnectStrategy as unknown as (retries: number, cause: Error) => unknown;
    for (const retries of [0, 1, 5, 100, 100_000]) {
      const wait = strategy(retries, new Error("gone"));
      expect(wait).toBeGreaterThanOrEqual(25);
      expect(wait).toBeLessThanOrEqual(1000);
    }
    const cluster = (await open({ cluster: [node.url] })) as unknown as { masters: { client: unknown }[] };
    expect(cluster.masters[0]?.client).toMatchObject({ options: settings });
    expect((cluster as unknown as { replicas: unknown[] }).replicas).toEqual([]);
  });

  test.concurrent("the client has one error listener for any number of backends", async () => {
    const [single, node, { sentinel }] = await Promise.all([serve(), serveCluster(), serveSentinel()]);
    for (const address of [single.url, { cluster: [node.url] }, bySentinel(sentinel)]) {
      const client = await open(address);
      expect(client.listenerCount("error")).toBe(1);
      const waitForReplicas = { count: 1, timeout: "200ms" } as const;
      for (const prefix of ["a:", "b:"]) {
        const backend = redisBackend(client, { prefix, waitForReplicas });
        const store = createSessionStore({ schema: z.object({}), backend });
        for (let round = 0; round < 3; round++) {
          const { token } = await store.create({});
          await expect(persevering(() => store.destroy(token))).rejects.toMatchObject({ outcome: "unknown" });
        }
      }
      expect(client.listenerCount("error")).toBe(1);
      expect(client.listenerCount("end")).toBeLessThanOrEqual(1);
    }
  });

  test.concurrent("the client rejects calls at once without a connection, and reconnects when the server is back", async () => {
    const server = await serve();
    const client = await open(server.url);
    const store = storeOn(client);
    await server.stop("SIGKILL");
    await until("the client knows", () => client.isReady === false);
    let [since, heldUp] = [performance.now(), holdUps()];
    await expect(store.create({ userId: "42" })).rejects.toMatchObject({
      reason: "unavailable",
      outcome: "not-applied",
    });
    expect(performance.now() - since).toBeLessThan(100 + heldUp());
    await serve("--port", `${server.port}`);
    [since, heldUp] = [performance.now(), holdUps()];
    await until("the client is back", () => works(client).catch(() => false));
    expect(performance.now() - since).toBeLessThan(3000 + heldUp());
  });
});

describe("a connection that becomes silent under load", () => {
  /** The milliseconds for which a store cannot be used after its connection has become silent. */
  async function silence(client: ConnectedRedis, fall: () => void): Promise<number> {
    const store = storeOn(client);
    const { token } = await store.create({ userId: "42" });
    const since = performance.now();
    fall();
    let recovered = 0;
    while (recovered === 0) {
      store.get(token).then(
        () => {
          recovered ||= performance.now() - since;
        },
        () => {},
      );
      await new Promise((done) => setTimeout(done, 20));
      if (performance.now() - since > 3 * NOTICED_MS) throw new Error("It is still silent");
    }
    return recovered;
  }

  test.concurrent("a silent connection to a single server is replaced", async () => {
    const proxy = await through(await serve());
    const client = await open(`redis://127.0.0.1:${proxy.port}`);
    expect(await silence(client, proxy.silence)).toBeLessThan(NOTICED_MS);
    expect(await works(client)).toBe(true);
  });

  test.concurrent("a silent connection to a cluster is replaced", async () => {
    const port = await freePort();
    const proxy = await through({ port });
    await serveCluster("--port", `${port}`, "--cluster-announce-port", `${proxy.port}`);
    const client = await open({ cluster: [`redis://127.0.0.1:${proxy.port}`] });
    expect((client.masters as { port: number }[])[0]?.port).toBe(proxy.port);
    expect(await silence(client, proxy.silence)).toBeLessThan(NOTICED_MS);
    expect(await works(client)).toBe(true);
  });

  test.concurrent("a silent connection to a master with sentinels is replaced", async () => {
    const { proxy, client } = await watched();
    expect(client.getMasterNode?.()).toMatchObject({ port: proxy.port });
    expect(await silence(client, proxy.silence)).toBeLessThan(NOTICED_MS);
    expect(await works(client)).toBe(true);
  });

  test.concurrent("a silent connection that waits for replicas is replaced", async () => {
    const proxy = await through(await serve());
    const client = await open(`redis://127.0.0.1:${proxy.port}`);
    const backend = redisBackend(client, { waitForReplicas: { count: 1, timeout: "100ms" } });
    const store = createSessionStore({ schema: z.object({}), backend, operationTimeout: `${TIME_MS}ms` });
    const issued = await Promise.all(Array.from({ length: 20 }, () => store.create({})));
    // Without a replica each logout waits for its whole timeout, on a connection of its own.
    const leave = (some: typeof issued) => Promise.allSettled(some.map(({ token }) => store.destroy(token)));
    await leave(issued.slice(0, 8));
    proxy.silence();
    const since = performance.now();
    await leave(issued.slice(8));
    await until(
      "a destroy reaches the server again",
      async () => {
        try {
          const { token } = await store.create({});
          await store.destroy(token).catch(() => {});
          return (await store.peek(token)) === null;
        } catch {
          return false;
        }
      },
      2 * NOTICED_MS,
    );
    expect(performance.now() - since).toBeLessThan(NOTICED_MS);
  });
});

describe("a connection with client-side caching that becomes silent", () => {
  const kinds: Record<string, () => Promise<{ proxy: BreakingConnection; server: Server; address: RedisAddress }>> = {
    "a single server": async () => {
      const server = await serve();
      const proxy = await through(server);
      return { proxy, server, address: `redis://127.0.0.1:${proxy.port}` };
    },
    "a cluster": async () => {
      const port = await freePort();
      const proxy = await through({ port });
      const server = await serveCluster("--port", `${port}`, "--cluster-announce-port", `${proxy.port}`);
      return { proxy, server, address: { cluster: [`redis://127.0.0.1:${proxy.port}`] } };
    },
    "a master with sentinels": async () => {
      const server = await serve();
      const proxy = await through(server);
      const sentinel = await startSentinel(`sentinel monitor main 127.0.0.1 ${proxy.port} 1`);
      atEnd(() => sentinel.stop("SIGKILL"));
      return { proxy, server, address: bySentinel(sentinel) };
    },
  };
  for (const [kind, make] of Object.entries(kinds)) {
    test.concurrent(`reads from the cache do not keep a silent connection to ${kind} alive, and a revoked session is served only until it is replaced`, async () => {
      const { proxy, server, address } = await make();
      const client = await open(address, { clientSideCache: true });
      const prefix = `${randomUUID()}:`;
      const schema = z.object({ userId: z.string() });
      const store = createSessionStore({ schema, backend: redisBackend(client, { prefix }), touchInterval: 60 });
      const { token, session } = await store.create({ userId: "42" });
      await store.get(token);
      proxy.silence();
      expect(await command(server, "DEL", prefix + session.id)).toBe(1);
      const [since, heldUp] = [performance.now(), holdUps()];
      let served = 0;
      let late = 0;
      while (late < 3 * NOTICED_MS) {
        const read = await store.get(token).catch(() => "failed");
        late = performance.now() - since;
        if (read === null) break;
        if (read !== "failed") served = late;
        await new Promise((done) => setTimeout(done, 10));
      }
      expect(served).toBeGreaterThan(0);
      expect(late).toBeLessThan(NOTICED_MS + heldUp());
    });
  }
});

test.concurrent("a connection is kept if the server rejects its pings", async () => {
  const server = await serve();
  const client = await open(server.url);
  const id = await client.sendCommand(["CLIENT", "ID"]);
  await client.sendCommand(["ACL", "SETUSER", "default", "-ping"]);
  await until(
    "more has been refused than silence allows",
    async () => {
      const [, refused = 0] =
        /cmdstat_ping:.*rejected_calls=(\d+)/.exec(await command(server, "INFO", "commandstats").then(String)) ?? [];
      return Number(refused) >= 10;
    },
    3 * NOTICED_MS,
  );
  expect(await client.sendCommand(["CLIENT", "ID"])).toBe(id);
});

describe("a server that has become a replica", () => {
  test.concurrent("the client keeps reading from the former master, and reconnects once its address leads to the new one", async () => {
    const [first, second] = await Promise.all([serve(), serve()]);
    const proxy = await through(first);
    const client = await open(`redis://127.0.0.1:${proxy.port}`);
    const store = storeOn(client);
    const { token } = await store.create({ userId: "42" });
    await follow(second, first.port);
    await command(second, "REPLICAOF", "NO", "ONE");
    await command(first, "REPLICAOF", "127.0.0.1", `${second.port}`);

    const connection = await client.sendCommand(["CLIENT", "ID"]);
    const until1500 = performance.now() + 1500;
    let refused = 0;
    while (performance.now() < until1500) {
      const [read] = await Promise.all([
        store.peek(token),
        store.increment(token, "views").catch((error) => {
          expect(error).toMatchObject({ reason: "rejected", outcome: "not-applied" });
          refused++;
        }),
        new Promise((done) => setTimeout(done, 10)),
      ]);
      expect(read?.data.userId).toBe("42");
    }
    expect(refused).toBeGreaterThan(10);
    expect(await client.sendCommand(["CLIENT", "ID"])).toBe(connection);

    proxy.lead(second.port);
    const since = performance.now();
    await until("the new master is found", () =>
      store.increment(token, "views").then(
        (views) => views === 1,
        () => false,
      ),
    );
    expect(performance.now() - since).toBeLessThan(3000);
  });

  test.concurrent("a client from createClient stays connected to the former master, although its address leads to the new one", async () => {
    const [first, second] = await Promise.all([serve(), serve()]);
    const proxy = await through(first);
    const client = createClient({ url: `redis://127.0.0.1:${proxy.port}` });
    await client.connect();
    atEnd(() => client.destroy());
    const store = storeOn(client as unknown as ConnectedRedis);
    const { token } = await store.create({ userId: "42" });
    await follow(second, first.port);
    await command(second, "REPLICAOF", "NO", "ONE");
    await command(first, "REPLICAOF", "127.0.0.1", `${second.port}`);
    proxy.lead(second.port);
    const connection = await client.sendCommand(["CLIENT", "ID"]);
    // A client from connectRedis finds the new master within this time.
    for (const since = performance.now(); performance.now() - since < 3000; ) {
      await expect(store.increment(token, "views")).rejects.toMatchObject({ reason: "rejected" });
      await new Promise((done) => setTimeout(done, 100));
    }
    expect(await client.sendCommand(["CLIENT", "ID"])).toBe(connection);
  });
});

test.concurrent("with sentinels, a change whose reply is lost is not applied twice", async () => {
  const { proxy, client } = await watched();
  const store = storeOn(client);
  const { token } = await store.create({ userId: "42" });
  expect(await store.increment(token, "views")).toBe(1);
  const end = proxy.tamper((answer, near) => {
    // Only the reply to the increment: the sentinels use the connection as well.
    if (/,"2"\]\r\n$/.test(String(answer))) near.destroy();
    else near.write(answer);
  });
  await expect(store.increment(token, "views")).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
  end();
  let views: number | undefined;
  await until("the store works again", async () => {
    views = (await store.peek(token).catch(() => null))?.data.views;
    return views !== undefined;
  });
  expect(views).toBe(2);
});

describe("a rotation whose reply is lost", () => {
  async function scene() {
    const proxy = await through(await serve());
    const store = storeOn(await open(`redis://127.0.0.1:${proxy.port}`));
    const { token } = await store.create({ userId: "42" });
    const rotated = await store.rotate(token);
    const opens = async (token = "") => (await store.peek(token)) !== null;
    return { proxy, store, token: rotated?.token ?? "", opens };
  }

  test.concurrent("the rotation returns its new token if it took effect", async () => {
    const { proxy, store, token, opens } = await scene();
    proxy.loseNextAnswer();
    const rotated = await store.rotate(token);
    expect(rotated?.session.data.userId).toBe("42");
    expect(await opens(rotated?.token)).toBe(true);
    expect(await opens(token)).toBe(false);
  });

  test.concurrent("the rotation rejects if it did not take effect, and the old token stays valid", async () => {
    const { proxy, store, token, opens } = await scene();
    const heard = new Promise<() => void>((hear) => {
      const listen = proxy.replace((question) => {
        if (question.includes(token.slice(0, 22))) hear(listen);
        return "";
      });
    });
    const rotating = store.rotate(token);
    rotating.catch(() => {});
    const listen = await heard;
    const restore = await proxy.cut();
    listen();
    await restore();
    await expect(rotating).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
    expect(await opens(token)).toBe(true);
  });

  test.concurrent("the rotation times out if the server stays unreachable", async () => {
    const { proxy, store, token } = await scene();
    const away = new Promise<() => Promise<void>>((resolve) => {
      const answer = proxy.tamper((_, near) => {
        near.destroy();
        answer();
        proxy.cut().then(resolve);
      });
    });
    const since = performance.now();
    await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    expect(performance.now() - since).toBeLessThan(TIME_MS + 500);
    await (await away)();
    const answered = () =>
      store.peek(token).then(
        (session) => session === null,
        () => "away",
      );
    await until("the store works again", async () => (await answered()) !== "away");
    // The rotation took effect on the server, and it is taken back.
    expect(await answered()).toBe(false);
  });
});

describe("the end of a process after its client was closed", () => {
  for (const how of ["close", "destroy"] as const) {
    test.concurrent(`the process ends after ${how}() on a client of any kind`, async () => {
      const [single, node, { sentinel }] = await Promise.all([serve(), serveCluster(), serveSentinel()]);
      for (const address of [single.url, { cluster: [node.url] }, bySentinel(sentinel)]) {
        const task: Task = { address, how, waits: false };
        const child = startProcess("ends.ts", JSON.stringify(task));
        await child.says("closed");
        expect(await child.end(4000), inspect(address)).toBe(0);
      }
    });

    test.concurrent(`the process ends after ${how}() while connections that wait for replicas try to reconnect`, async () => {
      const proxy = await through(await serve());
      const task: Task = { address: `redis://127.0.0.1:${proxy.port}`, how, waits: true };
      const child = startProcess("ends.ts", JSON.stringify(task));
      await child.says("waits");
      proxy.refuse();
      child.tell("go on");
      await child.says("closed");
      expect(await child.end(4000)).toBe(0);
    });
  }
});
