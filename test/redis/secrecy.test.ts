import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { newSecret } from "../../src/base/token.ts";
import { createSessionStore, SessionBackendError, type SessionEvent } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { ownBackend } from "../support/redis.ts";
import { type Server, startServer } from "../support/redis-server.ts";
import { expectHidden, secrecy } from "../support/secrecy.ts";

const { client, prefix } = await ownBackend();

secrecy(() => ({
  backend: redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }),
  clock: manualClock(new Date()),
}));

const DATA = "MARKER-of-the-data";
const PASSWORD = "MARKER-of-the-password";
const schema = z.object({ userId: z.string(), code: z.string().optional(), views: z.int().default(0) });

test("R-14 the keys and values of a thousand sessions in Redis contain no secret", async () => {
  const own = `${prefix}${randomUUID()}:`;
  const store = createSessionStore({
    schema,
    backend: redisBackend(client, { prefix: own }),
    indexes: { user: "userId" },
  });
  const tokens = await Promise.all(
    Array.from({ length: 1000 }, async (_, at) => {
      const { token } = await store.create({ userId: `${at % 7}` });
      return at % 2 === 0 ? token : ((await store.rotate(token, { grace: 10 }))?.token ?? "");
    }),
  );
  const dump: string[] = [];
  for await (const keys of client.scanIterator({ MATCH: `${own}*`, COUNT: 1000 })) {
    for (const key of keys) {
      const value = key.includes(":index:") ? await client.zRange(key, 0, -1) : await client.hGetAll(key);
      dump.push(key, JSON.stringify(value));
    }
  }
  const text = dump.join("\n");
  expect(dump.length).toBeGreaterThan(2000);
  for (const token of tokens) {
    expect(text).toContain(token.slice(0, 22));
    expect(text).not.toContain(token.slice(23));
  }
});

describe("error messages when Redis fails", () => {
  interface Refusal {
    readonly options?: string[];
    prepare?(own: Pick<typeof client, "configSet" | "sendCommand" | "destroy">, stop: Server["stop"]): unknown;
  }

  /** Servers that reject commands, and how they get into that state. */
  const servers: Record<string, Refusal> = {
    "that does not know EVAL": { options: ["--rename-command", "EVAL", ""] },
    "that does not know HMGET": { options: ["--rename-command", "HMGET", ""] },
    "that does not know HSET": { options: ["--rename-command", "HSET", ""] },
    "that is full": { prepare: (own) => own.configSet("maxmemory", "1") },
    "whose user may not use scripts": {
      prepare: (own) => own.sendCommand(["ACL", "SETUSER", "default", "-eval", "-hmget"]),
    },
    "whose user may not use this key": {
      prepare: (own) => own.sendCommand(["ACL", "SETUSER", "default", "resetkeys"]),
    },
    "that is a replica without a master": { prepare: (own) => own.sendCommand(["REPLICAOF", "127.0.0.1", "1"]) },
    "that was stopped": { prepare: (_, stop) => stop("SIGKILL") },
    "with a client that was closed": { prepare: (own) => own.destroy() },
  };

  test.each(
    Object.entries(servers).flatMap(([what, server]) =>
      [false, true].map((plainIds) => ({ what, plainIds, ...server })),
    ),
  )(
    "no error or event shows a token, data or a password: a server $what, plainIds: $plainIds",
    async ({ options = [], prepare, plainIds }) => {
      const server = await startServer("--requirepass", PASSWORD, ...options);
      const own = createClient({ url: server.url, password: PASSWORD, socket: { reconnectStrategy: 20 } });
      own.on("error", () => {});
      await own.connect();
      onTestFinished(async () => {
        if (own.isOpen) own.destroy();
        await server.stop("SIGKILL");
      });
      const events: SessionEvent[] = [];
      const store = createSessionStore({
        schema,
        backend: redisBackend(own),
        plainIds,
        operationTimeout: "500ms",
        onEvent: (event) => events.push(event),
      });
      const issued = await store.create({ userId: DATA, code: DATA }).catch(() => null);
      const token =
        issued?.token ?? (plainIds ? newSecret().text : `${newSecret().text.slice(0, 22)}.${newSecret().text}`);
      await prepare?.(own, server.stop);
      const calls = [
        store.create({ userId: DATA, code: DATA }),
        store.get(token),
        store.peek(token),
        store.update(token, { code: DATA }),
        store.update(token, () => ({ code: DATA })),
        store.increment(token, "views"),
        store.take(token, "code"),
        store.destroy(token),
        store.scan()[Symbol.asyncIterator]().next(),
      ];
      const failures = (await Promise.allSettled(calls)).filter((result) => result.status === "rejected");
      expect(failures.length).toBeGreaterThan(0);
      const secret = plainIds ? token : token.slice(23);
      for (const { reason } of failures) {
        expect(reason).toBeInstanceOf(SessionBackendError);
        expectHidden("the error", reason, [secret, DATA, PASSWORD]);
      }
      // The new token of a failed create is known only to the command that was sent.
      const text = failures.map(({ reason }) => String((reason as Error).cause)).join();
      if (plainIds) expect(text).not.toMatch(/session:[A-Za-z0-9_-]{43}/);
      expectHidden("the events", events, [secret, DATA, PASSWORD]);
    },
  );
});

test("no error of connectRedis shows the password", async () => {
  const server = await startServer("--requirepass", "another");
  onTestFinished(() => server.stop("SIGKILL"));
  const options = { connectTimeout: "300ms" } as const;
  const at = `:${PASSWORD}@127.0.0.1:${server.port}`;
  const attempts = {
    "another password": () => connectRedis(`redis://${at}`, options),
    "another user": () => connectRedis(`redis://me${at}`, options),
    "a password as an option": () => connectRedis(server.url, { ...options, password: PASSWORD }),
    "a server without TLS": () => connectRedis(`rediss://${at}`, options),
    "no server": () => connectRedis(`redis://:${PASSWORD}@127.0.0.1:1`, options),
    "no host": () => connectRedis(`redis://:${PASSWORD}@nowhere.invalid`, options),
    "no port": () => connectRedis(`redis://:${PASSWORD}@127.0.0.1:99999`, options),
    "no protocol": () => connectRedis(`:${PASSWORD}@127.0.0.1`, options),
    "no escape": () => connectRedis(`redis://:${PASSWORD}%zz@127.0.0.1`, options),
    "no cluster": () => connectRedis({ cluster: [`redis://${at}`] }, options),
    "no sentinel": () => connectRedis({ sentinel: { name: "a", nodes: [`redis://${at}`] } }, options),
    "an option that is unknown": () => connectRedis(`redis://${at}`, { passwort: PASSWORD } as object),
  };
  for (const [what, attempt] of Object.entries(attempts)) {
    const error = await attempt().then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error, what).toBeInstanceOf(Error);
    expectHidden(what, error, [PASSWORD]);
  }
});
