import { createSessionStore, memoryBackend } from "../src/index.ts";
import { createCodec } from "../src/schema/codec.ts";
import { planSchema } from "../src/schema/fields.ts";
import { visitor, visitorOf } from "./data.ts";
import {
  connectRedisStore,
  guide,
  type Operation,
  type Peer,
  PREFIX,
  raw,
  type Size,
  unstorage,
  zession,
} from "./peers.ts";
import { openDistant, openRedis, type Redis, serverCosts } from "./redis.ts";
import {
  alternate,
  type Contender,
  isWanted,
  median,
  options,
  POOL,
  printTable,
  ratio,
  thousands,
  times,
  verdict,
} from "./runner.ts";

/** A case of the table: the operation of zession, the equivalent of the others, and the targets. */
interface Case {
  readonly name: string;
  readonly operation: Operation;
  readonly size: Size;
  readonly mode?: "interval" | "near";
  /** The equivalent operation of the others, if it differs: they have no read within a touch interval. */
  readonly theirs?: Operation;
  readonly where?: "1 ms away";
  /** The lowest ratio to the rate of another contender, by concurrency and name. */
  readonly targets?: Readonly<Record<number, Readonly<Record<string, number>>>>;
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
const seldom = { 64: { raw: 0.9, "connect-redis": 1.3 } };
const whole = { 1: { "connect-redis": 1.5 }, 64: { "connect-redis": 1.5 }, 512: { "connect-redis": 1.5 } };
const nearby = { 1: { raw: 1.5 }, 64: { raw: 1.5 }, 512: { raw: 1.5 } };

const CASES: readonly Case[] = [
  {
    name: "get, touching",
    operation: "get",
    size: "small",
    targets: {
      1: { raw: 0.9, "connect-redis": 1.6 },
      64: { raw: 0.65, guide: 1.5, "connect-redis": 0.95 },
      512: { raw: 0.95, "connect-redis": 1.1 },
    },
  },
  { name: "get within touchInterval", operation: "get", size: "small", mode: "interval", targets: seldom },
  { name: "peek", operation: "peek", theirs: "get", size: "small", targets: seldom },
  { name: "peek, others too", operation: "peek", size: "small" },
  { name: "get, clientSideCache", operation: "get", size: "small", mode: "near", targets: nearby },
  { name: "create", operation: "create", size: "small" },
  { name: "patch", operation: "patch", size: "small" },
  { name: "patch, 2 KB", operation: "patch", size: "2 KB", targets: whole },
  { name: "increment", operation: "increment", size: "small" },
  { name: "increment, 2 KB", operation: "increment", size: "2 KB", targets: whole },
  { name: "rotate", operation: "rotate", size: "small" },
  { name: "destroy", operation: "destroy", size: "small" },
  { name: "get, touching", operation: "get", size: "small", where: "1 ms away" },
  { name: "get within touchInterval", operation: "get", size: "small", mode: "interval", where: "1 ms away" },
  {
    name: "get, clientSideCache",
    operation: "get",
    size: "small",
    mode: "near",
    where: "1 ms away",
    targets: { 1: { raw: 20 } },
  },
  { name: "patch, 2 KB", operation: "patch", size: "2 KB", where: "1 ms away" },
];

const PEERS = ["raw", "raw, untimed", "raw, near", "guide", "connect-redis", "connect-redis, get first", "unstorage"];

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
      "server us",
      ...PEERS.map((name) => `x ${name} (us)`),
      "target",
    ];
    printTable(`On Redis ${redis.version}`, head, rows);
  }
  distant.close();
  await redis.close();
}

async function peersOf({ mode, operation, size }: Case, url: string): Promise<Peer[]> {
  const makers = [
    zession(url, size, mode),
    raw(url, size),
    raw(url, size, "raw, untimed"),
    ...(mode === "near" ? [raw(url, size, "raw, near")] : []),
    guide(url, size),
    connectRedisStore(url, size),
    ...(operation === "patch" || operation === "increment" ? [connectRedisStore(url, size, true)] : []),
    unstorage(url, size),
  ];
  return await Promise.all(makers);
}

async function measureCase(one: Case, peers: readonly Peer[], concurrency: number, redis: Redis): Promise<string[]> {
  const { name, operation, theirs = operation, where, targets } = one;
  const contenders: Contender[] = [];
  for (const [place, peer] of peers.entries()) {
    const contender = await contenderOf(peer, place === 0 ? operation : theirs);
    if (contender !== null) contenders.push(contender);
  }
  const costs = serverCosts(redis.admin);
  const rates = await alternate(contenders, concurrency, costs.watch);
  const ours = contenders[0]?.name ?? "";
  const claims = Object.entries(targets?.[concurrency] ?? {}).map(
    ([peer, target]) => `${peer} ${verdict(ratio(rates, ours, peer), target)}`,
  );
  return [
    where ? `${name}, ${where}` : name,
    String(concurrency),
    thousands(median(rates.get(ours) ?? [])),
    costs.of(ours).commandMicros.toFixed(1),
    ...PEERS.map((peer) =>
      rates.has(peer) ? `${times(ratio(rates, ours, peer))} (${costs.of(peer).commandMicros.toFixed(1)})` : "",
    ),
    claims.join("; "),
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
  const backend = memoryBackend();
  const store = createSessionStore({ schema: visitor, backend });
  const throttled = createSessionStore({ schema: visitor, backend, touchInterval: "10m" });
  const map = new Map<string, string>();
  const records: Record<string, string>[] = [];
  const codec = createCodec(planSchema(visitor));
  for (let at = 0; at < POOL; at++) {
    const { token } = await store.create(visitorOf(at));
    tokens.push(token);
    map.set(token, JSON.stringify(visitorOf(at)));
    records.push(codec.encode(visitorOf(at)));
  }
  const token = (slot: number) => tokens[slot] as string;
  const rates = await alternate(
    [
      { name: "get", run: (slot) => store.get(token(slot)) },
      { name: "get within touchInterval", run: (slot) => throttled.get(token(slot)) },
      { name: "peek", run: (slot) => store.peek(token(slot)) },
      { name: "decoding alone", run: (slot) => codec.decode(records[slot] as Record<string, string>) },
      { name: "Map and JSON.parse", run: (slot) => JSON.parse(map.get(token(slot)) as string) },
    ],
    1,
  );
  const rows = ["get", "get within touchInterval", "peek"].map((name) => {
    const decoding = ratio(rates, name, "decoding alone");
    return [
      name,
      thousands(median(rates.get(name) ?? [])),
      times(decoding),
      times(ratio(rates, name, "Map and JSON.parse")),
      name === "get" ? verdict(decoding, 0.7) : "",
    ];
  });
  printTable("In memory", ["operation", "/s", "x decoding alone", "x Map and JSON.parse", "target"], rows);
}

await measureMemory();
await measureRedis();
