import { noteChange } from "../base/changes.ts";
import { tell } from "../base/promises.ts";
import { SessionBackendError, SessionConflictError } from "../errors.ts";
import type { Registry } from "../indexes/members.ts";
import { indexEntries } from "../record.ts";
import type { SessionStore } from "../session.ts";
import type { Runner } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";

/** How many sessions one step of an operation ends, so that each step is within the operation timeout. */
const ENDED_AT_ONCE = 100;

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

/** Creates the `revokeEverybody` method of a store. */
export function everybody<T>(
  settings: Settings,
  runner: Runner,
  { accessTo }: Storage,
  registry: Registry,
): SessionStore<T>["revokeEverybody"] {
  const action = "revoke all sessions";
  const { backend, emit, time, tokens } = settings;

  async function end(keys: readonly string[], signal: AbortSignal | undefined, tally: Tally): Promise<void> {
    await runner.run(action, null, signal, async (step) => {
      const ending = keys.map(async (key) => {
        const target = tokens.ofKey(key);
        const ended = await step("writes", () => backend.remove(key, accessTo(target)));
        if (ended === null || typeof ended === "string") return;
        tally.done++;
        emit({ type: "revoked", id: target.id, at: new Date(time()), reason: "everybody" });
        registry.forget(key, indexEntries(ended));
      });
      await allCounted(ending);
    });
  }

  return async ({ signal, onProgress } = {}) => {
    const progress = { seen: 0, done: 0 };
    try {
      // A pass over the keys may miss a session that is created meanwhile, so another one follows until none was found.
      for (let before = -1; before !== progress.done; ) {
        before = progress.done;
        for await (const keys of keyPages(action, settings, runner, signal)) {
          for (let at = 0; at < keys.length; at += ENDED_AT_ONCE) {
            const some = keys.slice(at, at + ENDED_AT_ONCE);
            await end(some, signal, progress);
            progress.seen += some.length;
            tell(onProgress, { ...progress });
          }
        }
      }
    } catch (error) {
      throw failedAfter(progress, error);
    } finally {
      noteChange();
    }
    return progress.done;
  };
}
