import type { ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { visitorOf } from "./data.ts";
import { load, type Question } from "./load.ts";
import { openDistant, openRedis } from "./redis.ts";
import { APPS, DISTANT, type Result, type Situation, type Turn } from "./results.ts";
import { interleave, isWanted, middle, options, POOL, printTable, ratio, times, verdict } from "./runner.ts";
import { commandOf, RUNTIMES, type Runtime, startServing } from "./runtimes.ts";
import { type Statistics, watchRedis } from "./statistics.ts";

/** The arrivals per second in the open loop. Two cores sustain them with every application. */
const OPEN_RATE = 2000;

const closed = (runtime: Runtime, where: Situation["where"], ...counts: readonly number[]): Situation[] =>
  counts.map((connections) => ({ runtime, connections, arrivals: null, where }));
const SITUATIONS: readonly Situation[] = [
  ...RUNTIMES.flatMap((runtime) => [
    ...closed(runtime, "", 1, 8, 64, 256),
    { runtime, connections: 64, arrivals: OPEN_RATE, where: "" as const },
  ]),
  ...closed("node", DISTANT, 1, 64),
];

interface Running {
  readonly name: string;
  readonly child: ChildProcess;
  readonly port: number;
  readonly questions: readonly Question[];
}

const ask = async (port: number, path: string): Promise<string> =>
  await (await fetch(`http://127.0.0.1:${port}${path}`)).text();

async function start(name: string, runtime: Runtime, redisUrl: string): Promise<Running> {
  const script = fileURLToPath(import.meta.resolve("./apps.ts"));
  const { child, port } = await startServing([...commandOf(runtime, script), name, redisUrl, String(POOL)]);
  const tokens = JSON.parse(await ask(port, "/tokens")) as string[];
  const questions = tokens.map((token, number) => {
    const { name: user, userId } = visitorOf(name === "no sessions" ? 0 : number);
    return {
      request: `GET / HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: sid=${token}\r\n\r\n`,
      answer: JSON.stringify({ name: user, userId }),
    };
  });
  return { name, child, port, questions };
}

async function measure({ port, questions }: Running, situation: Situation, admin: Statistics): Promise<Turn> {
  const { connections, arrivals } = situation;
  const before = Number(await ask(port, "/cpu"));
  const { result, cpuMicros, commands } = await watchRedis(admin, () =>
    load(port, questions, connections, options.ms, arrivals),
  );
  const server = Number(await ask(port, "/cpu")) - before;
  const { requests } = result;
  return { ...result, server: server / requests, redis: cpuMicros / requests, commands: commands / requests };
}

const labelOf = ({ runtime, connections, arrivals, where }: Situation): string =>
  [
    runtime,
    `${connections} ${connections === 1 ? "connection" : "connections"}`,
    arrivals === null ? "" : `open loop, ${arrivals} requests/s`,
    where,
  ]
    .filter((part) => part !== "")
    .join(", ");

/** The targets, which hold for the medians over the rounds of ratios within a round. */
interface Target {
  readonly at: string;
  readonly of: keyof Turn;
  readonly app: string;
  readonly over: string;
  readonly direction: ">=" | "<=";
  readonly value: number;
}
const target = (
  at: string,
  of: keyof Turn,
  app: string,
  over: string,
  direction: ">=" | "<=",
  value: number,
): Target => ({
  at,
  of,
  app,
  over,
  direction,
  value,
});
const TARGETS: readonly Target[] = [
  target("node, 64 connections", "rate", "zession", "zession 0.1.0", ">=", 1.3),
  target("node, 1 connection", "p50", "zession", "zession 0.1.0", "<=", 0.85),
  target("node, 64 connections", "redis", "zession", "zession 0.1.0", "<=", 0.35),
  target("node, 64 connections", "redis", "zession, every read due", "zession 0.1.0", "<=", 1),
  target("node, 64 connections", "rate", "zession", "connect-redis", ">=", 1.1),
  target(`node, 1 connection, ${DISTANT}`, "rate", "zession", "connect-redis", ">=", 1.9),
  target(`node, 64 connections, ${DISTANT}`, "rate", "zession", "connect-redis", ">=", 1.5),
];

const redis = await openRedis();
const distant = await openDistant(redis.url);
const results: Result[] = [];
const rows: string[][] = [];
const claims: string[][] = [];
const loads: number[] = [];

for (const group of new Set(SITUATIONS.map(({ runtime, where }) => `${runtime} ${where}`))) {
  const situations = SITUATIONS.filter(
    (one) => `${one.runtime} ${one.where}` === group && isWanted("http", labelOf(one)),
  );
  const [first] = situations;
  if (first === undefined) continue;
  const url = first.where === DISTANT ? distant.url : redis.url;
  const running = await Promise.all(APPS.map((name) => start(name, first.runtime, url)));
  for (const situation of situations) {
    const label = labelOf(situation);
    const rounds = await interleave(running, (app) => measure(app, situation, redis.admin));
    loads.push(loadavg()[0] ?? 0);
    const of = (app: string, what: keyof Turn): number => middle(rounds, app, (turn) => turn[what]);
    const over = (app: string, other: string, what: keyof Turn): number =>
      ratio(rounds, app, other, (turn) => turn[what]);
    for (const app of APPS) {
      results.push({
        app,
        ...situation,
        rate: of(app, "rate"),
        p50: of(app, "p50"),
        p99: of(app, "p99"),
        server: of(app, "server"),
        redis: of(app, "redis"),
        commands: of(app, "commands"),
      });
      const toBaseline = (["rate", "p50", "server", "redis"] as const).map((what) =>
        app === "zession 0.1.0" || (what === "redis" && app === "no sessions")
          ? ""
          : times(over(app, "zession 0.1.0", what)),
      );
      rows.push([
        label,
        app,
        of(app, "rate").toFixed(0),
        of(app, "p50").toFixed(0),
        of(app, "p99").toFixed(0),
        of(app, "server").toFixed(1),
        app === "no sessions" ? "" : of(app, "redis").toFixed(1),
        of(app, "commands").toFixed(2),
        ...toBaseline,
        app === "connect-redis" ? "" : times(over(app, "connect-redis", "rate")),
      ]);
    }
    for (const one of TARGETS.filter(({ at }) => at === label)) {
      const value = over(one.app, one.over, one.of);
      claims.push([
        `${one.of}, ${one.app}, over ${one.over}`,
        label,
        times(value),
        verdict(value, one.value, one.direction),
      ]);
    }
  }
  for (const { child } of running) child.kill();
}

const average = `load average ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`;
const how = `${options.rounds} rounds of ${options.ms} ms, ${average}`;
printTable(
  `Over HTTP, Redis ${redis.version}`,
  [
    "",
    "application",
    "requests/s",
    "p50 us",
    "p99 us",
    "server us",
    "Redis us",
    "commands",
    "rate x 0.1.0",
    "p50 x 0.1.0",
    "server x 0.1.0",
    "Redis x 0.1.0",
    "rate x connect-redis",
  ],
  rows,
  how,
);
printTable("Targets over HTTP", ["ratio", "", "measured", "target"], claims, how);
if (options.save) {
  writeFileSync(new URL("./charts/http.json", import.meta.url), `${JSON.stringify({ how, results }, null, 1)}\n`);
}
distant.close();
await redis.clear("zession-bench:");
await redis.close();
