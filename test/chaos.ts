import { randomInt } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import { hangUp, send } from "./support/chaos-client.ts";
import { type Fault, pause } from "./support/chaos-faults.ts";
import { clusterGround, sentinelGround, singleGround } from "./support/chaos-grounds.ts";
import { type Disturbance, measureLag, openLedger, type World } from "./support/chaos-ledger.ts";
import { printSummary, type Sample } from "./support/chaos-report.ts";
import { type Runtime, serveDemo } from "./support/chaos-server.ts";
import { live } from "./support/chaos-user.ts";

/**
 * Runs the demo on a Redis that fails in one way after another. The load comes from simulated browsers that check every
 * response, as one that only counts them would take another user's page for a success.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    rate: { type: "string", default: "250" },
    users: { type: "string", default: "60" },
    seed: { type: "string", default: String(randomInt(2 ** 31)) },
    runtime: { type: "string", default: "node" },
    topology: { type: "string", default: "single" },
    only: { type: "string" },
  },
});
const [minutes, rate, users, seed] = [values.minutes, values.rate, values.users, values.seed].map(Number) as [
  number,
  number,
  number,
  number,
];
if (!(minutes > 0 && rate > 0 && users > 0 && seed >= 0)) throw new RangeError("Cannot run as a number is no number");

const WARM_UP_MS = 3000;
const QUIET_MS = { least: 3500, most: 7000 };
const SAMPLE_MS = 1000;
const LOOK_UP_MS = 30_000;
const LOOK_PAUSE_MS = 250;
const SILENCE_MS = 3000;
const LOSING: readonly string[] = ["failed over", "killed and failed over"];

/** Mulberry32: the same seed gives the same numbers. */
function randomFrom(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const chance = randomFrom(seed);
const between = (least: number, most: number): number => least + chance() * (most - least);
const grounds = { single: singleGround, sentinel: sentinelGround, cluster: clusterGround };
const topology = values.topology as keyof typeof grounds;
const ground = await grounds[topology](between);
const demo = await serveDemo(values.runtime as Runtime, ground);
console.log(
  `chaos: ${topology}, ${values.runtime}, ${minutes} min, ${users} users, some ${rate} requests/s, --seed ${seed}`,
);

const start = performance.now();
const end = start + minutes * 60_000;
const ledger = openLedger(start);
const lag = measureLag(() => send(demo.url, { path: "/none", cookie: null, navigates: false }));
const samples: Sample[] = [];
const sampling = setInterval(() => samples.push({ at: performance.now(), bytes: demo.memory() }), SAMPLE_MS);
let isOver = false;
let looking: Promise<unknown> = Promise.resolve();

const loads = Array.from({ length: users }, (_, at) => {
  const random = randomFrom(seed + at + 1);
  const world: World = {
    origin: demo.url,
    ledger,
    lag,
    random,
    // A step makes 1.4 requests on average.
    think: () => (random() * 2 * 1.4 * 1000 * users) / rate,
    lookUp,
    isOver: () => isOver,
  };
  return live(world, at);
});
const died = Promise.all(loads).then(() => {});
let trouble: unknown = null;
const keep = (error: unknown): void => {
  trouble ??= error;
};
await Promise.race([disturb(), died]).catch(keep);
isOver = true;
await died.catch(keep);
clearInterval(sampling);

const errors = demo.errors();
if (demo.ended() !== null) ledger.violate("crash", `it ended with ${demo.ended()}`);
const code = await demo.stop();
if (code !== 0) ledger.violate("crash", `it ended with ${code}`);
for (const line of errors.split("\n").filter((line) => /^\s+at |^[A-Za-z]*Error\b|Unhandled|uncaught/i.test(line))) {
  ledger.violate("crash", line);
}
hangUp();
lag.stop();
await ground.stop();
const held = printSummary({ ledger, samples, lag, start, errors });
if (trouble !== null) console.error("The chaos itself failed:", trouble);
process.exitCode = held && trouble === null ? 0 : 1;
// A connection of a fault may still wait for a server that no longer runs.
setTimeout(() => process.exit(), 1000).unref();

/** One at a time, so that the lookups are no load themselves. */
async function lookUp(id: string, ...fields: string[]): Promise<(string | null)[]> {
  const found = looking.then(async () => {
    const until = performance.now() + LOOK_UP_MS;
    for (;;) {
      // A master that is about to be replaced may have data that will be lost.
      while (ledger.disturbances.some(({ loses, to }) => loses && to > performance.now())) await pause(LOOK_PAUSE_MS);
      const silence = pause(SILENCE_MS).then(() => Promise.reject(new Error("Redis does not say what it holds")));
      try {
        return await Promise.race([ground.read(`session:${id}`, fields), silence]);
      } catch (error) {
        if (performance.now() > until) throw error;
        await pause(LOOK_PAUSE_MS);
      }
    }
  });
  looking = found.catch(() => {});
  return await found;
}

/** Causes one fault at a time with pauses between them, and each kind once before any is repeated. */
async function disturb(): Promise<void> {
  const kinds = Object.entries(ground.faults).filter(([kind]) => !values.only || values.only.split(",").includes(kind));
  await pause(WARM_UP_MS);
  let deck: [string, Fault][] = [];
  while (performance.now() < end) {
    if (deck.length === 0) deck = shuffled(kinds);
    const [kind, fault] = deck.pop() as [string, Fault];
    const loses = LOSING.includes(kind);
    const from = performance.now();
    const one: Disturbance = { kind, from, to: Number.POSITIVE_INFINITY, quietUntil: Number.POSITIVE_INFINITY, loses };
    ledger.disturbances.push(one);
    try {
      await fault();
    } finally {
      one.to = performance.now();
    }
    await pause(between(QUIET_MS.least, QUIET_MS.most));
    one.quietUntil = performance.now();
  }
}

function shuffled<V>(items: readonly V[]): V[] {
  return items
    .map((item) => ({ item, order: chance() }))
    .sort((one, other) => one.order - other.order)
    .map(({ item }) => item);
}
