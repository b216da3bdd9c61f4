import { loadavg } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Statistics, watchRedis } from "./statistics.ts";

/** The command line, which is the same for every suite. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    ms: { type: "string", default: "500" },
    sessions: { type: "string", default: "1000000" },
    runtime: { type: "string", default: "node" },
    save: { type: "boolean", default: false },
  },
});

export const options = {
  /** The arguments without a flag: the suites to run. */
  wanted: positionals,
  /** Runs only the cases whose name contains this text. */
  only: values.only.toLowerCase(),
  /** The number of rounds. Each contender has one turn per round. */
  rounds: Number(values.rounds),
  /** The duration of a turn in milliseconds. */
  ms: Number(values.ms),
  /** The number of sessions in the suite `memory`. */
  sessions: Number(values.sessions),
  runtime: values.runtime,
  /** Keeps the results of the suite `http` for the charts. */
  save: values.save,
};

/**
 * The number of sessions used in turn. A multiple of every concurrency, so that no two calls use the same session at
 * once.
 */
export const POOL = 1024;

/** A library or an operation that is measured. */
export interface Contender {
  readonly name: string;
  /** Runs one operation on the session at this position of the pool. */
  run(slot: number): unknown;
  /** Runs before each turn and is not measured. */
  before?(): Promise<void>;
  /** Runs after each turn and is not measured. */
  after?(): Promise<void>;
  /** The maximum number of calls in a turn. Default: no limit. */
  readonly limit?: number;
}

/** The result of a turn in this process. */
export interface Turn {
  /** Calls per second. */
  readonly rate: number;
  /** Processor time of this process per call, in microseconds. */
  readonly cpu: number;
  /** Processor time of Redis per call, in microseconds; 0 without a client for the statistics. */
  readonly redis: number;
}

/** The results of all turns, by the name of the contender, in the order of the rounds. */
export type Rounds<R> = ReadonlyMap<string, readonly R[]>;

/** Lets each contender take a turn in each round. Each round starts with another one, and the first does not count. */
export async function interleave<C extends { readonly name: string }, R>(
  contenders: readonly C[],
  take: (contender: C) => Promise<R>,
): Promise<Rounds<R>> {
  const rounds = new Map<string, R[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -1; round < options.rounds; round++) {
    for (let place = 0; place < contenders.length; place++) {
      const contender = contenders[(place + round + 1) % contenders.length] as C;
      const result = await take(contender);
      if (round >= 0) rounds.get(contender.name)?.push(result);
    }
  }
  return rounds;
}

/** Runs the contenders in turn, in this process. With a client of Redis, its processor time is measured as well. */
export async function alternate(
  contenders: readonly Contender[],
  concurrency: number,
  admin?: Statistics,
): Promise<Rounds<Turn>> {
  return await interleave(contenders, async (contender) => {
    await contender.before?.();
    const turn = () => takeTurn(contender, concurrency);
    const { result, cpuMicros } = admin ? await watchRedis(admin, turn) : { result: await turn(), cpuMicros: 0 };
    await contender.after?.();
    return { rate: result.rate, cpu: result.cpu, redis: cpuMicros / result.calls };
  });
}

async function takeTurn({ run, limit = Number.POSITIVE_INFINITY }: Contender, concurrency: number) {
  let calls = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const end = start + options.ms;
  async function caller(first: number): Promise<void> {
    for (let slot = first; performance.now() < end && calls < limit; slot = (slot + concurrency) % POOL) {
      calls++;
      await run(slot);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, (_, first) => caller(first)));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { calls, rate: calls / seconds, cpu: (user + system) / calls };
}

/** Returns the median, over the rounds, of what `of` takes from the turns of a contender. */
export function middle<R>(rounds: Rounds<R>, name: string, of: (turn: R) => number): number {
  return median((rounds.get(name) ?? []).map(of));
}

/** Returns the median, over the rounds, of the ratio between two contenders in the same round. */
export function ratio<R>(rounds: Rounds<R>, ours: string, theirs: string, of: (turn: R) => number): number {
  const other = rounds.get(theirs) ?? [];
  const ratios = (rounds.get(ours) ?? []).map((turn, round) => of(turn) / of(other[round] as R));
  return median(ratios);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Whether `--only` selects this case. */
export function isWanted(...names: readonly string[]): boolean {
  return names.join(" ").toLowerCase().includes(options.only);
}

/** Returns a target and whether it was met: `>= 1.1: pass`. */
export function verdict(value: number, target: number, direction: ">=" | "<=" = ">="): string {
  const held = direction === ">=" ? value >= target : value <= target;
  return `${direction} ${target}: ${held ? "pass" : "FAIL"}`;
}

/**
 * Prints a table in Markdown, which can be copied to a document as it is.
 *
 * @param how How the numbers were measured.
 */
export function printTable(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  how: string = `${options.rounds} rounds of ${options.ms} ms, load average ${loadavg()[0]?.toFixed(1)}`,
): void {
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? "").length)));
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, at) => (cells[at] ?? "")[at === 0 ? "padEnd" : "padStart"](width)).join(" | ")} |`;
  const rule = `|${widths.map((width, at) => `${"-".repeat(width + 1)}${at === 0 ? "-" : ":"}`).join("|")}|`;
  console.log(`\n### ${title}\n\n${runtimeName()}, ${how}\n`);
  console.log([line(head), rule, ...rows.map(line)].join("\n"));
}

export function runtimeName(): string {
  const { bun, deno, node } = process.versions as Record<string, string>;
  return bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
}

export const thousands = (rate: number): string =>
  rate >= 100_000 ? `${Math.round(rate / 1000)} k` : `${(rate / 1000).toFixed(1)} k`;
export const times = (value: number): string => (Number.isNaN(value) ? "" : value.toFixed(2));
