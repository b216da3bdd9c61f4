import { tell } from "../base/promises.ts";
import type { Step } from "../base/step.ts";
import type { WalkOptions } from "../call-options.ts";
import { SessionBackendError, SessionConflictError } from "../errors.ts";
import type { Page, Registry } from "../indexes/members.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";

/** How many sessions one step of a walk visits, so that each step is within the operation timeout. */
const VISITED_AT_ONCE = 100;

/** The number of sessions that an operation has changed so far. */
export interface Tally {
  done: number;
}

/** Waits for all tasks, so that each success is counted, and then throws the failure with the least certain outcome. */
export async function allCounted<R>(tasks: readonly Promise<R>[]): Promise<R[]> {
  const settled = await Promise.allSettled(tasks);
  const failures = settled.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  if (failures.length > 0) throw failures.find(isUnknown) ?? failures[0];
  return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}

/** Returns the error for an operation that failed after it changed some sessions. */
export function failedAfter({ done }: Tally, error: unknown): unknown {
  if (done === 0) return error;
  if (error instanceof SessionConflictError) {
    return new SessionConflictError(error.message, { reason: error.reason, done, cause: error });
  }
  if (!(error instanceof SessionBackendError)) return error;
  return new SessionBackendError(error.message, { reason: error.reason, outcome: "unknown", done, cause: error });
}

function isUnknown(error: unknown): boolean {
  return error instanceof SessionBackendError && error.outcome === "unknown";
}

/** Lists the keys of all sessions page by page. Each page is an operation with a timeout of its own. */
export async function* keyPages(
  action: string,
  { backend, tokens }: Settings,
  { run }: Runner,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly string[], void, void> {
  const pages = backend.keys()[Symbol.asyncIterator]();
  try {
    for (;;) {
      const page = await run(action, null, signal, (step) => step("reads", () => pages.next()));
      if (page.done) return;
      yield page.value.filter((key) => tokens.isKey(key));
    }
  } finally {
    // Not awaited, because `return` of a generator waits for its pending page, which may never come.
    Promise.resolve(pages.return?.()).catch(() => {});
  }
}

/**
 * Visits an index page by page, from the earliest member to the latest. Each page is an operation with a timeout of its own.
 *
 * @param tally Counts the sessions that `visit` has changed.
 */
export async function visitIndex(
  action: string,
  { run }: Runner,
  registry: Registry,
  entry: string,
  signal: AbortSignal | undefined,
  tally: Tally,
  visit: (step: Step, page: Page) => Promise<void>,
): Promise<void> {
  try {
    for (let after: number | null = 0; after !== null; ) {
      const from: number = after;
      after = await run(action, null, signal, async (step) => {
        const page = await registry.page(step, entry, from);
        await visit(step, page);
        return page.next;
      });
    }
  } catch (error) {
    throw failedAfter(tally, error);
  }
}

/**
 * Visits the sessions under all keys, a few at a time. Each time is an operation with a timeout of its own.
 *
 * @param progress Counts the sessions.
 * @param visit Returns whether it has changed the session.
 */
export async function visitAll(
  action: string,
  settings: Settings,
  runner: Runner,
  { signal, onProgress }: WalkOptions,
  progress: Tally & { seen: number },
  visit: (target: Target) => Promise<boolean>,
): Promise<void> {
  try {
    for await (const keys of keyPages(action, settings, runner, signal)) {
      for (let at = 0; at < keys.length; at += VISITED_AT_ONCE) {
        const some = keys.slice(at, at + VISITED_AT_ONCE);
        await runner.run(action, null, signal, async (step) => {
          const visits = some.map(async (key) => {
            if (await visit(runner.ofKey(key, step))) progress.done++;
          });
          await allCounted(visits);
        });
        progress.seen += some.length;
        tell(onProgress, { ...progress });
      }
    }
  } catch (error) {
    throw failedAfter(progress, error);
  }
}
