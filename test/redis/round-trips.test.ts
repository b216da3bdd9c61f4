import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { startServer } from "../support/redis-server.ts";

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

/** Sends a command that can be told from others, and waits until it is seen. Gives its place among the lines. */
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

/** The commands that Redis got from the client, without those that scripts ran: these show as from `lua`. */
async function commandsOf(act: () => Promise<unknown>): Promise<string[]> {
  const from = await mark();
  await act();
  const own = lines.slice(from + 1, await mark()).filter((line) => line.includes(` ${address}] `));
  return own.map((line) => /\] "([^"]+)"/.exec(line)?.[1]?.toUpperCase() ?? line);
}

const shape = { user: z.string(), views: z.int().default(0), flash: z.string().optional() };
const backend = redisBackend(client);
const store = createSessionStore({ schema: z.object(shape), backend });
let ahead = 0;
const lazy = createSessionStore({
  schema: z.object(shape),
  backend,
  touchInterval: 60,
  now: () => Date.now() + ahead,
});
const refined = createSessionStore({ schema: z.object(shape).refine(({ views }) => views < 100), backend });

async function useAll(): Promise<string> {
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
  token = await useAll();
});

describe("round trips on a server that knows the scripts", () => {
  const operations: Record<string, [trips: number, act: () => Promise<unknown>]> = {
    create: [1, () => store.create({ user: "andrew" })],
    "create with both timeouts": [
      1,
      () => store.create({ user: "andrew" }, { idleTimeout: 60, absoluteTimeout: 3600 }),
    ],
    get: [1, () => store.get(token)],
    peek: [1, () => store.peek(token)],
    "get within the touch interval": [1, () => lazy.get(token)],
    "peek with a touch interval": [1, () => lazy.peek(token)],
    "update with an object": [1, () => store.update(token, { user: "carol", flash: undefined })],
    "update with nothing": [1, () => store.update(token, {})],
    "update with a function": [2, () => store.update(token, ({ views }) => ({ views: views + 1 }))],
    "update with an object-level refinement": [2, () => refined.update(token, { user: "dave" })],
    increment: [1, () => store.increment(token, "views")],
    "increment with an object-level refinement": [2, () => refined.increment(token, "views")],
    take: [1, () => store.take(token, "flash")],
    setIdleTimeout: [1, () => store.setIdleTimeout(token, 900)],
    destroy: [1, () => store.destroy(token)],
    "destroy of nothing": [1, () => store.destroy(token)],
    "get of nothing": [1, () => store.get(token)],
    "get of nothing with a touch interval": [1, () => lazy.get(token)],
    "update of nothing": [1, () => store.update(token, { user: "eve" })],
    "update of nothing with a function": [1, () => store.update(token, () => ({ user: "eve" }))],
  };
  for (const [operation, [trips, act]] of Object.entries(operations)) {
    test(`${operation}: ${trips}`, async () => {
      expect(await commandsOf(act)).toHaveLength(trips);
    });
  }

  test("get when a touch is due under the touch interval: 2, and then 1 again", async () => {
    const due = await lazy.create({ user: "andrew" });
    ahead = 61_000;
    expect(await commandsOf(() => lazy.get(due.token))).toHaveLength(2);
    expect(await commandsOf(() => lazy.get(due.token))).toHaveLength(1);
    ahead = 0;
  });

  test("rotate, with or without a patch: 1", async () => {
    let { token: present } = await store.create({ user: "andrew" });
    for (const options of [{}, { authenticated: true }, { patch: { user: "barbara" }, idleTimeout: 60, grace: 5 }]) {
      const commands = await commandsOf(async () => {
        present = (await store.rotate(present, options))?.token as string;
      });
      expect(commands).toHaveLength(1);
    }
  });

  test("anything with a malformed token: 0", async () => {
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
      });
      expect(commands).toEqual([]);
    }
  });
});

test("the first use of a script on a server costs one more", async () => {
  await client.scriptFlush();
  const first = await commandsOf(() => store.create({ user: "andrew" }));
  const second = await commandsOf(() => store.create({ user: "andrew" }));
  expect([first.length, second.length]).toEqual([2, 1]);
  await client.scriptFlush();
  const flushed = await commandsOf(useAll);
  const warm = await commandsOf(useAll);
  expect(flushed.length - warm.length).toBe(5);
});
