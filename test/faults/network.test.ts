import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { createClient } from "redis";
import { describe, expect, test } from "vitest";
import { connectRedis } from "../../src/redis/index.ts";
import {
  expectNoSecrets,
  type FaultyClient,
  type Grounds,
  onGrounds,
  recovers,
  storeOn,
} from "../support/fault-grounds.ts";
import { breaks, type Fault, fault, hangs, rejectsAll, unavailable, works } from "../support/faults.ts";
import type { Tampering } from "../support/proxy.ts";
import { freePort, startServer } from "../support/redis-server.ts";
import { until } from "../support/until.ts";

const SILENT_MS = 300;
const SLOW_MS = 1000;
/** The default of `connectTimeout`. */
const DEFAULT_MS = 10_000;

/**
 * Tampers with all connections that receive a reply during the fault. They stay broken afterwards, so the client must
 * open another one.
 */
function wrong(how: Tampering): Fault["start"] {
  return ({ proxy }) => {
    const broken = new WeakSet<Socket>();
    let isOver = false;
    proxy.tamper((answer, near) => {
      if (!isOver) broken.add(near);
      if (broken.has(near)) how(answer, near);
      else near.write(answer);
    });
    return () => {
      isOver = true;
    };
  };
}

/** Delays every reply, and loses none. */
function delayed(milliseconds: number): Fault["start"] {
  return ({ proxy }) => proxy.tamper((answer, near) => setTimeout(() => near.write(answer), milliseconds));
}

/** Forwards one byte at a time. */
function dripping(milliseconds: number): Tampering {
  const queues = new WeakMap<Socket, number[]>();
  return (answer, near) => {
    const queue = queues.get(near);
    if (queue !== undefined) {
      queue.push(...answer);
      return;
    }
    const bytes = [...answer];
    queues.set(near, bytes);
    const timer = setInterval(() => {
      const byte = bytes.shift();
      if (byte !== undefined) near.write(Uint8Array.of(byte));
    }, milliseconds);
    near.once("close", () => clearInterval(timer));
  };
}

/** Forwards only the beginning of the first reply. */
function begun(): Tampering {
  const told = new WeakSet<Socket>();
  return (answer, near) => {
    if (told.has(near)) return;
    told.add(near);
    near.write(answer.subarray(0, 5));
  };
}

const unconnected =
  (socket: object = {}, options: object = {}) =>
  (port: number) =>
    createClient({ ...options, socket: { host: "127.0.0.1", port, ...socket } }) as unknown as FaultyClient;

const killed = async ({ admin }: Grounds) => await admin.sendCommand(["CLIENT", "KILL", "TYPE", "normal"]);

describe("without a connection", () => {
  fault("F-01 calls reject before the first connection is made, and work once the server is available", {
    client: unconnected({ reconnectStrategy: 20 }),
    async start({ client, proxy }) {
      const restore = await proxy.cut();
      client.connect().catch(() => {});
      return restore;
    },
    expected: unavailable,
  });

  fault("F-02 calls are rejected before the client is told to connect", {
    client: unconnected(),
    start:
      ({ client }) =>
      () =>
        client.connect(),
    expected: rejectsAll,
  });

  fault("F-07 calls reject after the connection is lost, even with a client that would queue commands", {
    client: connected(unconnected({ reconnectStrategy: 20 })),
    start: away,
    expected: unavailable,
  });

  fault("F-08 calls reject after the connection of a connectRedis client is lost", {
    start: away,
    expected: unavailable,
  });
});

describe("a connection that closes before the reply", () => {
  fault("F-03 F-20 calls reject when the connection is reset", {
    start: wrong((_, near) => near.resetAndDestroy()),
    ...brief(breaks),
  });
  fault("F-20 calls reject when the connection is closed", {
    start: wrong((_, near) => near.destroy()),
    ...brief(breaks),
  });
  fault("F-20 calls reject when the connection is half closed", {
    start: wrong((_, near) => near.end()),
    ...brief(breaks),
  });
  fault("F-20 calls reject when the connection is closed in the middle of a reply", {
    start: wrong((answer, near) => near.end(answer.subarray(0, 5))),
    ...brief(breaks),
  });
});

describe("late and missing replies", () => {
  fault("F-21 calls time out when no reply arrives", { start: wrong(() => {}), ...brief(hangs) });
  fault("F-21 calls time out when replies arrive at a byte every 100 ms", {
    start: wrong(dripping(100)),
    ...brief(hangs),
  });
  fault("F-21 calls time out when only the beginning of the first reply arrives", {
    start: wrong(begun()),
    ...brief(hangs),
  });
  fault("F-21 calls succeed when replies arrive 50 ms late", { start: delayed(50), expected: works });
  fault("F-21 calls succeed when replies arrive late but before the timeout", {
    start: delayed(SLOW_MS / 2),
    expected: works,
    timeoutMs: 4 * SLOW_MS,
  });
  fault("F-21 calls time out when replies arrive just after the timeout", {
    start: delayed(SILENT_MS + 20),
    ...brief(hangs),
  });

  test.concurrent("F-05 a connectRedis client closes a silent connection and reconnects by itself", async () => {
    await onGrounds({}, async ({ server, admin, client }) => {
      const store = storeOn(client, "s:", SILENT_MS);
      const { token } = await store.create({ userId: "42" });
      const resume = server.stall();
      try {
        await expect(store.get(token)).rejects.toMatchObject({ reason: "timeout" });
        await until("the client has given up", () => client.isReady === false);
        await expect(store.get(token)).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
      } finally {
        resume();
      }
      await recovers(store, token);
      expect(await admin.exists(`s:${token.slice(0, 22)}`)).toBe(1);
    });
  });

  test.concurrent("F-05 a client with socketTimeout and no reconnect strategy stays closed, and its calls are rejected at once", async () => {
    const make = connected(unconnected({ socketTimeout: 100 }));
    await onGrounds({ client: make }, async ({ server, client }) => {
      const store = storeOn(client, "s:", SLOW_MS);
      const { token } = await store.create({ userId: "42" });
      const resume = server.stall();
      try {
        await expect(store.update(token, {})).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
      } finally {
        resume();
      }
      await expect(store.get(token)).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    });
  });
});

describe("replies that are not in Redis's protocol", () => {
  const http = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  const alert = Uint8Array.of(0x15, 3, 3, 0, 2, 2, 40);
  const noise = Uint8Array.from({ length: 512 }, (_, at) => 128 + ((at * 67) % 128));

  fault("F-22 calls time out when an HTTP server replies", {
    start: wrong((_, near) => near.write(http)),
    ...brief(hangs),
  });
  fault("F-20 calls time out when the reply is a TLS alert", {
    start: wrong((_, near) => near.write(alert)),
    ...brief(hangs),
  });
  fault("F-22 calls time out when the reply is random bytes", {
    start: wrong((_, near) => near.write(noise)),
    ...brief(hangs),
  });
});

describe("a client without an error listener", () => {
  test.concurrent("F-09 a lost connection never ends the process, as the backend listens for errors", async () => {
    const make = connected(unconnected({ reconnectStrategy: 20 }));
    await onGrounds({ client: make }, async (grounds) => {
      const store = storeOn(grounds.client, "s:", SLOW_MS);
      const { token } = await store.create({ userId: "42" });
      for (let round = 0; round < 3; round++) {
        const events = grounds.client as unknown as EventEmitter;
        // Not through `once` of `node:events`, which would add an error listener.
        const gone = new Promise<void>((done) => events.once("reconnecting", done));
        await killed(grounds);
        await gone;
        await recovers(store, token);
      }
    });
  });
});

describe("connectRedis", () => {
  test.concurrent("F-01 connectRedis waits for a server that starts later", async () => {
    const port = await freePort();
    const connecting = connectRedis(`redis://127.0.0.1:${port}`);
    const server = await startServer("--port", `${port}`);
    const client = await connecting;
    try {
      const store = storeOn(client, "s:", SLOW_MS);
      expect((await store.create({ userId: "42" })).session.data.userId).toBe("42");
    } finally {
      client.destroy();
      await server.stop();
    }
  });

  const nowhere: Record<string, (port: number) => string> = {
    "an unknown host name": () => "redis://app:hunter2@nowhere.invalid:6379",
    "a port without a server": () => "redis://app:hunter2@127.0.0.1:1",
    "a server that listens on IPv4 only": (port) => `redis://app:hunter2@[::1]:${port}`,
    "a socket that does not exist": () => "unix:///nonexistent/redis.sock",
  };
  for (const [where, urlOf] of Object.entries(nowhere)) {
    test.concurrent(`F-29 connectRedis rejects in time and shows no password when given ${where}`, async () => {
      const since = performance.now();
      const attempt = connectRedis(urlOf(await freePort()), { connectTimeout: `${SILENT_MS}ms`, password: "hunter2" });
      const error = await attempt.catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: "SessionBackendError", reason: "unavailable", outcome: "not-applied" });
      expect(performance.now() - since).toBeLessThan(DEFAULT_MS / 2);
      expectNoSecrets(error, "hunter2");
    });
  }

  test.concurrent("F-17 connectRedis rejects wrong credentials in time and shows no password", async () => {
    await onGrounds({ server: ["--user", "app", "on", ">hunter2", "~*", "+@all"] }, async ({ proxy }) => {
      const options = { username: "app", password: "hunter3", connectTimeout: `${SILENT_MS}ms` } as const;
      const error = await connectRedis(`redis://127.0.0.1:${proxy.port}`, options).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: "SessionBackendError", reason: "rejected", outcome: "not-applied" });
      expectNoSecrets(error, "hunter");
    });
  });
});

/** For faults in which no reply comes, so that the test need not wait long. */
function brief(expected: Fault["expected"]): Pick<Fault, "expected" | "timeoutMs"> {
  return { expected, timeoutMs: SILENT_MS };
}

function connected(make: (port: number) => FaultyClient): (port: number) => Promise<FaultyClient> {
  return async (port) => {
    const client = make(port);
    // The backend adds its error listener before the connection is opened.
    storeOn(client, "s:", SLOW_MS);
    await client.connect();
    return client;
  };
}

async function away({ client, proxy }: Grounds): Promise<() => Promise<void>> {
  const restore = await proxy.cut();
  await until("the client knows", () => client.isReady === false);
  return restore;
}
