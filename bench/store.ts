import { createSessionStore, memoryBackend } from "../src/index.ts";
import { createCodec } from "../src/schema/codec.ts";
import { planSchema } from "../src/schema/fields.ts";
import { visitor, visitorOf } from "./data.ts";
import {
  connectRedisStore,
  guide,
  type Mode,
  type Operation,
  type Peer,
  PREFIX,
  raw,
  type Size,
  zession,
} from "./peers.ts";
import { openDistant, openRedis, type Redis } from "./redis.ts";
import {
  alternate,
  type Contender,
  isWanted,
  middle,
  options,
  POOL,
  printTable,
  ratio,
  type Turn,
  thousands,
  times,
  verdict,
} from "./runner.ts";

/** A case of the table: the operation of zession, and the equivalent of the others. */
interface Case {
  readonly name: string;
  readonly operation: Operation;
  readonly size: Size;
  readonly mode?: Mode;
  readonly isIndexed?: boolean;
  /** The equivalent operation of the others, if it differs: only zession has a `peek`. */
  readonly theirs?: Operation;
  readonly where?: "1 ms away";
  /** The most that an operation may cost, as a share of what it costs in version 0.1.0. */
  readonly target?: { readonly of: "cpu" | "redis"; readonly most: number };
}

const CONCURRENCY = [1, 64, 512];
/**
 * The concurrency while sessions are created and destroyed between turns. With more, the engine takes the objects of
 * running calls for long-lived ones and allocates them where it collects garbage late. That slows all contenders down
 * by a fifth.
 */
const AT_ONCE = 16;
/** The concurrencies for the cases with a network delay. */
const FEWER = [1, 64];

const CASES: readonly Case[] = [
  { name: "get", operation: "get", size: "small" },
  { name: "get, every read due", operation: "get", size: "small", mode: "due", target: { of: "redis", most: 1 } },
  { name: "get with an index", operation: "get", size: "small", isIndexed: true },
  {
    name: "get with an index, every read due",
    operation: "get",
    size: "small",
    mode: "due",
    isIndexed: true,
    target: { of: "redis", most: 1.05 },
  },
  { name: "peek", operation: "peek", theirs: "get", size: "small" },
  { name: "get, clientSideCache", operation: "get", size: "small", mode: "near" },
  { name: "create", operation: "create", size: "small", target: { of: "cpu", most: 0.75 } },
  { name: "patch", operation: "patch", size: "small" },
  { name: "patch, 2 KB", operation: "patch", size: "2 KB" },
  { name: "increment", operation: "increment", size: "small" },
  { name: "increment, 2 KB", operation: "increment", size: "2 KB" },
  { name: "rotate", operation: "rotate", size: "small" },
  { name: "destroy", operation: "destroy", size: "small" },
  { name: "get", operation: "get", size: "small", where: "1 ms away" },
  { name: "get, clientSideCache", operation: "get", size: "small", mode: "near", where: "1 ms away" },
  { name: "patch, 2 KB", operation: "patch", size: "2 KB", where: "1 ms away" },
];

const PEERS = ["zession 0.1.0", "raw", "raw, near", "guide", "connect-redis", "connect-redis, get first"];

async function measureRedis(): Promise<void> {
  const redis = await openRedis();
  const distant = await openDistant(redis.url);
  const rows: string[][] = [];
  for (const one of CASES) {
    if (!isWanted("redis", one.name, one.where ?? "")) continue;
    const peers = await peersOf(one, one.where ? distant.url : redis.url);
    for (const concurrency of one.where ? FEWER : CONCURRENCY) {
      rows.push(await measureCase(one, peers, concurrency, redis));
    }
    for (const peer of peers) await peer.close();
    await redis.clear(PREFIX);
  }
  if (rows.length > 0) {
    const head = [
      "operation",
      "at once",
      "zession /s",
      "process us",
      "Redis us",
      ...PEERS.map((name) => `x ${name}`),
      "target",
    ];
    printTable(`On Redis ${redis.version}`, head, rows);
  }
  distant.close();
  await redis.close();
}

async function peersOf({ mode = "default", isIndexed = false, operation, size }: Case, url: string): Promise<Peer[]> {
  const makers = [
    zession("now", url, size, mode, isIndexed),
    zession("0.1.0", url, size, mode, isIndexed),
    raw(url, size),
    ...(mode === "near" ? [raw(url, size, "raw, near")] : []),
    guide(url, size),
    connectRedisStore(url, size),
    ...(operation === "patch" || operation === "increment" ? [connectRedisStore(url, size, true)] : []),
  ];
  return await Promise.all(makers);
}

async function measureCase(one: Case, peers: readonly Peer[], concurrency: number, redis: Redis): Promise<string[]> {
  const { name, operation, theirs = operation, where, target } = one;
  const contenders: Contender[] = [];
  for (const peer of peers) {
    const contender = await contenderOf(peer, peer.name.startsWith("zession") ? operation : theirs);
    if (contender !== null) contenders.push(contender);
  }
  const turns = await alternate(contenders, concurrency, redis.admin);
  const ours = contenders[0]?.name ?? "";
  const over = (peer: string, of: keyof Turn): number => ratio(turns, ours, peer, (turn) => turn[of]);
  const compare = (peer: string): string =>
    `${times(over(peer, "rate"))} (${times(over(peer, "cpu"))}, ${times(over(peer, "redis"))})`;
  return [
    where ? `${name}, ${where}` : name,
    String(concurrency),
    thousands(middle(turns, ours, ({ rate }) => rate)),
    middle(turns, ours, ({ cpu }) => cpu).toFixed(1),
    middle(turns, ours, ({ redis }) => redis).toFixed(1),
    ...PEERS.map((peer) => (turns.has(peer) ? compare(peer) : "")),
    target === undefined
      ? ""
      : `${target.of === "cpu" ? "process" : "Redis"} ${verdict(over("zession 0.1.0", target.of), target.most, "<=")}`,
  ];
}

/** Prepares a contender for an operation. Returns `null` if it does not support the operation. */
async function contenderOf(peer: Peer, operation: Operation): Promise<Contender | null> {
  const { name } = peer;
  const limit = Math.max(POOL, options.ms * 20);
  const handles: string[] = [];
  const make = async (count: number): Promise<void> => {
    while (handles.length < count) {
      const batch = Array.from({ length: Math.min(AT_ONCE, count - handles.length) }, (_, at) => peer.create(at));
      handles.push(...(await Promise.all(batch)));
    }
  };
  const drop = async (): Promise<void> => {
    while (handles.length > 0) await Promise.all(handles.splice(-AT_ONCE).map((handle) => peer.destroy(handle)));
  };
  if (operation === "create") {
    return { name, limit, after: drop, run: async (slot) => handles.push(await peer.create(slot)) };
  }
  if (operation === "destroy") {
    return { name, limit, before: () => make(limit), after: drop, run: () => peer.destroy(handles.pop() as string) };
  }
  if (peer[operation] === undefined) return null;
  await make(POOL);
  if (operation === "rotate") {
    return {
      name,
      async run(slot) {
        handles[slot] = (await peer.rotate?.(handles[slot] as string)) as string;
      },
    };
  }
  // Uses each session once: this fills the cache and shows that the contender finds its own sessions.
  for (const handle of handles) {
    const found = await peer[operation]?.(handle);
    if ((operation === "get" || operation === "peek") && !found) {
      throw new Error(`${name} does not find its own sessions`);
    }
  }
  return { name, run: (slot) => peer[operation]?.(handles[slot] as string) };
}

/** Compares the memory backend with decoding alone, and with a `Map` and `JSON.parse`. */
async function measureMemory(): Promise<void> {
  if (!isWanted("memory backend")) return;
  const tokens: string[] = [];
  const store = createSessionStore({ schema: visitor, backend: memoryBackend() });
  const map = new Map<string, string>();
  const records: Record<string, string>[] = [];
  const codec = createCodec(planSchema(visitor));
  for (let at = 0; at < POOL; at++) {
    const { token } = await store.create(visitorOf(at));
    tokens.push(token);
    map.set(token, JSON.stringify(visitorOf(at)));
    records.push(codec.encode(visitorOf(at)).set);
  }
  const token = (slot: number) => tokens[slot] as string;
  const turns = await alternate(
    [
      { name: "get", run: (slot) => store.get(token(slot)) },
      { name: "peek", run: (slot) => store.peek(token(slot)) },
      { name: "decoding alone", run: (slot) => codec.decode(records[slot] as Record<string, string>) },
      { name: "Map and JSON.parse", run: (slot) => JSON.parse(map.get(token(slot)) as string) },
    ],
    1,
  );
  const rate = (turn: Turn): number => turn.rate;
  const rows = ["get", "peek"].map((name) => [
    name,
    thousands(middle(turns, name, rate)),
    times(ratio(turns, name, "decoding alone", rate)),
    times(ratio(turns, name, "Map and JSON.parse", rate)),
  ]);
  printTable("In memory", ["operation", "/s", "x decoding alone", "x Map and JSON.parse"], rows);
}

await measureMemory();
await measureRedis();
