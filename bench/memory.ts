import { execFileSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { createClient } from "redis";
import { createSessionStore, memoryBackend, type SessionBackend } from "../src/index.ts";
import { redisBackend } from "../src/redis/index.ts";
import { createCodec } from "../src/schema/codec.ts";
import { planSchema } from "../src/schema/fields.ts";
import { startServer } from "../test/support/redis-server.ts";
import { importVersion, VERSIONS } from "./baseline.ts";
import { EXPRESS_COOKIE, visitor, visitorOf } from "./data.ts";
import {
  alternate,
  isWanted,
  middle,
  options,
  printTable,
  quantile,
  ratio,
  type Turn,
  thousands,
  times,
  verdict,
} from "./runner.ts";

const SESSIONS = options.sessions;
const IDLE_SECONDS = 1800;
const START = Date.UTC(2026, 3, 2, 12, 34, 56);
const CLOCK_MS = 1_000_000;
const BATCH = 1000;
const VISITORS = 1000;

/** The parts that run in a child process, to have a heap of their own. Each prints one line of JSON. */
const PARTS: Readonly<Record<string, () => Promise<unknown>>> = {
  map: () => fill(async (map, key, record) => void map.set(key, { ...record })),
  json: () => fill(async (map, key, record) => void map.set(key, JSON.stringify(record))),
  backend: async () => {
    const backend = memoryBackend({ capacity: 2 * SESSIONS });
    const bytes = await fill(async (_, key, record) => void (await backend.insert(key, record, {}, START)));
    return { bytes, ...(await sweep(backend)) };
  },
};

interface Kept {
  readonly bytes: number;
  /** Quantiles of the duration of an insert, in milliseconds, while expired sessions are removed. */
  readonly sweeping: readonly number[];
  /** The same while there are no expired sessions. */
  readonly calm: readonly number[];
  /** The change of the heap through the removal of all sessions, in bytes per session (negative). */
  readonly left: number;
}

/** Returns a function that creates records. Two records share no strings in memory, as if they came over a network. */
function recordsOf(): (number: number) => readonly [string, Record<string, string>] {
  const codec = createCodec(planSchema(visitor));
  return (number) => {
    const record = {
      ...codec.encode(visitorOf(number)).set,
      created_at: new Date(START + (number % CLOCK_MS)).toISOString(),
      last_accessed_at: new Date(START + (number % CLOCK_MS)).toISOString(),
      session_ttl: String(IDLE_SECONDS),
      session_verifier: `47DEQpj8HBSa-_TImW-5JCeuQeRkm5NM${number.toString(36).padStart(11, "0")}`,
    };
    return [`session-${number.toString(36).padStart(14, "0")}`, JSON.parse(JSON.stringify(record))];
  };
}

function heap(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
}

/** Adds all sessions and returns the bytes of heap per session. */
async function fill(
  add: (map: Map<string, unknown>, key: string, record: Record<string, string>) => Promise<void>,
): Promise<number> {
  const map = new Map<string, unknown>();
  const recordOf = recordsOf();
  await add(map, ...recordOf(SESSIONS));
  const before = heap();
  for (let number = 0; number < SESSIONS; number++) await add(map, ...recordOf(number));
  const bytes = (heap() - before) / SESSIONS;
  // Uses the map, so that the engine cannot collect it before this line.
  return map.size < 0 ? 0 : bytes;
}

async function sweep(backend: SessionBackend): Promise<Omit<Kept, "bytes">> {
  const recordOf = recordsOf();
  const after = START + (IDLE_SECONDS + 1) * 1000 + CLOCK_MS;
  const inserts = Math.ceil(SESSIONS / 4) + 1000;
  const full = heap();
  const timed = async (first: number, count: number, now: number): Promise<number[]> => {
    const spent: number[] = [];
    for (let number = first; number < first + count; number++) {
      const [key, record] = recordOf(number);
      const start = performance.now();
      await backend.insert(key, record, {}, now);
      spent.push(performance.now() - start);
    }
    return [0.5, 0.99, 0.999, 1].map((share) => quantile(spent, share));
  };
  const sweeping = await timed(SESSIONS + 1, inserts, after);
  const between = heap();
  const calm = await timed(SESSIONS + 1 + inserts, inserts, after);
  // Subtracts what the first batch of inserts added. The second batch has the same size and shows how much that is.
  const added = heap() - between;
  return { sweeping, calm, left: (between - added - full) / SESSIONS };
}

/** Runs one of PARTS in its own process. */
function partOf<R>(name: string): R {
  const script = fileURLToPath(import.meta.url);
  const flags = ["--expose-gc", "--max-old-space-size=12000", script, name, "--sessions", String(SESSIONS)];
  return JSON.parse(execFileSync(process.execPath, flags, { encoding: "utf8" })) as R;
}

async function compareHeaps(): Promise<void> {
  const map = partOf<number>("map");
  const json = partOf<number>("json");
  const { bytes, sweeping, calm, left } = partOf<Kept>("backend");
  const title = `${SESSIONS} sessions in memory`;
  printTable(
    title,
    ["", "bytes of heap each", "x Map", "target"],
    [
      ["memoryBackend", bytes.toFixed(0), times(bytes / map), verdict(bytes / map, 1.25, "<=")],
      ["the same after all have expired and were removed", (bytes + left).toFixed(0), times((bytes + left) / map), ""],
      ["Map of objects of the same strings", map.toFixed(0), "1.00", ""],
      ["Map of JSON", json.toFixed(0), times(json / map), ""],
    ],
    "each in its own process",
  );
  const micros = (spent: readonly number[]): string[] => spent.map((value) => (value * 1000).toFixed(1));
  printTable(
    "Duration of an insert in microseconds",
    ["", "p50", "p99", "p99.9", "max"],
    [
      [`while ${SESSIONS} expired sessions are removed`, ...micros(sweeping)],
      ["while there are no expired sessions", ...micros(calm)],
    ],
    "each insert measured separately",
  );
}

async function compareRedis(): Promise<void> {
  const server = await startServer();
  const client = await createClient({ url: server.url }).connect();
  const store = createSessionStore({ schema: visitor, backend: redisBackend(client) });
  const rows: string[][] = [];
  let json = 0;
  const row = async (name: string, key: string, target?: number): Promise<void> => {
    const bytes = Number(await client.memoryUsage(key, { SAMPLES: 0 }));
    json ||= bytes;
    const claim = target === undefined ? "" : verdict(bytes / json, target, "<=");
    rows.push([name, String(await client.objectEncoding(key)), String(bytes), times(bytes / json), claim]);
  };
  const expiration = { type: "EX" as const, value: IDLE_SECONDS };
  const express = JSON.stringify({ cookie: EXPRESS_COOKIE, ...visitorOf(0) });
  // The default prefix of connect-redis, and the length of a session ID of express-session.
  const expressKey = `sess:${"x".repeat(32)}`;
  await client.set(expressKey, express, { expiration });
  await row("connect-redis, JSON", expressKey);
  const created = await store.create(visitorOf(0));
  await row("zession", `session:${created.session.id}`, 1.12);
  await store.rotate(created.token);
  await row("zession, rotated once", `session:${created.session.id}`);
  for (const length of [64, 65]) {
    const { session } = await store.create({ ...visitorOf(0), csrf: "x".repeat(length) });
    await row(`zession, a value of ${length} bytes`, `session:${session.id}`);
  }
  const limits = await client.configGet("hash-max-listpack-*");
  await client.configSet("hash-max-listpack-value", "512");
  const long = await store.create({ ...visitorOf(0), csrf: "x".repeat(65) });
  await row("the same, hash-max-listpack-value 512", `session:${long.session.id}`);
  printTable(
    `A session in Redis (${Object.entries(limits).flat().join(" ")})`,
    ["", "encoding", "bytes", "x JSON", "target"],
    rows,
    "MEMORY USAGE",
  );
  client.destroy();
  await server.stop();
}

/**
 * Counts the index keys that live longer than two idle timeouts after visitors who came once. Each visitor has an index
 * value of its own.
 */
async function countIndexKeys(): Promise<void> {
  const server = await startServer();
  const client = await createClient({ url: server.url }).connect();
  const rows: string[][] = [];
  for (const version of VERSIONS) {
    const { createSessionStore, redisBackend } = await importVersion(version);
    const backend = redisBackend(client, { prefix: `${version}:` });
    const store = createSessionStore({ schema: visitor, backend, indexes: { user: "userId" } });
    for (let number = 0; number < VISITORS; number++) await store.create(visitorOf(number));
    const keys = await client.keys(`${version}:index:*`);
    const lives = await Promise.all(keys.map((key) => client.pTTL(key)));
    const alive = lives.filter((ms) => ms < 0 || ms > 2 * IDLE_SECONDS * 1000).length;
    const longest = Math.max(...lives) / (IDLE_SECONDS * 1000);
    const claim = version === "now" ? verdict(alive, 0, "<=") : "";
    rows.push([`zession ${version}`, String(keys.length), longest.toFixed(2), String(alive), claim]);
  }
  printTable(
    `Index keys after ${VISITORS} visitors with a session each`,
    ["", "index keys", "longest life in idle timeouts", "alive after two idle timeouts", "target"],
    rows,
    "read from PTTL",
  );
  client.destroy();
  await server.stop();
}

/** Compares `get` on two servers, one with a thousand sessions and one with a million. */
async function compareSizes(): Promise<void> {
  const counts = [1000, SESSIONS];
  const contenders = await Promise.all(
    counts.map(async (count) => {
      const server = await startServer();
      const client = await createClient({ url: server.url }).connect();
      const store = createSessionStore({ schema: visitor, backend: redisBackend(client) });
      const tokens: string[] = [];
      while (tokens.length < count) {
        const batch = Array.from({ length: Math.min(BATCH, count - tokens.length) }, (_, at) =>
          store.create(visitorOf(at)),
        );
        for (const { token } of await Promise.all(batch)) tokens.push(token);
      }
      const close = async (): Promise<void> => {
        client.destroy();
        await server.stop();
      };
      const run = () => store.get(tokens[Math.floor(Math.random() * count)] as string);
      return { name: `${count} sessions`, run, close };
    }),
  );
  const rows: string[][] = [];
  for (const concurrency of [1, 64]) {
    const turns = await alternate(contenders, concurrency);
    const rate = (turn: Turn): number => turn.rate;
    const [few = "", many = ""] = contenders.map(({ name }) => name);
    const share = ratio(turns, many, few, rate);
    const speeds = [few, many].map((name) => thousands(middle(turns, name, rate)));
    rows.push([String(concurrency), ...speeds, times(share), verdict(share, 0.9)]);
  }
  printTable(
    "A get, by the number of stored sessions",
    ["at once", ...contenders.map(({ name }) => name), "ratio", "target"],
    rows,
  );
  for (const { close } of contenders) await close();
}

const part = PARTS[options.wanted[0] ?? ""];
if (part !== undefined) {
  console.log(JSON.stringify(await part()));
} else {
  if (isWanted("heap")) await compareHeaps();
  if (isWanted("redis bytes")) await compareRedis();
  if (isWanted("index keys")) await countIndexKeys();
  if (isWanted("redis sizes")) await compareSizes();
}
