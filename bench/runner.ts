import process from "node:process";
import { parseArgs } from "node:util";

/** Of every suite, on its command line. */
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
  /** What to run, as told before the options. */
  wanted: positionals,
  /** Part of the names of the cases to run. */
  only: values.only.toLowerCase(),
  /** How often everybody has their turn. */
  rounds: Number(values.rounds),
  /** Of one turn. */
  ms: Number(values.ms),
  /** How many the suites about memory make. */
  sessions: Number(values.sessions),
  runtime: values.runtime,
};

/** Sessions that turns go around; a multiple of every concurrency, so that no two calls meet on one. */
export const POOL = 1024;

/** Somebody who is measured. */
export interface Contender {
  readonly name: string;
  /** One operation, on the place of a session in the pool. */
  run(slot: number): unknown;
  /** Before and after each turn, outside of its time. */
  before?(): Promise<void>;
  after?(): Promise<void>;
  /** Calls in a turn at most. */
  readonly limit?: number;
}

/** What came of one. */
export interface Turn {
  readonly calls: number;
  /** Per second. */
  readonly rate: number;
}

/** Wraps a turn, to look at something else meanwhile. */
export type Watch = (contender: Contender, turn: () => Promise<Turn>) => Promise<Turn>;

/** Operations per second of each turn, by name, in the order of the rounds. */
export type Rates = ReadonlyMap<string, readonly number[]>;

/** Everybody in turn, in this process; each round begins with somebody else. */
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
      // The first round warms up.
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

/** The median over the rounds of what one did to what the other did in the same round. */
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

/** Is this case wanted? */
export function isWanted(...names: readonly string[]): boolean {
  return names.join(" ").toLowerCase().includes(options.only);
}

/** A claim and whether it held: `x 1.24 of 1.10 ok`. */
export function verdict(value: number, target: number, direction: ">=" | "<=" = ">="): string {
  const held = direction === ">=" ? value >= target : value <= target;
  return `${direction} ${target}: ${held ? "pass" : "FAIL"}`;
}

/**
 * In the form of Markdown, so that it can be kept as it is.
 *
 * @param how It was measured.
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
