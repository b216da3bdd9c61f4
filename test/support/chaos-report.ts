import { CHECKS, type Check, type Disturbance, type Done, type LagMeter, type Ledger } from "./chaos-ledger.ts";

/** The memory of the server at one time. */
export interface Sample {
  readonly at: number;
  readonly bytes: number;
}

interface Outcome {
  readonly ledger: Ledger;
  readonly samples: readonly Sample[];
  readonly lag: LagMeter;
  readonly start: number;
  readonly errors: string;
}

const RECOVERY_MS = 3000;
/** The accepted growth from the second quarter of the run to the last. */
const GROWTH = { factor: 1.5, bytes: 50 * 2 ** 20 };

/** Prints the summary and returns whether every rule held. */
export function printSummary({ ledger, samples, lag, start, errors }: Outcome): boolean {
  const { requests, disturbances, violations, notes } = ledger;
  const seconds = (performance.now() - start) / 1000;
  const isDisturbed = ({ from, to }: Done) => disturbances.some((one) => from < one.to && to > one.from);
  const disturbed = requests.filter(isDisturbed);
  const calm = requests.filter((one) => !isDisturbed(one));

  console.log(
    `\nrequests: ${requests.length} in ${seconds.toFixed(0)} s (${(requests.length / seconds).toFixed(0)}/s)`,
  );
  console.log(`  by status: ${counted(requests, ({ status }) => (status === 0 ? "none" : `${status}`))}`);
  console.log(`  by route: ${counted(requests, ({ route }) => route)}`);
  for (const [name, some] of [
    ["in quiet", calm],
    ["in faults", disturbed],
  ] as const) {
    const failed = some.filter(isFailure).length;
    console.log(`  ${name}: ${some.length}, ${failed} failed, ms ${spread(some.map(({ from, to }) => to - from))}`);
  }
  const worst = lag.between(start, performance.now());
  console.log(`  the machine's own delay, seen by requests that make no operation: at most ${worst.toFixed(0)} ms`);

  console.log(`\nfaults: ${disturbances.length}`);
  const kinds = grouped(disturbances, ({ kind }) => kind);
  const recoveries = new Map(disturbances.map((one) => [one, recoveryOf(one, requests)]));
  const table = [...kinds].sort().map(([kind, some]) => ({
    fault: kind,
    count: some.length,
    "lasted (ms)": spread(some.map(({ from, to }) => to - from)),
    failed: some.reduce((sum, one) => sum + (recoveries.get(one)?.failed ?? 0), 0),
    "first success (ms)": spread(some.map((one) => recoveries.get(one)?.first ?? Number.NaN)),
    "only successes from (ms)": spread(some.map((one) => recoveries.get(one)?.last ?? Number.NaN)),
  }));
  console.table(table);
  const all = [...recoveries.values()];
  console.log(`  first success after: ms ${spread(all.map(({ first }) => first))}`);
  console.log(`  only successes from: ms ${spread(all.map(({ last }) => last))}`);
  for (const [one, { first, last, late }] of recoveries) {
    if (Math.max(first, last) <= RECOVERY_MS) continue;
    const at = `${((one.from - start) / 1000).toFixed(1)} s (late failures: ${late})`;
    violations.recovery.push(`${one.kind} at ${at}: first ${first.toFixed(0)} ms, only ${last.toFixed(0)} ms`);
  }

  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MB`;
  const sizes = samples.map(({ bytes }) => bytes).filter((bytes) => bytes > 0);
  const quarter = Math.floor(sizes.length / 4);
  const [early, late] = [median(sizes.slice(quarter, 2 * quarter)), median(sizes.slice(-quarter))];
  const peak = Math.max(0, ...sizes);
  console.log(
    `\nmemory of the server: start ${megabytes(sizes[0] ?? 0)}, peak ${megabytes(peak)}, end ${megabytes(sizes.at(-1) ?? 0)}; median of the second quarter ${megabytes(early)}, of the last ${megabytes(late)}`,
  );
  if (late > early * GROWTH.factor + GROWTH.bytes)
    violations.memory.push(`${megabytes(early)}, then ${megabytes(late)}`);
  const lines = errors.split("\n").filter(Boolean);
  console.log(`standard error of the server: ${lines.length} lines (${counted(lines, (line) => line.slice(0, 90))})`);
  console.log("\nno violations:");
  for (const [what, count] of Object.entries(notes).sort()) console.log(`  ${count} ${what}`);

  console.log("\nchecks:");
  for (const [check, what] of Object.entries(CHECKS)) {
    const wrong = violations[check as Check];
    console.log(`  ${wrong.length === 0 ? "ok" : "FAILED"}: ${what}${wrong.length === 0 ? "" : `: ${wrong.length}`}`);
    for (const one of wrong.slice(0, 10)) console.log(`      ${one}`);
  }
  const failed = Object.values(violations).filter((wrong) => wrong.length > 0).length;
  console.log(`${Object.keys(CHECKS).length - failed} passed, ${failed} failed`);
  return failed === 0;
}

function isFailure({ status }: Done): boolean {
  return status === 503 || status === 0;
}

/** Returns the milliseconds from the end of a fault to the recovery. */
function recoveryOf({ from, to, quietUntil }: Disturbance, requests: readonly Done[]) {
  const since = requests.filter((one) => one.to > from && one.to < quietUntil);
  const failures = since.filter(isFailure);
  const successes = since.filter((one) => !isFailure(one) && one.to > to);
  return {
    failed: failures.length,
    first: successes.reduce((least, one) => Math.min(least, one.to), Number.POSITIVE_INFINITY) - to,
    late: counted(
      failures.filter((one) => one.to > to + 1000),
      (one) => `${one.route} begun at ${Math.round(one.from - to)} ms`,
    ),
    last: failures.reduce((most, one) => Math.max(most, one.to - to), 0),
  };
}

function counted<V>(items: readonly V[], nameOf: (item: V) => string): string {
  const counts = [...grouped(items, nameOf)].map(([name, some]) => [name, some.length] as const);
  return counts
    .sort(([, one], [, other]) => other - one)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}

function grouped<V>(items: readonly V[], nameOf: (item: V) => string): Map<string, V[]> {
  const groups = new Map<string, V[]>();
  for (const item of items) {
    const group = groups.get(nameOf(item));
    group === undefined ? groups.set(nameOf(item), [item]) : group.push(item);
  }
  return groups;
}

function median(numbers: readonly number[]): number {
  return at(numbers, 0.5);
}

function at(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}

function spread(numbers: readonly number[]): string {
  return [0.5, 0.99, 1].map((part) => at(numbers, part).toFixed(0)).join(" / ");
}
