import process from "node:process";
import { parseArgs } from "node:util";

/** The command line, which is the same for every suite. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    ms: { type: "string", default: "500" },
    sessions: { type: "string", default: "1000000" },
    runtime: { type: "string", default: "node" },
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

/** The result of a turn. */
export interface Turn {
  readonly calls: number;
  /** Calls per second. */
  readonly rate: number;
}

/** Runs a turn and measures something else during it, such as the time of the server. */
export type Watch = (contender: Contender, turn: () => Promise<Turn>) => Promise<Turn>;

/** Operations per second of each turn, by name, in the order of the rounds. */
export type Rates = ReadonlyMap<string, readonly number[]>;

/** Runs the contenders in turn, in this process. Each round starts with another contender. */
export async function alternate(
  contenders: readonly Contender[],
  concurrency: number,
  watch: Watch = (_, turn) => turn(),
): Promise<Rates> {
  const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -1; round < options.rounds; round++) {
    for (let place = 0; place < contenders.length; place++) {
      const contender = contenders[(place + round + 1) % contenders.length] as Contender;
      await contender.before?.();
      // The first round is a warm-up.
      const turn = () => takeTurn(contender, concurrency);
      const { rate } = round < 0 ? await turn() : await watch(contender, turn);
      if (round >= 0) rates.get(contender.name)?.push(rate);
      await contender.after?.();
    }
  }
  return rates;
}

async function takeTurn({ run, limit = Number.POSITIVE_INFINITY }: Contender, concurrency: number): Promise<Turn> {
  let calls = 0;
  const start = performance.now();
  const end = start + options.ms;
  async function caller(first: number): Promise<void> {
    for (let slot = first; performance.now() < end && calls < limit; slot = (slot + concurrency) % POOL) {
      calls++;
      await run(slot);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, (_, first) => caller(first)));
  return { calls, rate: (calls / (performance.now() - start)) * 1000 };
}

/** Returns the median, over the rounds, of the ratio between the rates of two contenders in the same round. */
export function ratio(rates: Rates, ours: string, theirs: string): number {
  const other = rates.get(theirs) ?? [];
  return median((rates.get(ours) ?? []).map((rate, round) => rate / (other[round] ?? Number.NaN)));
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
  how: string = `${options.rounds} rounds of ${options.ms} ms`,
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
