import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, describe, expect, test } from "vitest";
import { SessionBackendError } from "../../src/index.ts";
import { type RedisClient, redisBackend } from "../../src/redis/index.ts";
import * as indexScripts from "../../src/redis/index-scripts.ts";
import * as lifecycleScripts from "../../src/redis/lifecycle-scripts.ts";
import { withCheck } from "../../src/redis/permissions.ts";
import * as scripts from "../../src/redis/session-scripts.ts";
import { type Accounts, accounts, advisories, expectNothingOpens } from "../support/advisories.ts";
import { allListed } from "../support/members.ts";
import { ownBackend } from "../support/redis.ts";
import { redisWithClock } from "../support/redis-clock.ts";
import { startServer } from "../support/redis-server.ts";

const { client, prefix: root } = await ownBackend();

const open = () => redisWithClock(client, `${root}${randomUUID()}:`);

advisories(open);

async function allKeys(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) keys.push(...page);
  return keys;
}

/** A client with some methods replaced. */
function clientWith(methods: Partial<RedisClient>, inner: RedisClient = client): RedisClient {
  return new Proxy(inner, {
    get(target, name) {
      const method: unknown = Reflect.get(methods, name) ?? Reflect.get(target, name);
      return typeof method === "function" ? method.bind(target) : method;
    },
  });
}

test("R-2 a hash that lacks the required fields is not a session, and the store does not change it", async () => {
  const { prefix, ...ground } = await open();
  const store = accounts(ground);
  const { token, session } = await store.create({});
  await client.del(prefix + session.id);
  const parts = { last_accessed_at: new Date().toISOString(), role: "admin" };
  await client.hSet(prefix + session.id, parts);
  await expectNothingOpens(store, token);
  expect({ ...(await client.hGetAll(prefix + session.id)) }).toEqual(parts);
});

test("R-4 a session whose key lost its expiry still ends at its deadline", async () => {
  const { prefix, ...ground } = await open();
  const store = accounts(ground);
  const { token, session } = await store.create({});
  await client.persist(prefix + session.id);
  await ground.clock.advance(3600 - 0.001);
  expect(await store.peek(token)).not.toBeNull();
  await ground.clock.advance(0.001);
  await expectNothingOpens(store, token);
});

describe("R-23 stores with different prefixes", () => {
  test("a token of one store is invalid in another, even if one prefix is the beginning of the other", async () => {
    const users = await open();
    const admins = await open();
    const within = { ...users, backend: redisBackend(client, { prefix: `${users.prefix}admin:` }) };
    const around = { ...users, backend: redisBackend(client, { prefix: users.prefix.slice(0, -1) }) };
    const user = await accounts(users).create({ userId: "42" });
    const admin = await accounts(admins).create({ userId: "42" });
    const inner = await accounts(within).create({ userId: "42" });
    for (const other of [admins, within, around]) await expectNothingOpens(accounts(other), user.token);
    for (const { token } of [admin, inner]) await expectNothingOpens(accounts(users), token);
    expect(await accounts(users).revokeAll({ user: "42" })).toBe(1);
    for (const [ground, { token }] of [
      [admins, admin],
      [within, inner],
    ] as const) {
      expect(await accounts(ground).peek(token)).not.toBeNull();
    }
    for await (const { id } of accounts(users).scan()) expect.fail(`${id} is listed`);
  });
});

describe("R-27 replies that reach the wrong caller", () => {
  test("aborted calls never make a later call receive another session", async () => {
    const server = await startServer();
    const own = createClient({ url: server.url });
    own.on("error", () => {});
    await own.connect();
    afterAll(async () => {
      own.destroy();
      await server.stop("SIGKILL");
    });
    const ground = { backend: redisBackend(own), clock: { now: Date.now, advance: () => {} } };
    const store = accounts(ground);
    const tokens = await Promise.all(
      Array.from({ length: 40 }, async (_, at) => (await store.create({ userId: `u${at}` })).token),
    );
    for (let round = 0; round < 5; round++) {
      const resume = server.stall();
      const controllers = tokens.map(() => new AbortController());
      const asked = tokens.flatMap((token, at) => [
        store.get(token, { signal: controllers[at]?.signal }).catch(() => null),
        store.peek(token, { signal: controllers[at]?.signal }).catch(() => null),
      ]);
      for (const [at, controller] of controllers.entries()) if (at % 3 !== round % 3) controller.abort();
      resume();
      const late = await Promise.all(asked);
      const next = await Promise.all(tokens.flatMap((token) => [store.get(token), store.peek(token)]));
      for (const [at, session] of next.entries()) {
        expect(session?.data.userId).toBe(`u${Math.floor(at / 2)}`);
        expect([null, `u${Math.floor(at / 2)}`]).toContain(late[at]?.data.userId ?? null);
      }
    }
  });

  /** Swaps the replies of every two commands. */
  function swapping(method: "evalSha" | "hmGet"): RedisClient {
    let first: { resolve(reply: unknown): void; reply: Promise<unknown> } | null = null;
    const send = client[method] as (...args: unknown[]) => Promise<unknown>;
    return clientWith({
      [method](...args: unknown[]) {
        const reply = send.apply(client, args);
        return new Promise((resolve) => {
          if (first === null) {
            first = { resolve, reply };
          } else {
            const other = first;
            first = null;
            other.resolve(reply);
            resolve(other.reply);
          }
        });
      },
    });
  }

  const reads = [
    ["peek", "hmGet"],
    ["get", "evalSha"],
  ] as const;
  /** A call gets the session of its own user, or none, or an error. */
  async function expectNobodyElse(calls: readonly ReturnType<Accounts["get"]>[]): Promise<void> {
    const own = ["42", "43"];
    for (const [at, answer] of (await Promise.allSettled(calls)).entries()) {
      if (answer.status === "fulfilled") expect(answer.value?.data.userId ?? own[at]).toBe(own[at]);
      else expect(answer.reason).toBeInstanceOf(SessionBackendError);
    }
  }

  test.each(reads)("a %s that receives another session's reply does not return that session", async (read, method) => {
    const ground = await open();
    const store = accounts(ground);
    const mine = await store.create({ userId: "42" });
    const theirs = await store.create({ userId: "43" });
    const mixed = accounts({ ...ground, backend: redisBackend(swapping(method), { prefix: ground.prefix }) });
    await expectNobodyElse([mixed[read](mine.token), mixed[read](theirs.token)]);
  });

  test("an update that receives another session's reply does not return that session", async () => {
    const ground = await open();
    const store = accounts(ground);
    const mine = await store.create({ userId: "42" });
    const theirs = await store.create({ userId: "43" });
    const mixed = accounts({ ...ground, backend: redisBackend(swapping("evalSha"), { prefix: ground.prefix }) });
    await expectNobodyElse([mixed.update(mine.token, { role: "a" }), mixed.update(theirs.token, { role: "a" })]);
  });
});

/** What PTTL returns for a key that does not exist. */
const GONE = -2;

describe("R-28 writes close to the deadline", () => {
  const writes = {
    get: (store, token) => store.get(token),
    update: (store, token) => store.update(token, { role: "admin" }),
    "update by a function": (store, token) => store.update(token, ({ views }) => ({ views: views + 1 })),
    move: (store, token) => store.update(token, { userId: "43" }),
    increment: (store, token) => store.increment(token, "views"),
    take: (store, token) => store.take(token, "role"),
    setIdleTimeout: (store, token) => store.setIdleTimeout(token, 86_400),
    rotate: (store, token) => store.rotate(token, { idleTimeout: 86_400 }),
    updateAll: (store) => store.updateAll({ user: "42" }, { role: "admin" }),
  } satisfies Record<string, (store: ReturnType<typeof accounts>, token: string) => Promise<unknown>>;

  test.each(Object.entries(writes))("R-28 %s never makes a key outlive the session's deadline", async (use, act) => {
    for (const left of [1500, 1000, 999, 20, 1, 0, -1, -1500]) {
      const { prefix, ...ground } = await open();
      const store = accounts(ground);
      const { token, session } = await store.create({ userId: "42" });
      await ground.clock.advance(3600 - left / 1000);
      await act(store, token);
      const remaining = await client.pTTL(prefix + session.id);
      // A written key expires with the session, any other keeps its expiry. No key is without one.
      const most = left > 0 && use !== "updateAll" ? left : 1800 * 1000;
      expect(remaining === GONE || (remaining >= 0 && remaining <= most), `${left}: ${remaining}`).toBe(true);
    }
  });
});

test("R-29 every key of the library has an expiry, including those of indexes and of revoked sessions", async () => {
  const { prefix, ...ground } = await open();
  const store = accounts(ground);
  const acts: (() => Promise<unknown>)[] = [];
  let { token } = await store.create({ userId: "42", role: "a" });
  const { token: other } = await store.create({});
  acts.push(
    () => store.get(token),
    () => store.peek(token),
    () => store.update(token, { role: "b" }),
    () => store.update(token, { userId: "43" }),
    () => store.update(other, ({ views }) => ({ views: views + 1, userId: "44" })),
    () => store.increment(token, "views"),
    () => store.take(token, "role"),
    () => store.setIdleTimeout(token, 60),
    async () => {
      token = (await store.rotate(token, { grace: 5 }))?.token ?? "";
    },
    () => allListed(store, { user: "43" }),
    () => store.count({ user: "43" }),
    () => store.updateAll({ user: "43" }, { role: "c" }),
    () => store.revokeAll({ user: "43" }),
    // A member without a session, as a login in progress leaves it: revokeAll gives it a tombstone.
    () => ground.backend.enter("user:45", "A".repeat(22), 60_000, 0, ground.clock.now()),
    () => store.revokeAll({ user: "45" }),
    () => store.destroy(other),
  );
  for (const [at, act] of acts.entries()) {
    await act();
    for (const key of await allKeys(prefix)) expect(await client.pTTL(key), `${at}: ${key}`).toBeGreaterThan(0);
  }
  expect(await client.exists(prefix + "A".repeat(22))).toBe(1);
});

test("R-42 Lua scripts are constant, and session data is passed to them only as arguments", async () => {
  const known = new Set<unknown>(
    [scripts, lifecycleScripts, indexScripts]
      .flatMap((one) => Object.values(one))
      .filter((one) => typeof one === "object")
      .flatMap((one) => [one.text, withCheck(one).text]),
  );
  const texts = new Set<string>();
  const keys = new Set<number>();
  const watching = clientWith({
    // Makes every script seem unknown to the server.
    async evalSha(_, { keys: given }) {
      keys.add(given?.length ?? 0);
      throw new Error("NOSCRIPT No matching script.");
    },
    eval(text, options) {
      keys.add(options.keys?.length ?? 0);
      texts.add(text);
      return client.eval(text, options);
    },
  });
  const { prefix, clock } = await open();
  const store = accounts({ backend: redisBackend(watching, { prefix }), clock });
  const evil = '"]] redis.call("FLUSHALL") --';
  const { token } = await store.create({ userId: evil, role: evil });
  await store.get(token);
  await store.update(token, { userId: `${evil}2` });
  await store.increment(token, "views");
  const rotated = await store.rotate(token);
  await allListed(store, { user: `${evil}2` });
  await store.revokeAll({ user: `${evil}2` });
  await store.destroy(rotated?.token ?? "");
  expect(texts.size).toBeGreaterThanOrEqual(8);
  for (const text of texts) expect(known).toContain(text);
  expect([...keys]).toEqual([1]);
});
