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
import { breaks, type Fault, fault, hangs, unavailable, works } from "../support/faults.ts";
import type { Tampering } from "../support/proxy.ts";
import { freePort, startServer } from "../support/redis-server.ts";
import { until } from "../support/until.ts";

const SILENT_MS = 300;
const SLOW_MS = 1000;
/** Of `connectTimeoutMs`. */
const DEFAULT_MS = 10_000;

/**
 * Connections that are used meanwhile go wrong and stay so, as bytes do not come back: it is for the client to make
 * another one.
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

/** Whoever is told late is told all. */
function delayed(milliseconds: number): Fault["start"] {
  return ({ proxy }) => proxy.tamper((answer, near) => setTimeout(() => near.write(answer), milliseconds));
}

/** One byte each time. */
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

/** The beginning of the first answer. */
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

describe("no connection", () => {
  fault("F-01 at first: construction does not wait, and the server is found when it is there", {
    client: unconnected({ reconnectStrategy: 20 }),
    async start({ client, proxy }) {
      const restore = await proxy.cut();
      client.connect().catch(() => {});
      return restore;
    },
    expected: unavailable,
  });

  fault("F-02 as nobody told the client to connect", {
    client: unconnected(),
    start:
      ({ client }) =>
      () =>
        client.connect(),
    expected: unavailable,
  });

  fault("F-07 any more, with a client that would keep commands for later", {
    client: connected(unconnected({ reconnectStrategy: 20 })),
    start: away,
    expected: unavailable,
  });

  fault("F-08 any more, with the client that is made for sessions", { start: away, expected: unavailable });
});

describe("a connection that ends", () => {
  fault("F-03 F-20 reset before the answer", { start: wrong((_, near) => near.resetAndDestroy()), ...brief(breaks) });
  fault("F-20 closed before the answer", { start: wrong((_, near) => near.destroy()), ...brief(breaks) });
  fault("F-20 half closed before the answer", { start: wrong((_, near) => near.end()), ...brief(breaks) });
  fault("F-20 in the middle of an answer", {
    start: wrong((answer, near) => near.end(answer.subarray(0, 5))),
    ...brief(breaks),
  });
});

describe("answers that do not come", () => {
  fault("F-21 at all", { start: wrong(() => {}), ...brief(hangs) });
  fault("F-21 but by a byte each tenth of a second", { start: wrong(dripping(100)), ...brief(hangs) });
  fault("F-21 but for the beginning of the first", { start: wrong(begun()), ...brief(hangs) });
  fault("F-21 until 50 ms later", { start: delayed(50), expected: works });
  fault("F-21 until just in time", { start: delayed(SLOW_MS / 2), expected: works, timeoutMs: 4 * SLOW_MS });
  fault("F-21 until just too late", { start: delayed(SILENT_MS + 20), ...brief(hangs) });

  test.concurrent("F-05 and a client that gives up a silent connection is connected again by itself", async () => {
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

  test.concurrent("F-05 but one with a socketTimeout and no strategy stays closed, and says so at once", async () => {
    const make = connected(unconnected({ socketTimeout: 100 }));
    await onGrounds({ client: make }, async ({ server, client }) => {
      const store = storeOn(client, "s:", SLOW_MS);
      const { token } = await store.create({ userId: "42" });
      const resume = server.stall();
      try {
        await expect(store.get(token)).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
      } finally {
        resume();
      }
      await expect(store.get(token)).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
    });
  });
});

describe("answers that are none", () => {
  const http = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  const alert = Uint8Array.of(0x15, 3, 3, 0, 2, 2, 40);
  const noise = Uint8Array.from({ length: 512 }, (_, at) => 128 + ((at * 67) % 128));

  fault("F-22 from an HTTP server", { start: wrong((_, near) => near.write(http)), ...brief(hangs) });
  fault("F-20 but a TLS alert", { start: wrong((_, near) => near.write(alert)), ...brief(hangs) });
  fault("F-22 but noise", { start: wrong((_, near) => near.write(noise)), ...brief(hangs) });
});

describe("a client without an error listener", () => {
  test.concurrent("F-09 ends nobody's process", async () => {
    const make = connected(unconnected({ reconnectStrategy: 20 }));
    await onGrounds({ client: make }, async (grounds) => {
      const store = storeOn(grounds.client, "s:", SLOW_MS);
      const { token } = await store.create({ userId: "42" });
      for (let round = 0; round < 3; round++) {
        const events = grounds.client as unknown as EventEmitter;
        // Without a listener for errors, as the `once` of `node:events` would be one.
        const gone = new Promise<void>((done) => events.once("reconnecting", done));
        await killed(grounds);
        await gone;
        await recovers(store, token);
      }
    });
  });
});

describe("connectRedis", () => {
  test.concurrent("F-01 waits for a server that starts after it, and connects", async () => {
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
    "a name that nobody knows": () => "redis://app:hunter2@nowhere.invalid:6379",
    "a port where nobody listens": () => "redis://app:hunter2@127.0.0.1:1",
    "a server that listens on IPv4 only": (port) => `redis://app:hunter2@[::1]:${port}`,
    "a socket that is not there": () => "unix:///nonexistent/redis.sock",
  };
  for (const [where, urlOf] of Object.entries(nowhere)) {
    test.concurrent(`F-29 fails in time at ${where}, and tells no secret`, async () => {
      const since = performance.now();
      const attempt = connectRedis(urlOf(await freePort()), { connectTimeoutMs: SILENT_MS, password: "hunter2" });
      const error = await attempt.catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: "SessionBackendError", reason: "unavailable", outcome: "not-applied" });
      expect(performance.now() - since).toBeLessThan(DEFAULT_MS / 2);
      expectNoSecrets(error, "hunter2");
    });
  }

  test.concurrent("F-17 fails in time with credentials that are wrong, and tells no secret", async () => {
    await onGrounds({ server: ["--user", "app", "on", ">hunter2", "~*", "+@all"] }, async ({ proxy }) => {
      const options = { username: "app", password: "hunter3", connectTimeoutMs: SILENT_MS };
      const error = await connectRedis(`redis://127.0.0.1:${proxy.port}`, options).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: "SessionBackendError", reason: "rejected", outcome: "not-applied" });
      expectNoSecrets(error, "hunter");
    });
  });
});

/** Rows in which nobody waits for an answer. */
function brief(expected: Fault["expected"]): Pick<Fault, "expected" | "timeoutMs"> {
  return { expected, timeoutMs: SILENT_MS };
}

function connected(make: (port: number) => FaultyClient): (port: number) => Promise<FaultyClient> {
  return async (port) => {
    const client = make(port);
    // The backend adds the listener, before anything can go wrong.
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
