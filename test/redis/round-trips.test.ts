import { readFile } from "node:fs/promises";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { member, memberStore } from "../support/members.ts";
import { startServer } from "../support/redis-server.ts";
import { roundTrips } from "../support/round-trips.ts";

// A server of its own: others must not make it forget its scripts while commands are counted.
const server = await startServer();
const client = await createClient({ url: server.url }).connect();
const watcher = await createClient({ url: server.url }).connect();
afterAll(async () => {
  await client.close();
  watcher.destroy();
  await server.stop();
});

const address = /\baddr=(\S+)/.exec(String(await client.sendCommand(["CLIENT", "INFO"])))?.[1];
const lines: string[] = [];
let onLine: (line: string) => void = () => {};
await watcher.monitor((line) => {
  lines.push(line);
  onLine(line);
});

/** Sends a command that is unique and waits until MONITOR shows it. Returns its index in `lines`. */
async function mark(): Promise<number> {
  const text = crypto.randomUUID();
  const seen = new Promise<void>((resolve) => {
    onLine = (line) => {
      if (line.includes(text)) resolve();
    };
  });
  await client.ping(text);
  await seen;
  return lines.length - 1;
}

/** The commands that Redis received from the client, without those that scripts ran. */
async function commandsOf(act: () => Promise<unknown>): Promise<string[]> {
  return await ranBy(act, ` ${address}] `);
}

/** The commands that Redis ran. MONITOR shows those of a script after it, as sent by `lua`. */
async function ranBy(act: () => Promise<unknown>, by = ""): Promise<string[]> {
  const from = await mark();
  await act();
  const ran = lines.slice(from + 1, await mark()).filter((line) => line.includes(by));
  return ran.map((line) => /\] "([^"]+)"/.exec(line)?.[1]?.toUpperCase() ?? line);
}

const shape = { user: z.string(), views: z.int().default(0), flash: z.string().optional() };
const backend = redisBackend(client);
const store = createSessionStore({ schema: z.object(shape), backend });
const eager = createSessionStore({ schema: z.object(shape), backend, touchInterval: 0 });
const refined = createSessionStore({ schema: z.object(shape).refine(({ views }) => views < 100), backend });

const from = z.object(shape);
const versioned = createSessionStore({
  schema: from,
  backend,
  version: 2,
  migrations: { 1: { from, to: (data) => data } },
});

async function runAll(): Promise<string> {
  const { token } = await store.create({ user: "andrew", flash: "hello" });
  await store.get(token);
  await store.update(token, { user: "barbara" });
  await store.increment(token, "views");
  const other = await store.create({ user: "andrew" });
  await store.destroy(other.token);
  return token;
}

let token: string;
beforeAll(async () => {
  // The first uses of a connection check the permissions and load the scripts.
  for (let use = 0; use < 3; use++) token = await runAll();
});

describe("round trips on a server that has the scripts loaded", () => {
  const operations: Record<string, [trips: number, act: () => Promise<unknown>]> = {
    create: [1, () => store.create({ user: "andrew" })],
    "create with both timeouts": [
      1,
      () => store.create({ user: "andrew" }, { idleTimeout: 60, absoluteTimeout: 3600 }),
    ],
    "create with a token that is replaced": [
      3,
      async () => {
        const { token } = await store.create({ user: "andrew" });
        await store.create({ user: "barbara" }, { replaces: token });
      },
    ],
    "create with a function of the data that is replaced": [
      4,
      async () => {
        const { token } = await store.create({ user: "andrew" });
        await store.create((previous) => ({ user: `${previous?.user} again` }), { replaces: token });
      },
    ],
    get: [1, () => store.get(token)],
    peek: [1, () => store.peek(token)],
    "get with a due touch, for which it does not wait,": [2, () => eager.get(token)],
    "update with an object": [1, () => store.update(token, { user: "carol", flash: undefined })],
    "update with an empty patch": [1, () => store.update(token, {})],
    "update with a function": [2, () => store.update(token, ({ views }) => ({ views: views + 1 }))],
    "update with an object-level refinement": [2, () => refined.update(token, { user: "dave" })],
    increment: [1, () => store.increment(token, "views")],
    "increment with an object-level refinement": [2, () => refined.increment(token, "views")],
    take: [1, () => store.take(token, "flash")],
    setIdleTimeout: [1, () => store.setIdleTimeout(token, 900)],
    "consume of a session that does not exist": [1, () => store.consume("i".repeat(22) + token.slice(22))],
    destroy: [1, () => store.destroy(token)],
    "destroy of a session that does not exist": [1, () => store.destroy(token)],
    "get of a session that does not exist": [1, () => store.get(token)],
    "update of a session that does not exist": [1, () => store.update(token, { user: "eve" })],
    "update by function of a session that does not exist": [1, () => store.update(token, () => ({ user: "eve" }))],
  };
  test("a version above 1 costs a round trip more for increment, and for the first use of an earlier session", async () => {
    const { token: present } = await versioned.create({ user: "andrew" });
    const tripsOf = async (act: () => Promise<unknown>) => (await commandsOf(act)).length;
    expect(await tripsOf(() => versioned.get(present))).toBe(1);
    expect(await tripsOf(() => versioned.update(present, { user: "barbara" }))).toBe(1);
    expect(await tripsOf(() => versioned.take(present, "flash"))).toBe(1);
    expect(await tripsOf(() => versioned.increment(present, "views"))).toBe(2);
    const earlier = async () => (await store.create({ user: "andrew" })).token;
    const [read, patched] = [await earlier(), await earlier()];
    expect(await tripsOf(() => versioned.peek(read))).toBe(1);
    for (const trips of [2, 1]) expect(await tripsOf(() => versioned.get(read))).toBe(trips);
    for (const trips of [3, 1]) expect(await tripsOf(() => versioned.update(patched, { user: "b" }))).toBe(trips);
  });

  for (const [operation, [trips, act]] of Object.entries(operations)) {
    test(`${operation} takes ${trips} round trip(s)`, async () => {
      expect(await commandsOf(act)).toHaveLength(trips);
    });
  }

  test("get sends 2 commands when a touch is due, and 1 for the next call", async () => {
    const due = await store.create({ user: "andrew" });
    await client.hSet(`session:${due.session.id}`, "last_accessed_at", new Date(Date.now() - 18_001).toISOString());
    expect(await commandsOf(() => store.get(due.token))).toHaveLength(2);
    expect(await commandsOf(() => store.get(due.token))).toHaveLength(1);
  });

  test("rotate takes 1 round trip, or 2 if it changes more than the token", async () => {
    let { token: present } = await store.create({ user: "andrew" });
    const more = [{ authenticated: true as const }, { patch: { user: "barbara" } }, { idleTimeout: 60 }];
    for (const [expected, options] of [
      [1, {}] as const,
      [1, { grace: 5 }] as const,
      ...more.map((one) => [2, one] as const),
    ]) {
      const commands = await commandsOf(async () => {
        present = (await store.rotate(present, options))?.token as string;
      });
      expect(commands).toHaveLength(expected);
    }
  });

  test("consume takes 2 round trips", async () => {
    const { token: once } = await store.create({ user: "andrew" });
    expect(await commandsOf(() => store.consume(once))).toHaveLength(2);
  });

  test("a call with a malformed token sends no command", async () => {
    const good = `${"i".repeat(22)}.${"s".repeat(43)}`;
    for (const malformed of ["", "x", good.slice(1), `${good}x`, good.replace(".", "-"), ` ${good}`, `${good}\n`]) {
      const commands = await commandsOf(async () => {
        expect(await store.get(malformed)).toBeNull();
        expect(await store.peek(malformed)).toBeNull();
        expect(await store.update(malformed, { user: "eve" })).toBeNull();
        expect(await store.update(malformed, () => ({ user: "eve" }))).toBeNull();
        expect(await store.increment(malformed, "views")).toBeNull();
        expect(await store.take(malformed, "flash")).toBeNull();
        expect(await store.setIdleTimeout(malformed, 60)).toBeNull();
        expect(await store.rotate(malformed)).toBeNull();
        expect(await store.destroy(malformed)).toBe(false);
        expect(await store.consume(malformed)).toBeNull();
      });
      expect(commands).toEqual([]);
    }
  });
});

describe("the README's table of Redis commands", async () => {
  const readme = await readFile("README.md", "utf8");
  const table =
    readme
      .slice(readme.indexOf("## Cost"))
      .split("\n\n")
      .find((part) => part.startsWith("| operation")) ?? "";
  const rows = table.split("\n").slice(2);
  const operations: Record<string, (token: string) => Promise<unknown>> = {
    create: () => store.create({ user: "andrew" }),
    get: (token) => store.get(token),
    "get with a touch": (token) => eager.get(token),
    peek: (token) => store.peek(token),
    update: (token) => store.update(token, { user: "barbara" }),
    take: (token) => store.take(token, "flash"),
    rotate: (token) => store.rotate(token),
    setIdleTimeout: (token) => store.setIdleTimeout(token, 60),
    increment: (token) => store.increment(token, "views"),
    destroy: (token) => store.destroy(token),
    revoke: (token) => store.revoke(token.split(".")[0] as string),
    find: (token) => store.find(token.split(".")[0] as string),
    "a request without a session cookie": (token) => store.get(token.slice(1)),
  };

  test.for(Object.keys(operations))("the README lists the commands that Redis runs for %s", async (operation) => {
    const { token: fresh } = await store.create({ user: "andrew", flash: "hello" });
    const row = rows.find((line) =>
      line
        .split("|")[1]
        ?.replaceAll("`", "")
        .split(", ")
        .map((name) => name.trim())
        .includes(operation),
    );
    const [, , , commands = "nothing of the kind"] = row?.split("|").map((cell) => cell.trim()) ?? [];
    const ran = await ranBy(() => operations[operation]?.(fresh) ?? Promise.resolve());
    expect(ran).toEqual(commands === "" ? [] : commands.split(/[:;,] /));
  });
});

test("the first use of a script on a server takes one more round trip", async () => {
  await client.scriptFlush();
  const first = await commandsOf(() => store.create({ user: "andrew" }));
  const second = await commandsOf(() => store.create({ user: "andrew" }));
  expect([first.length, second.length]).toEqual([2, 1]);
  await client.scriptFlush();
  const flushed = await commandsOf(runAll);
  const warm = await commandsOf(runAll);
  expect(flushed.length - warm.length).toBe(4);
});

describe("round trips of a store with indexes", () => {
  const trips = roundTrips(client);
  const own = redisBackend(trips.client, { prefix: "indexed:" });
  const { store: indexed } = memberStore(own, Date.now);
  const { store: evicting } = memberStore(own, Date.now, { limits: { user: { max: 2, whenFull: "evict-oldest" } } });
  const { store: rejecting } = memberStore(own, Date.now, { limits: { user: { max: 2, whenFull: "reject" } } });
  const start = { userId: "andrew", tenant: "a", cart: [{ sku: "hat" }, { sku: "shoe" }] };
  let held: string;

  async function begin(data: object = start): Promise<string> {
    let begun = "";
    await trips.of(async () => {
      begun = (await indexed.create({ ...data, code: "123456" })).token;
    });
    return begun;
  }

  async function login(on: typeof indexed, count: number): Promise<string> {
    const userId = crypto.randomUUID();
    for (let created = 0; created < count; created++) await trips.of(() => on.create({ userId }));
    return userId;
  }

  // The server must have the scripts loaded before round trips are counted.
  beforeAll(async () => {
    held = await begin();
    await trips.of(() => indexed.increment(held, "views"));
    await trips.of(() => indexed.revokeAll({ user: "nobody" }));
    await trips.of(async () => indexed.destroy(await begin()));
    const userId = await login(evicting, 3);
    await trips.of(() => evicting.revokeAll({ user: userId }));
    held = await begin();
  });

  const operations: Record<string, [trips: number, act: () => Promise<unknown>]> = {
    "create without an index value": [1, () => indexed.create({})],
    create: [2, () => indexed.create(start)],
    get: [1, () => indexed.get(held)],
    peek: [1, () => indexed.peek(held)],
    "update of other fields": [1, () => indexed.update(held, { theme: "dark" })],
    "update with a function": [2, () => indexed.update(held, ({ views }) => ({ views: views + 1 }))],
    "update that does not change the index value": [2, () => indexed.update(held, { userId: "andrew" })],
    "update that changes an index value": [3, () => indexed.update(held, { userId: "barbara" })],
    "update that changes two index values": [3, () => indexed.update(held, { userId: "carol", tenant: "b" })],
    "update that removes an index value": [2, () => indexed.update(held, { tenant: null })],
    increment: [1, () => indexed.increment(held, "views")],
    "increment that changes an index value": [3, () => indexed.increment(held, "level")],
    take: [1, () => indexed.take(held, "flash")],
    "take of an indexed field": [2, () => indexed.take(held, "code")],
    setIdleTimeout: [1, () => indexed.setIdleTimeout(held, 900)],
    list: [2, () => indexed.list({ user: "andrew" })],
    "list of a value without sessions": [1, () => indexed.list({ user: "nobody" })],
    count: [2, () => indexed.count({ product: "hat" })],
    "updateAll of one page of sessions": [4, () => indexed.updateAll({ user: "andrew" }, { theme: "dark" })],
    find: [1, () => indexed.find(held.slice(0, 22))],
    "find of an unknown ID": [1, () => indexed.find("x".repeat(22))],
    "revoke of a session with another index value": [
      1,
      () => indexed.revoke(held.slice(0, 22), { of: { user: "eve" } }),
    ],
    "revoke of an unknown ID with an index value": [
      1,
      () => indexed.revoke("x".repeat(22), { of: { user: "andrew" } }),
    ],
    "revoke of an unknown ID": [1, () => indexed.revoke("x".repeat(22))],
    "revoke of a malformed ID": [0, () => indexed.revoke("x")],
    "revokeAll of one page of sessions": [3, () => indexed.revokeAll({ user: "andrew" })],
    destroy: [1, () => indexed.destroy(held)],
  };
  for (const [operation, [expected, act]] of Object.entries(operations)) {
    test(`${operation} takes ${expected} round trip(s)`, async () => {
      expect(await trips.of(act)).toBe(expected);
    });
  }

  test("rotate takes 1 round trip, 2 if it changes more than the token, or 3 if its patch changes an index value", async () => {
    let present = await begin();
    const rotate = async (options: Parameters<typeof indexed.rotate>[1]): Promise<void> => {
      present = (await indexed.rotate(present, options))?.token as string;
    };
    expect(await trips.of(() => rotate({}))).toBe(1);
    expect(await trips.of(() => rotate({ patch: { theme: "dark" } }))).toBe(2);
    expect(await trips.of(() => rotate({ patch: { userId: "dave" }, authenticated: true }))).toBe(3);
  });

  test("revoke takes 1 round trip, or 2 with an index value", async () => {
    const [one, other] = [await begin(), await begin()].map((token) => token.slice(0, 22)) as [string, string];
    expect(await trips.of(() => indexed.revoke(one))).toBe(1);
    expect(await trips.of(() => indexed.revoke(other, { of: { user: "andrew" } }))).toBe(2);
  });

  test("create takes 3 round trips with an evict-oldest limit, whether or not the limit is reached", async () => {
    const userId = await login(evicting, 1);
    expect(await trips.of(() => evicting.create({ userId }))).toBe(3);
    expect(await trips.of(() => evicting.create({ userId }))).toBe(3);
    expect(await trips.of(() => evicting.create({ userId }))).toBe(3);
  });

  test("create takes 3 round trips with a reject limit, whether or not the limit is reached", async () => {
    const userId = await login(rejecting, 1);
    expect(await trips.of(() => rejecting.create({ userId }))).toBe(3);
    const refused = () => expect(rejecting.create({ userId })).rejects.toMatchObject({ reason: "limit" });
    expect(await trips.of(refused)).toBe(3);
    const ended = await begin({ userId: crypto.randomUUID() });
    await trips.of(() => indexed.destroy(ended));
  });

  test("get waits for 1 round trip, for 2 if its touch is late, and for 4 if its indexes must live longer as well", async () => {
    const later = (seconds: number) => Date.now() + seconds * 1000;
    for (const [expected, age, cover] of [
      [1, 100, 2700],
      [1, 100, 1700],
      [2, 1000, 2700],
      [4, 1000, 1700],
      [4, 1000, 600],
      [1, 100, 2700],
    ] as const) {
      const token = await begin();
      await client.hSet(`indexed:${token.slice(0, 22)}`, {
        last_accessed_at: new Date(later(-age)).toISOString(),
        session_deadline: String(later(cover)),
      });
      expect(await trips.of(() => indexed.get(token)), `${age} ${cover}`).toBe(expected);
      expect(await trips.of(() => indexed.get(token)), `${age} ${cover}, again`).toBe(1);
    }
  });

  test("list takes 2 round trips, and count 2 for each 500 sessions, even if some sessions have expired", async () => {
    const userId = crypto.randomUUID();
    const { store: plain } = memberStore(redisBackend(client, { prefix: "indexed:" }), Date.now);
    const all = await Promise.all(Array.from({ length: 1001 }, () => plain.create({ userId })));
    const key = `indexed:index:user:${userId}`;
    const dead = all.slice(0, 5).map(({ session }) => session.id);
    for (const [at, id] of dead.entries()) await client.zAdd(key, { value: id, score: at + 1 });
    await client.del(dead.map((id) => `indexed:${id}`));
    expect(await trips.of(() => indexed.list({ user: userId }, { limit: 1000 }))).toBe(2);
    expect(await client.zCard(key)).toBe(996);
    expect(await trips.of(() => indexed.count({ user: userId }))).toBe(4);
    expect(await trips.of(() => indexed.list({ user: userId }, { limit: 3 }))).toBe(2);
  });

  test("reindex takes at most 3 round trips for each 100 sessions, and revokeAll with scan 2, and 1 for each 1000 keys", async () => {
    await client.flushAll();
    const walked = redisBackend(trips.client, { prefix: "walked:" });
    const { store: whole } = memberStore(walked, Date.now);
    const bare = createSessionStore({ schema: member, backend: walked });
    await trips.of(() => Promise.all(Array.from({ length: 150 }, () => bare.create({ userId: "andrew" }))));
    expect(await trips.of(() => whole.reindex())).toBe(1 + 2 * 3);
    await trips.of(() => whole.reindex()); // Loads the script.
    expect(await trips.of(() => whole.reindex())).toBe(1 + 2 * 2);
    await trips.of(() => Promise.all(Array.from({ length: 50 }, () => bare.create({ userId: "barbara" }))));
    expect(await trips.of(() => whole.revokeAll({ user: "carol" }, { scan: true }))).toBe(1 + 1 + 2);
    expect(await trips.of(() => whole.revokeAll({ user: "barbara" }, { scan: true }))).toBeLessThanOrEqual(
      1 + 1 + 2 * 2,
    );
  });

  test("create and destroy send one further command for each index value of the session", async () => {
    let ended = "";
    await trips.of(async () => {
      ended = (await indexed.create(start)).token;
    });
    const destroyed = await commandsOf(() => trips.of(() => indexed.destroy(ended)));
    const values = ["andrew", "a", "hat", "shoe"].length;
    expect(destroyed).toHaveLength(1 + values);
    const created = await commandsOf(() => trips.of(() => indexed.create(start)));
    expect(created).toHaveLength(values + 1);
  });
});
