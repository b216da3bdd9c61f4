import { randomUUID } from "node:crypto";
import { createClient, createClientPool } from "redis";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, SessionBackendError } from "../../src/index.ts";
import { connectRedis, type RedisClient, type ReplicaConfirmation, redisBackend } from "../../src/redis/index.ts";
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
import type { BreakingConnection } from "../support/proxy.ts";
import { freePort, startSentinel } from "../support/redis-server.ts";
import { command } from "../support/topologies.ts";
import { persevering, until } from "../support/until.ts";

const ROUNDS = 50;
const WAIT_MS = 600;
const TIME_MS = 3000;

ownServers();

async function open(address: Parameters<typeof connectRedis>[0]) {
  const client = await connectRedis(address);
  atEnd(() => client.destroy());
  return client;
}

function storeOn(client: RedisClient, waitForReplicas?: ReplicaConfirmation, prefix = `${randomUUID()}:`) {
  return createSessionStore({
    schema: z.object({ userId: z.string(), views: z.int().default(0) }),
    backend: redisBackend(client, { prefix, waitForReplicas }),
    indexes: { user: "userId" },
    operationTimeout: `${TIME_MS}ms`,
  });
}

type Store = ReturnType<typeof storeOn>;

/** A master, and a replica that is connected to it through a proxy. */
async function pair() {
  const [master, replica] = await Promise.all([serve("--repl-diskless-sync-delay", "0"), serve()]);
  const [link, front] = await Promise.all([through(master), through(master)]);
  await follow(replica, link.port);
  const client = await open(`redis://127.0.0.1:${front.port}`);
  /** Kills the master and promotes the replica, also for the client. */
  const failOver = async (): Promise<void> => {
    await master.stop("SIGKILL");
    await command(replica, "REPLICAOF", "NO", "ONE");
    front.lead(replica.port);
  };
  return { master, replica, link, front, client, failOver };
}

async function opens(store: Store, token = ""): Promise<boolean> {
  let session: unknown;
  await until("the store answers", async () => {
    try {
      session = await store.peek(token);
      return true;
    } catch {
      return false;
    }
  });
  return session !== null;
}

/** Every way to make a token invalid. Each returns the token that replaces it, if any. */
const ways: Record<string, (store: Store, token: string, id: string, user: string) => Promise<string | undefined>> = {
  async destroy(store, token) {
    expect(await store.destroy(token)).toBe(true);
    return undefined;
  },
  async revoke(store, _token, id) {
    expect(await store.revoke(id)).toBe(true);
    return undefined;
  },
  async revokeAll(store, _token, _id, user) {
    expect(await store.revokeAll({ user })).toBe(1);
    return undefined;
  },
  async rotate(store, token) {
    const rotated = await store.rotate(token);
    expect(rotated).not.toBeNull();
    return rotated?.token;
  },
};

/** Sets up all these ways, each for a session of its own. */
async function leave(store: Store) {
  const left = Object.entries(ways).map(async ([way, end]) => {
    const user = randomUUID();
    const { token, session } = await store.create({ userId: user });
    return { way, token, user, end: () => end(store, token, session.id, user) };
  });
  return await Promise.all(left);
}

describe("waiting for replicas", () => {
  test(`sessions that a replica confirmed as ended stay ended when the master is killed right afterwards, ${ROUNDS} times`, {
    timeout: 60_000,
  }, async () => {
    let master = await serve("--repl-diskless-sync-delay", "0");
    const front = await through(master);
    const store = storeOn(await open(`redis://127.0.0.1:${front.port}`), { count: 1, timeout: `${TIME_MS / 2}ms` });
    for (let round = 0; round < ROUNDS; round++) {
      const replica = await serve("--repl-diskless-sync-delay", "0");
      await follow(replica, master.port);
      await opens(store);
      const sessions = await leave(store);
      const tokens = await Promise.all(sessions.map(({ end }) => persevering(end)));
      await master.stop("SIGKILL");
      front.lead(replica.port);
      await command(replica, "REPLICAOF", "NO", "ONE");
      for (const [at, { way, token, user }] of sessions.entries()) {
        expect(await opens(store, token), `round ${round}: ${way}`).toBe(false);
        if (tokens[at] !== undefined) expect(await opens(store, tokens[at])).toBe(true);
        else expect(await store.count({ user }), `round ${round}: ${way}`).toBe(0);
      }
      master = replica;
    }
  });

  for (const way of Object.keys(ways)) {
    test.concurrent(`without waitForReplicas, a failover undoes a ${way} that the replica has not received`, async () => {
      const { link, client, failOver } = await pair();
      const store = storeOn(client);
      const sessions = await leave(store);
      const session = sessions.find((session) => session.way === way);
      await confirmedUpTo(client);
      link.silence();
      await session?.end();
      expect(await opens(store, session?.token)).toBe(false);
      await failOver();
      expect(await opens(store, session?.token)).toBe(true);
    });

    test.concurrent(`with waitForReplicas, a ${way} that the replica does not confirm rejects in time with an unknown outcome`, async () => {
      const { link, client } = await pair();
      const store = storeOn(client, { count: 1, timeout: `${WAIT_MS}ms` });
      const sessions = await leave(store);
      const session = sessions.find((session) => session.way === way);
      await confirmedUpTo(client);
      link.silence();
      const since = performance.now();
      await expect(persevering(async () => await session?.end())).rejects.toMatchObject({
        name: "SessionBackendError",
        reason: "timeout",
        outcome: "unknown",
      });
      expect(performance.now() - since).toBeLessThan(WAIT_MS + 1000);
      // A rotation is taken back, as nobody has received its new token.
      if (way === "rotate") await until("the old token is valid again", () => opens(store, session?.token));
      else expect(await opens(store, session?.token)).toBe(false);
    });
  }

  test.concurrent("a logout succeeds only if as many replicas confirm it as waitForReplicas demands", async () => {
    const { client, master } = await pair();
    const two = storeOn(client, { count: 2, timeout: `${TIME_MS / 2}ms` });
    const { token } = await two.create({ userId: "42" });
    await expect(two.destroy(token)).rejects.toMatchObject({ outcome: "unknown" });
    const other = await serve();
    await follow(other, master.port);
    const again = await two.create({ userId: "42" });
    expect(await two.destroy(again.token)).toBe(true);
  });

  test.concurrent("in a cluster, a session enters its indexes only if replicas confirm it, and on one server it need not", async () => {
    const waiting = { count: 1, timeout: `${TIME_MS - 500}ms` } as const;
    const cluster = storeOn(await open({ cluster: [(await serveCluster()).url] }), waiting);
    await expect(cluster.create({ userId: "42" })).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    const single = storeOn(await open((await serve()).url), waiting);
    expect((await single.create({ userId: "42" })).session.data.userId).toBe("42");
  });

  test.concurrent("a logout rejects if the master becomes a replica before it is confirmed", async () => {
    const [server, other] = await Promise.all([serve(), serve()]);
    const store = storeOn(await open(server.url), { count: 1, timeout: `${TIME_MS - 500}ms` });
    const { token, session } = await store.create({ userId: "42" });
    const ending = store.revoke(session.id);
    ending.catch(() => {});
    await until("it waits", async () => String(await command(server, "CLIENT", "LIST")).includes("cmd=wait"));
    await command(server, "REPLICAOF", "127.0.0.1", `${other.port}`);
    await expect(ending).rejects.toMatchObject({ reason: "unavailable", outcome: "unknown" });
    expect(token).not.toBe("");
  });

  test.concurrent("a logout is rejected before it changes anything if the account may not call WAIT, and afterwards if it lost this right", async () => {
    const server = await serve("--user", "app", "on", ">secret", "~*", "+@all", "-wait");
    const client = await open(`redis://app:secret@127.0.0.1:${server.port}`);
    const store = storeOn(client, { count: 1, timeout: `${WAIT_MS}ms` });
    const { token } = await store.create({ userId: "42" });
    await expect(store.destroy(token)).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    await expect(store.destroy(token)).rejects.toThrow("+wait");
    expect(await store.peek(token)).not.toBeNull();
    await command(server, "ACL", "SETUSER", "app", "+wait");
    await expect(store.destroy(token)).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    await command(server, "ACL", "SETUSER", "app", "-wait");
    const ending = store.destroy(token);
    await expect(ending).rejects.toMatchObject({ reason: "rejected", outcome: "unknown" });
    await expect(ending).rejects.toThrow("WAIT failed (NOPERM)");
  });

  test.concurrent("a logout for which no connection was ready in time says so, and nothing is sent", async () => {
    const { client, front } = await pair();
    const store = storeOn(client, { count: 1, timeout: `${WAIT_MS}ms` });
    const { token } = await store.create({ userId: "42" });
    front.refuse();
    const ending = store.destroy(token);
    await expect(ending).rejects.toMatchObject({ reason: "timeout", outcome: "not-applied" });
    await expect(ending).rejects.toThrow(/^No connection .* within 600 ms: nothing was sent \(ECONNREFUSED\)$/);
    expect(await store.peek(token)).not.toBeNull();
  });

  test.concurrent("a logout on a pool is confirmed only by replicas that have this logout, not just earlier writes", async () => {
    const { link, master } = await pair();
    const pool = createClientPool({ url: master.url }, { minimum: 4 });
    pool.on("error", () => {});
    await pool.connect();
    atEnd(() => pool.destroy());
    const store = storeOn(pool as unknown as RedisClient, { count: 1, timeout: `${TIME_MS / 2}ms` });
    // Every connection has written something that the replica has confirmed.
    const issued = await Promise.all(Array.from({ length: 24 }, () => store.create({ userId: "42" })));
    const [last, ...others] = issued;
    expect(await store.destroy(last?.token ?? "")).toBe(true);
    link.silence();
    for (const { token } of others.slice(0, 3)) {
      await expect(store.destroy(token)).rejects.toMatchObject({ outcome: "unknown" });
    }
  });
});

/** Waits until the replica has received what the client's connection wrote. */
async function confirmedUpTo(client: RedisClient): Promise<void> {
  expect(await (client as unknown as { wait(count: number, ms: number): Promise<number> }).wait(1, TIME_MS)).toBe(1);
}

describe("calls while a logout waits for replicas", () => {
  const kinds: Record<string, () => Promise<RedisClient>> = {
    "on a single client": async () => open((await serve()).url),
    "on a pool": async () => {
      const pool = createClientPool({ url: (await serve()).url });
      pool.on("error", () => {});
      await pool.connect();
      atEnd(() => pool.destroy());
      return pool as unknown as RedisClient;
    },
    "on a cluster": async () => open({ cluster: [(await serveCluster()).url] }),
    "behind sentinels": async () => open(bySentinel((await serveSentinel()).sentinel)),
  };
  for (const [kind, make] of Object.entries(kinds)) {
    test.concurrent(`a logout that waits for replicas does not delay other calls ${kind}`, async () => {
      const client = await make();
      const prefix = `${randomUUID()}:`;
      const store = storeOn(client, { count: 1, timeout: "1s" }, prefix);
      // In a cluster, the index entries of a new session wait for replicas as well.
      const plain = storeOn(client, undefined, prefix);
      const [leaving, staying] = await Promise.all([plain.create({ userId: "42" }), plain.create({ userId: "43" })]);
      const [since, heldUp] = [performance.now(), holdUps()];
      let isOver = false;
      const ended = store.destroy(leaving.token).then(
        () => {
          throw new Error("There is no replica");
        },
        (error) => {
          isOver = true;
          return error;
        },
      );
      let slowest = 0;
      let reads = 0;
      while (!isOver) {
        const asked = performance.now();
        expect((await store.get(staying.token))?.data.userId).toBe("43");
        expect(await store.increment(staying.token, "views")).toBe(++reads);
        slowest = Math.max(slowest, performance.now() - asked);
        await new Promise((done) => setTimeout(done, 10));
      }
      expect(await ended).toMatchObject({ name: "SessionBackendError", outcome: "unknown", reason: "timeout" });
      const [took, late] = [performance.now() - since, heldUp()];
      expect(took).toBeGreaterThan(900);
      expect(took).toBeLessThan(2500 + late);
      // If the first read had to wait, it would be the last.
      expect(reads).toBeGreaterThan(1);
      expect(slowest).toBeLessThan(800 + late);
    });
  }
});

describe("many logouts at once that wait for replicas", () => {
  const many = Array.from({ length: 200 }, (_, at) => `${at}`);

  async function logOut(store: Store) {
    const issued = await Promise.all(many.map((userId) => store.create({ userId })));
    const since = performance.now();
    const outcomes = await Promise.allSettled(issued.map(({ token }) => store.destroy(token)));
    return { issued, outcomes, milliseconds: performance.now() - since };
  }

  test("200 logouts are confirmed in time if the replica works", async () => {
    const { master, replica, client } = await pair();
    await follow(replica, master.port);
    const { outcomes, milliseconds } = await logOut(storeOn(client, { count: 1, timeout: "1s" }));
    expect(outcomes.filter((outcome) => outcome.status === "fulfilled" && outcome.value)).toHaveLength(many.length);
    console.log(`200 confirmed logouts: ${Math.round(milliseconds)} ms`);
    expect(milliseconds).toBeLessThan(TIME_MS);
  });

  const ROUND_TRIP_MS = 10;
  const TOGETHER = 500;
  const distant: Record<string, () => Promise<{ client: RedisClient; proxies: BreakingConnection[] }>> = {
    "on a single client": async () => {
      const { link, front, client } = await pair();
      return { client, proxies: [link, front] };
    },
    "on a pool": async () => {
      const { link, front } = await pair();
      const pool = createClientPool({ url: `redis://127.0.0.1:${front.port}` }, { maximum: 4 });
      pool.on("error", () => {});
      await pool.connect();
      atEnd(() => pool.destroy());
      return { client: pool as unknown as RedisClient, proxies: [link, front] };
    },
    "on a cluster": async () => {
      const port = await freePort();
      const front = await through({ port });
      const master = await serveCluster("--port", `${port}`, "--cluster-announce-port", `${front.port}`);
      const replica = await serve("--cluster-enabled", "yes");
      await command(replica, "CLUSTER", "MEET", "127.0.0.1", `${port}`, `${port + 10_000}`);
      const id = String(await command(master, "CLUSTER", "MYID"));
      await until("the replica knows the master", () =>
        command(replica, "CLUSTER", "REPLICATE", id).then(
          () => true,
          () => false,
        ),
      );
      await until("it follows", async () => String(await command(master, "INFO", "replication")).includes("online"));
      const client = await open({ cluster: [`redis://127.0.0.1:${front.port}`] });
      return { client, proxies: [front] };
    },
    "behind sentinels": async () => {
      const { link, front } = await pair();
      const sentinel = await startSentinel(`sentinel monitor main 127.0.0.1 ${front.port} 1`);
      atEnd(() => sentinel.stop("SIGKILL"));
      const client = await open(bySentinel(sentinel));
      expect(client.getMasterNode?.()).toMatchObject({ port: front.port });
      return { client, proxies: [link, front] };
    },
  };
  for (const [kind, make] of Object.entries(distant)) {
    test(`${TOGETHER} logouts at once are confirmed within a second at a round trip of ${ROUND_TRIP_MS} ms, ${kind}`, async () => {
      const { client, proxies } = await make();
      const store = storeOn(client, { count: 1, timeout: "1s" });
      const issued = await Promise.all(Array.from({ length: TOGETHER }, () => store.create({ userId: "42" })));
      // A replica that has just connected may need a second until it confirms anything.
      await until("the replica confirms", async () => {
        const { token } = await store.create({ userId: "42" });
        return await store.destroy(token).catch(() => false);
      });
      for (const proxy of proxies) proxy.tamper((answer, near) => setTimeout(() => near.write(answer), ROUND_TRIP_MS));
      const since = performance.now();
      const outcomes = await Promise.allSettled(issued.map(({ token }) => store.destroy(token)));
      console.log(`${TOGETHER} confirmed logouts ${kind}: ${Math.round(performance.now() - since)} ms`);
      expect(outcomes.filter(({ status }) => status === "rejected")).toEqual([]);
      expect(outcomes.every((outcome) => outcome.status === "fulfilled" && outcome.value)).toBe(true);
    });
  }

  test("no logout of a batch is confirmed if its connection breaks, even with a client that would queue commands", async () => {
    const { link, front, client: first } = await pair();
    const client = createClient({ url: `redis://127.0.0.1:${front.port}`, socket: { reconnectStrategy: 10 } });
    client.on("error", () => {});
    await client.connect();
    atEnd(() => client.destroy());
    const store = storeOn(client, { count: 1, timeout: `${WAIT_MS}ms` });
    const issued = await Promise.all(Array.from({ length: 2000 }, () => store.create({ userId: "42" })));
    await confirmedUpTo(first);
    link.silence();
    let replies = 0;
    const end = front.tamper((answer, near) => {
      near.write(answer);
      if (++replies % 30 === 0) near.destroySoon();
    });
    const outcomes = await Promise.allSettled(issued.map(({ token }) => store.destroy(token)));
    end();
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toEqual([]);
  });

  const stopped: Record<string, () => Promise<RedisClient>> = {
    "on a single client": async () => {
      const { replica, client } = await pair();
      replica.stall();
      return client;
    },
    "behind sentinels": async () => open(bySentinel((await serveSentinel()).sentinel)),
  };
  for (const [kind, make] of Object.entries(stopped)) {
    test(`200 logouts reject in time if no replica replies, and each reports whether it may have been applied, ${kind}`, async () => {
      const store = storeOn(await make(), { count: 1, timeout: `${WAIT_MS}ms` });
      const { issued, outcomes, milliseconds } = await logOut(store);
      expect(milliseconds).toBeLessThan(TIME_MS + 500);
      const told = { unknown: 0, "not-applied": 0 };
      for (const [at, outcome] of outcomes.entries()) {
        const error = outcome.status === "rejected" ? outcome.reason : null;
        expect(error).toBeInstanceOf(SessionBackendError);
        const { outcome: known } = error as SessionBackendError;
        told[known]++;
        if (known === "not-applied") expect(await store.peek(issued[at]?.token ?? "")).not.toBeNull();
      }
      expect(told.unknown).toBeGreaterThan(0);
      console.log(`200 logouts without a replica, ${kind}: ${Math.round(milliseconds)} ms, ${JSON.stringify(told)}`);
    });
  }
});

test.concurrent("logouts are confirmed again after the master was replaced", async () => {
  const { client, master, replica, failOver } = await pair();
  const store = storeOn(client, { count: 1, timeout: `${TIME_MS / 2}ms` });
  const sessions = await Promise.all(["1", "2", "3"].map((userId) => store.create({ userId })));
  expect(await store.destroy(sessions[0]?.token ?? "")).toBe(true);
  await failOver();
  const next = await serve();
  await follow(next, replica.port);
  await until("a logout is confirmed again", () => store.destroy(sessions[1]?.token ?? "").catch(() => false));
  expect(await store.destroy(sessions[2]?.token ?? "")).toBe(true);
  expect(master.process.signalCode).not.toBeNull();
});
