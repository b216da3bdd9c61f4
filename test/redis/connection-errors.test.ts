import { execFile } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { inspect, promisify } from "node:util";
import { createClient } from "redis";
import { describe, expect, inject, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import {
  type ConnectedRedis,
  type ConnectOptions,
  connectRedis,
  type RedisAddress,
  redisBackend,
} from "../../src/redis/index.ts";
import { canRun, missingProgram } from "../support/availability.ts";
import { atEnd, bySentinel, ownServers, serve, serveCluster, serveSentinel, through } from "../support/own-servers.ts";
import { freePort } from "../support/redis-server.ts";
import { serveTls, tlsOptions } from "../support/tls-servers.ts";
import { until } from "../support/until.ts";

const SECRET = "hunter2";
/** Far below the connect timeout, and above what a busy machine takes for one attempt. */
const AT_ONCE_MS = 4000;

ownServers();

async function open(address: RedisAddress, options?: ConnectOptions) {
  const client = (await connectRedis(address, options)) as ConnectedRedis & {
    sendCommand(args: readonly string[]): Promise<unknown>;
  };
  atEnd(() => client.destroy());
  return client;
}

function storeOn(client: Parameters<typeof redisBackend>[0]) {
  return createSessionStore({ schema: z.object({}), backend: redisBackend(client) });
}

async function failure(address: RedisAddress, options: ConnectOptions = {}) {
  const since = performance.now();
  const error = await connectRedis(address, options).then(
    (client) => {
      client.destroy();
      throw new Error("It is connected");
    },
    (reason: unknown) => reason as Error,
  );
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET);
  return { error, milliseconds: performance.now() - since };
}

/** Expects that no second attempt is made. */
async function expectRejected(address: RedisAddress, options: ConnectOptions, ...words: RegExp[]): Promise<void> {
  const { error, milliseconds } = await failure(address, { ...options, connectTimeout: `${4 * AT_ONCE_MS}ms` });
  expect(error).toMatchObject({ name: "SessionBackendError", reason: "rejected", outcome: "not-applied" });
  expect(error.message).toMatch(/^Cannot connect to Redis at \S+ as /);
  for (const word of words) expect(error.message).toMatch(word);
  expect(milliseconds).toBeLessThan(AT_ONCE_MS);
}

async function expectUnavailable(address: RedisAddress, options: ConnectOptions, ...words: RegExp[]): Promise<void> {
  const { error, milliseconds } = await failure(address, { connectTimeout: 1, ...options });
  expect(error).toMatchObject({ name: "SessionBackendError", reason: "unavailable", outcome: "not-applied" });
  expect(error.message).toMatch(/^Cannot connect to Redis at \S.* within \d+ ms: /);
  for (const word of words) expect(error.message).toMatch(word);
  expect(milliseconds).toBeGreaterThan(300);
}

/** A server that is not Redis, and its port. */
async function serveText(answer: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => answer(socket));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(() => server.close());
  return (server.address() as { port: number }).port;
}

const hasOpenssl = canRun(
  "connection errors of TLS",
  missingProgram(["openssl", "version"], "apt-get install openssl"),
);

describe.runIf(hasOpenssl)("connections over TLS", () => {
  test.concurrent("the client connects with the certificate's authority, another server name, or any certificate", async () => {
    const [local, other] = await Promise.all([serveTls(), serveTls("redis.example")]);
    for (const [server, tls] of [
      [local, { ca: local.ca }],
      [local, { rejectUnauthorized: false }],
      [other, { ca: other.ca, servername: "redis.example" }],
      [other, { rejectUnauthorized: false }],
    ] as const) {
      const client = await open(`rediss://localhost:${server.port}`, { tls });
      expect(await client.sendCommand(["PING"])).toBe("PONG");
    }
  });

  test.concurrent("an untrusted certificate is rejected at once, and the error names it and tls.ca", async () => {
    const { port } = await serveTls();
    const url = `rediss://app:${SECRET}@localhost:${port}`;
    const words = [/SELF_SIGNED_CERT/, /tls\.ca/, new RegExp(`localhost:${port}`)];
    await expectRejected(url, {}, ...words);
    await expectRejected({ cluster: [url] }, {}, ...words);
    await expectRejected({ sentinel: { name: "main", nodes: [url] } }, {}, ...words);
  });

  test.concurrent("a certificate for another host name is rejected at once, and the error names it and tls.servername", async () => {
    const { port, ca } = await serveTls("redis.example");
    await expectRejected(
      `rediss://localhost:${port}`,
      { tls: { ca } },
      /ERR_TLS_CERT_ALTNAME_INVALID/,
      /tls\.servername/,
    );
  });

  // Deno reports this alert twice, and node-redis listens to a socket's first error only: the second ends the process.
  test.skipIf("Deno" in globalThis)(
    "a server that requires a certificate of the client rejects at once, and the error names tls.cert",
    async () => {
      const { port, ca, key } = await serveTls("localhost", "--tls-auth-clients", "yes");
      await expectRejected(`rediss://localhost:${port}`, { tls: { ca } }, /CERTIFICATE_REQUIRED/, /tls\.cert/);
      const client = await open(`rediss://localhost:${port}`, { tls: { ca, cert: ca, key } });
      expect(await client.sendCommand(["PING"])).toBe("PONG");
    },
  );

  test.concurrent("calls are rejected while the server has a certificate that is not trusted, and work again afterwards", async () => {
    const { server, port, ca, folder } = await serveTls();
    const store = storeOn(await open(`rediss://localhost:${port}`, { tls: { ca } }));
    await store.create({});
    await server.stop("SIGKILL");
    const { server: other } = await serveTls("localhost", "--tls-port", `${port}`);
    await until("calls are rejected", () =>
      store.create({}).then(
        () => false,
        ({ reason, message }) => reason === "rejected" && /certificate is not trusted .*tls\.ca/.test(message),
      ),
    );
    await other.stop("SIGKILL");
    await serve("--tls-port", `${port}`, ...tlsOptions(folder));
    await until("calls succeed", () =>
      store.create({}).then(
        () => true,
        () => false,
      ),
    );
  });

  test.concurrent("rediss: to a server without TLS is rejected at once, and the error suggests redis:", async () => {
    const server = await serve("--requirepass", SECRET);
    const url = `rediss://:${SECRET}@127.0.0.1:${server.port}`;
    await expectRejected(url, {}, /does not speak TLS/, /redis: instead of rediss:/);
    await expectRejected({ cluster: [url] }, {}, /redis: instead of rediss:/);
    const port = await serveText((socket) => socket.end("-ERR Protocol error\r\n"));
    await expectRejected(`rediss://127.0.0.1:${port}`, {}, /redis: instead of rediss:/);
  });

  test.concurrent("redis: to a server with TLS is retried, and the error says that the server closed the connection and suggests rediss:", async () => {
    const { port } = await serveTls();
    await expectUnavailable(`redis://127.0.0.1:${port}`, {}, /closed the connection during the handshake/, /rediss:/);
  });
});

describe("servers that reject a connection for good", () => {
  test.concurrent("a database that the server does not have is rejected at once", async () => {
    const server = await serve();
    await expectRejected(`${server.url}/99`, {}, /database index is out of range/);
    const cluster = await serveCluster();
    await expectRejected(`${cluster.url}/1`, {}, /a cluster has no databases/);
  });

  test.concurrent("a server of another kind than the address says is rejected at once", async () => {
    const server = await serve();
    await expectRejected({ cluster: [server.url] }, {}, /not part of a cluster.*without \{ cluster \}/);
    await expectRejected(bySentinel(server), {}, /not a sentinel.*sentinel\.nodes/);
  });

  test.concurrent("a server that is too old to know HELLO is rejected at once, and its reply does not show the password", async () => {
    const reply = `-ERR unknown command \`HELLO\`, with args beginning with: \`3\`, \`AUTH\`, \`default\`, \`${SECRET}\`, \r\n`;
    const port = await serveText((socket) => socket.write(reply.repeat(4)));
    await expectRejected(`redis://:${SECRET}@127.0.0.1:${port}`, {}, /Redis 6\.2 or later is required/);
  });

  test.concurrent("a server with another protocol is rejected at once, even if it keeps the connection open", async () => {
    const http = await serveText((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await expectRejected(`redis://127.0.0.1:${http}`, {}, /does not speak the Redis protocol/);
    const tls = await serveText((socket) => socket.write(Uint8Array.of(21, 3, 3, 0, 2, 2, 70)));
    await expectRejected(`redis://127.0.0.1:${tls}`, {}, /speaks TLS: begin the address with rediss:/);
  });

  test.concurrent("a server in protected mode is rejected at once", async () => {
    const port = await serveText((socket) => socket.end("-DENIED Redis is running in protected mode.\r\n"));
    await expectRejected(`redis://127.0.0.1:${port}`, {}, /protected mode/);
  });
});

describe("servers that may become available", () => {
  test.concurrent("a port that nobody listens on is retried, and the error names ECONNREFUSED, host and port, but no credentials", async () => {
    const port = await freePort();
    const url = `redis://app:${SECRET}@127.0.0.1:${port}`;
    for (const address of [url, { cluster: [url] }, { sentinel: { name: "main", nodes: [url] } }]) {
      await expectUnavailable(address, {}, /ECONNREFUSED/, new RegExp(`at 127\\.0\\.0\\.1:${port} within 1000 ms`));
    }
    await expectUnavailable(`redis://localhost:${port}`, {}, /ECONNREFUSED/, new RegExp(`at localhost:${port} `));
    await expectUnavailable(`redis://[::1]:${port}`, {}, /ECONN|EADDR|ENET/, new RegExp(`at \\[::1\\]:${port} `));
    await expectUnavailable("unix:///tmp/no-such-socket", {}, /ENOENT/, /at \/tmp\/no-such-socket /);
  });

  test.concurrent("a host name that does not exist is retried, and the error names it and the failed lookup", async () => {
    await expectUnavailable("redis://no-such-host.invalid", {}, /ENOTFOUND|EAI_AGAIN/, /no-such-host\.invalid:6379/);
  });

  test.concurrent("a server that never replies is retried, and the error says that it did not answer", async () => {
    const port = await serveText(() => {});
    await expectUnavailable(`redis://127.0.0.1:${port}`, {}, /did not answer in time/);
  });

  test.concurrent("an error reply that may pass is retried, and the error names it", async () => {
    const port = await serveText((socket) => socket.end("-LOADING Redis is loading the dataset in memory\r\n"));
    await expectUnavailable(`redis://127.0.0.1:${port}`, {}, /LOADING/);
    const { sentinel } = await serveSentinel();
    await expectUnavailable(
      { sentinel: { name: "other", nodes: [sentinel.url] } },
      {},
      /No such master with that name/,
    );
  });
});

describe("addresses in unusual forms", () => {
  test.concurrent("the scheme is case-insensitive, surrounding white space is ignored, and family is honoured", async () => {
    const { port } = await serve("--bind", "127.0.0.1", "-::1");
    for (const address of [
      `REDIS://127.0.0.1:${port}`,
      ` \tRedis://127.0.0.1:${port}\n`,
      `redis://127.0.0.1:${port}/?family=0`,
      `redis://localhost:${port}?family=4`,
    ]) {
      expect(await (await open(address)).sendCommand(["PING"])).toBe("PONG");
    }
    const addressOf = async (client: Awaited<ReturnType<typeof open>>) =>
      / addr=(\S+):\d+ /.exec(String(await client.sendCommand(["CLIENT", "INFO"])))?.[1];
    expect(await addressOf(await open(`redis://localhost:${port}?family=6`, { family: 4 }))).toBe("127.0.0.1");
  });
});

describe("calls without a connection", () => {
  test.concurrent("the error says where the server is, that the connection was lost, and why", async () => {
    const server = await serve();
    const client = await open(`redis://app:${SECRET}@127.0.0.1:${server.port}`, { username: "default", password: "" });
    const store = storeOn(client);
    await store.create({});
    await server.stop("SIGKILL");
    const error = async () => (await store.create({}).catch((error: unknown) => error)) as Error;
    const where = `The Redis server at 127.0.0.1:${server.port} is not available: the connection is lost (ECONNREFUSED)`;
    await until("the reason is known", async () => (await error()).message === where);
    expect(inspect(await error(), { depth: 9, showHidden: true })).not.toContain(SECRET);
  });

  test.concurrent("the error of a client that is still connecting says so", async () => {
    const port = await freePort();
    const client = createClient({ url: `redis://:${SECRET}@127.0.0.1:${port}` });
    atEnd(() => client.destroy());
    const store = storeOn(client);
    client.connect().catch(() => {});
    await until("the reason is known", async () => {
      const { message } = (await store.create({}).catch((error: unknown) => error)) as Error;
      return (
        message ===
        `The Redis server at 127.0.0.1:${port} is not available: it has not been connected yet (ECONNREFUSED)`
      );
    });
  });

  test.concurrent("the error of a client that was closed differs from that of one that was never connected", async () => {
    const client = createClient({ url: inject("redisUrl") });
    const store = storeOn(client);
    await expect(store.create({})).rejects.toThrow("The Redis client is closed: connect it before use");
    await client.connect();
    await store.create({});
    await client.close();
    await expect(store.create({})).rejects.toThrow("The Redis client was closed by the application");
  });

  test.concurrent("the error of a client that has stopped reconnecting says so, and why", async () => {
    const server = await serve();
    const client = createClient({ url: server.url, socket: { reconnectStrategy: false } });
    const store = storeOn(client);
    await client.connect();
    await store.create({});
    await server.stop("SIGKILL");
    await until("the client has stopped", () => !client.isOpen);
    await expect(store.create({})).rejects.toThrow(
      /^The Redis client has stopped reconnecting to the server at 127\.0\.0\.1:\d+: (the server closed the connection|ECONNRESET)$/,
    );
  });

  test.concurrent("a call whose connection breaks says so", async () => {
    const proxy = await through(await serve());
    const store = storeOn(await open(`redis://127.0.0.1:${proxy.port}`));
    await store.create({});
    proxy.loseNextAnswer();
    await expect(store.create({})).rejects.toThrow(
      `The Redis server at 127.0.0.1:${proxy.port} is not available: the connection broke (`,
    );
  });
});

/**
 * What a program prints that calls `connectRedis` where there are no packages.
 *
 * @param redis The text of the module `redis`, if this one is installed.
 */
async function connectAlone(redis?: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "zession-alone-"));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  cpSync("src", join(folder, "src"), { recursive: true });
  const program = `import { connectRedis } from "./src/redis/index.ts";
    await connectRedis("redis://localhost").catch(({ reason, message }) => console.log(reason, message));`;
  if (redis !== undefined) {
    const path = join(folder, "node_modules/redis");
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "package.json"), '{ "name": "redis", "version": "4.7.1", "main": "index.js" }');
    writeFileSync(join(path, "index.js"), redis);
  }
  writeFileSync(join(folder, "program.ts"), program);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const flags = "Deno" in globalThis ? ["run", "-A"] : "Bun" in globalThis ? ["--no-install"] : [];
  const run = promisify(execFile)(process.execPath, [...flags, "program.ts"], { cwd: folder });
  return (await run).stdout;
}

test.concurrent("if the package redis is not installed, the error says what to install", async () => {
  expect(await connectAlone()).toMatch(
    /^rejected Cannot connect to Redis .* the package "redis" is not installed: .*npm install redis/,
  );
});

test.concurrent("if the package redis is version 4, the error says which versions to install", async () => {
  expect(await connectAlone("exports.createClient = () => {};")).toMatch(
    /Cannot connect to Redis as the installed package redis is too old: install version \^5\.9 or \^6\.3/,
  );
});
