import { randomInt } from "node:crypto";
import process from "node:process";
import * as fc from "fast-check";
import { ENTRIES } from "./model-data.ts";
import type { Ground } from "./model-grounds.ts";
import { LONGEST_MS, take } from "./model-invariants.ts";
import { type Sequence, type Step, sequences } from "./model-steps.ts";
import { worldOf } from "./model-world.ts";

/** The real time that a sequence may take before Redis and the store's clock disagree too much. */
const MAX_LAG_MS = 1500;

/** The result of a run. */
export interface Report {
  readonly seed: number;
  readonly sequences: number;
  /** The number of sequences that were stopped because this machine was too slow. */
  readonly late: number;
  readonly steps: number;
  /** The seed, the smallest counterexample and its error, or `null` if nothing failed. */
  readonly failure: string | null;
}

/** Runs random sequences of operations on a store and on its model in parallel. */
export async function runModel(
  makeGround: () => Promise<Ground>,
  { runs, seed, path }: { readonly runs: number; readonly seed: number; readonly path?: string | undefined },
): Promise<Report> {
  let steps = 0;
  let late = 0;

  async function run({ rules, steps: wanted }: Sequence): Promise<void> {
    const ground = await makeGround();
    const world = worldOf(ground, rules);
    const doing = async (step: Step): Promise<void> => {
      steps++;
      try {
        await take(world, step);
      } catch (error) {
        if (error instanceof Error) error.message = `${JSON.stringify(step)}: ${error.message}`;
        throw error;
      }
    };
    try {
      const { indexed } = rules;
      const looks = indexed
        ? ENTRIES.flatMap((entry): Step[] => [
            { do: "list", entry },
            { do: "count", entry },
          ])
        : [];
      for (const step of [...wanted, { do: "scan" } as const, ...looks]) {
        if (ground.lag() > MAX_LAG_MS) {
          late++;
          return;
        }
        await doing(step);
      }
      if (ground.blur === 0) await liveOut(world, doing);
      await doing({ do: "wait", until: { ms: LONGEST_MS + 1 } });
      const { records, indexes } = await ground.stored();
      if (records.size + indexes.size > 0) throw new Error("Something is left for good");
    } finally {
      await ground.close();
    }
  }

  const property = fc.asyncProperty(sequences, run);
  const parameters = { seed, numRuns: runs, ...(path === undefined ? {} : { path }) };
  const details = await fc.check(property, parameters);
  const what = details.errorInstance instanceof Error ? details.errorInstance.stack : details.errorInstance;
  const failure = details.failed ? `${fc.defaultReportMessage(details)}\n${what}` : null;
  return { seed, sequences: details.numRuns, late, steps, failure };
}

/** Advances the clock to the last millisecond of each session and to the first one after it. */
async function liveOut({ model }: ReturnType<typeof worldOf>, doing: (step: Step) => Promise<void>): Promise<void> {
  for (;;) {
    const ends = model.sessions.filter(model.isLive).map(({ end }) => end);
    if (ends.length === 0) return;
    await doing({ do: "wait", until: { ms: Math.min(...ends) - model.now() } });
    await doing({ do: "wait", until: { ms: 1 } });
  }
}

/** Reads `MODEL_RUNS`, `MODEL_SEED` and, to repeat a counterexample, `MODEL_PATH` from the environment. */
export function settings(runs: number): { runs: number; seed: number; path: string | undefined } {
  const { MODEL_RUNS, MODEL_SEED, MODEL_PATH } = process.env;
  return { runs: Number(MODEL_RUNS ?? runs), seed: Number(MODEL_SEED ?? newSeed()), path: MODEL_PATH };
}

const newSeed = (): number => randomInt(2 ** 31);

export function summary(where: string, { sequences, steps, seed, late }: Report): string {
  const slow = late > 0 ? `, ${late} given up as too slow` : "";
  return `${sequences} sequences, ${steps} steps on ${where}, seed ${seed}${slow}`;
}
