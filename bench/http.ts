import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import autocannon from "autocannon";
import { openRedis } from "./redis.ts";
import { isWanted, median, options, printTable, ratio, thousands, times, verdict } from "./runner.ts";
import { commandOf, type Runtime, startServing } from "./runtimes.ts";

/** The number of concurrent connections, each with its own session. */
const CONNECTIONS = 50;
/** The duration of a turn. It is longer than in other suites, because servers warm up more slowly. */
const TURN_MS = 4 * options.ms;

interface Contestant {
  readonly name: string;
  readonly runtime: Runtime;
  readonly where: "memory" | "Redis";
  readonly least: readonly Claim[];
}

interface Claim {
  readonly action: Action;
  readonly against: string;
  readonly times: number;
}

/** The requests that are measured. */
const ACTIONS = { read: ["GET", "/read"], count: ["POST", "/count"] } as const;
type Action = keyof typeof ACTIONS;

const line = (runtime: Runtime, where: Contestant["where"], name: string, ...least: readonly Claim[]): Contestant => ({
  name,
  runtime,
  where,
  least,
});
const labelOf = ({ name, runtime, where }: Contestant): string => `${name} / ${where} / ${runtime}`;
const EXPRESS = "express-session / Redis / node";

const CONTESTANTS: readonly Contestant[] = [
  line("bun", "memory", "no sessions"),
  line("bun", "memory", "zession", { action: "read", against: "no sessions / memory / bun", times: 0.6 }),
  line("bun", "Redis", "zession", { action: "read", against: EXPRESS, times: 2 }),
  line("bun", "Redis", "zession, touchInterval"),
  line("bun", "Redis", "zession, clientSideCache"),
  line("deno", "memory", "no sessions"),
  line("deno", "memory", "zession"),
  line("deno", "Redis", "zession"),
  line("node", "memory", "no sessions"),
  line("node", "memory", "zession"),
  line("node", "Redis", "zession"),
  line("node", "Redis", "zession, touchInterval"),
  line("node", "Redis", "zession, clientSideCache"),
  line("node", "memory", "express"),
  ...["express-session", "@fastify/session", "hono-sessions", "@hono/session", "react-router"].flatMap((name) => [
    line("node", "memory", name),
    line("node", "Redis", name),
  ]),
];

/** A running application and the cookies of its sessions. */
interface Running extends Contestant {
  readonly label: string;
  readonly child: ChildProcess;
  readonly url: string;
  readonly cookies: readonly string[];
}

async function start(contestant: Contestant, redisUrl: string): Promise<Running> {
  const label = labelOf(contestant);
  const command = commandOf(contestant.runtime, fileURLToPath(import.meta.resolve("./apps.ts")));
  const where = contestant.where === "memory" ? "memory" : redisUrl;
  const { child, port } = await startServing([...command, contestant.name, where]);
  const url = `http://127.0.0.1:${port}`;
  const cookies = await Promise.all(Array.from({ length: CONNECTIONS }, () => logIn(url)));
  const running = { ...contestant, label, child, url, cookies };
  await check(running);
  return running;
}

async function logIn(url: string): Promise<string> {
  const response = await fetch(`${url}/login`, { method: "POST" });
  return (
    response.headers
      .getSetCookie()
      .map((line) => line.split(";")[0])
      .at(-1) ?? ""
  );
}

/** Checks that an application reads and counts correctly, so that only correct ones are measured. */
async function check({ label, url, cookies, name }: Running): Promise<void> {
  const ask = async (path: string, method: string, cookie = cookies[0] as string): Promise<Record<string, unknown>> =>
    (await (await fetch(url + path, { method, headers: { cookie } })).json()) as Record<string, unknown>;
  if ((await ask("/read", "GET"))["name"] !== "Ada Lovelace") {
    throw new Error(`${label} does not return the name in its session`);
  }
  for (const expected of [1, 2, 3]) {
    const { visits } = await ask("/count", "POST");
    if (visits !== expected) throw new Error(`${label} counts ${visits} instead of ${expected}`);
  }
  if (name === "no sessions" || name === "express") return;
  if ((await ask("/count", "POST", cookies[1]))["visits"] !== 1) {
    throw new Error(`${label} mixes up the counters of two sessions`);
  }
}

interface Load {
  readonly rate: number;
  /** Processor time of the server per request, in microseconds; `NaN` if the system does not report it. */
  readonly cpu: number;
}

async function load({ url, cookies, child }: Running, action: Action): Promise<Load> {
  const [method, path] = ACTIONS[action];
  let next = 0;
  const before = cpuMicros(child);
  const start = performance.now();
  const result = await autocannon({
    url: url + path,
    method,
    connections: CONNECTIONS,
    duration: TURN_MS / 1000,
    // By default, autocannon counts in whole seconds.
    sampleInt: Math.min(1000, TURN_MS),
    setupClient: (client) => client.setHeaders({ cookie: cookies[next++ % CONNECTIONS] as string }),
  });
  const seconds = (performance.now() - start) / 1000;
  if (result.non2xx > 0 || result.errors > 0) {
    throw new Error(`${url}${path}: ${result.non2xx} responses are not 2xx, ${result.errors} requests failed`);
  }
  return { rate: result["2xx"] / seconds, cpu: (cpuMicros(child) - before) / result["2xx"] };
}

/** Returns the processor time of a process and its threads, in microseconds, or `NaN` on systems without /proc. */
function cpuMicros({ pid }: ChildProcess): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  } catch {
    return Number.NaN;
  }
}

const redis = await openRedis();
const wanted = CONTESTANTS.filter((contestant) => isWanted("http", labelOf(contestant)));
// A target that compares with another application needs that application as well.
const against = wanted.flatMap(({ least }) => least.map((claim) => claim.against));
const running: Running[] = [];
for (const contestant of CONTESTANTS) {
  if (wanted.includes(contestant) || against.includes(labelOf(contestant)))
    running.push(await start(contestant, redis.url));
}

/** Requests per second and processor time per request of each application, in the order of the rounds. */
const loads: Record<Action, { rate: Map<string, number[]>; cpu: Map<string, number[]> }> = {
  read: { rate: new Map(), cpu: new Map() },
  count: { rate: new Map(), cpu: new Map() },
};
for (const action of Object.keys(ACTIONS) as Action[]) {
  for (const app of running) await load(app, action);
  for (let round = 0; round < options.rounds; round++) {
    for (const app of running) {
      const measured = await load(app, action);
      for (const what of ["rate", "cpu"] as const) {
        const all = loads[action][what];
        all.set(app.label, [...(all.get(app.label) ?? []), measured[what]]);
      }
    }
  }
}
for (const { child } of running) child.kill();

const rows = running.map(({ label, runtime, least }) => {
  /** Formats the ratio of requests per second, with the ratio of processor time per request in brackets. */
  const compare = (action: Action, other: string): string => {
    const { rate, cpu } = loads[action];
    return rate.has(other) ? `${times(ratio(rate, label, other))} (${times(ratio(cpu, other, label))})` : "";
  };
  const cells = (Object.keys(ACTIONS) as Action[]).flatMap((action) => [
    thousands(median(loads[action].rate.get(label) ?? [])),
    median(loads[action].cpu.get(label) ?? []).toFixed(0),
    compare(action, `no sessions / memory / ${runtime}`),
    compare(action, EXPRESS),
  ]);
  const claims = least.map(({ action, against, times }) => verdict(ratio(loads[action].rate, label, against), times));
  return [label, ...cells, claims.join("; ")];
});
const columns = ["/s", "us", "x bare (by us)", "x express (by us)"];
const head = [
  "application",
  ...columns.map((name) => `read ${name}`),
  ...columns.map((name) => `count ${name}`),
  "target",
];
printTable(`Over HTTP, Redis ${redis.version}`, head, rows, `${options.rounds} rounds of ${TURN_MS} ms`);
await redis.clear("zession-bench:");
await redis.close();
