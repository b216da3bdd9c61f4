import { type Member, MIN_PRUNE_AGE } from "../backend.ts";
import { noteChange } from "../base/changes.ts";
import { callOptions, kindOf, ofType } from "../base/checks.ts";
import { isPromise } from "../base/promises.ts";
import { refuseToken } from "../base/token.ts";
import { SessionConflictError } from "../errors.ts";
import type { Page, Registry } from "../indexes/members.ts";
import { expectation, indexEntries, isReserved, type StoredSession } from "../record.ts";
import type { SessionStore } from "../session.ts";
import type { SessionEvent } from "../store-options.ts";
import type { IndexValues } from "./index-values.ts";
import { MAX_ATTEMPTS } from "./patches.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";
import { allCounted, visitAll, visitIndex } from "./walk.ts";

type Reason = Extract<SessionEvent, { readonly type: "revoked" }>["reason"];

/** Creates the methods of a store that end sessions without their tokens. */
export function endings<T>(
  settings: Settings,
  runner: Runner,
  { accessTo }: Storage,
  values: IndexValues,
  registry: Registry,
): Pick<SessionStore<T, never, string>, "revoke" | "revokeAll" | "revokeEverybody"> {
  const { backend, plainIds, emit, time, tokens } = settings;
  const { ofKey, run } = runner;
  const { indexes, leave } = registry;

  /** Reports the end of a session, and removes it from its indexes except `left`. */
  function report({ id, key }: Pick<Target, "id" | "key">, ended: StoredSession, reason: Reason, left?: string): void {
    emit({ type: "revoked", id, at: new Date(time()), reason });
    registry.forget(
      key,
      indexEntries(ended).filter((entry) => entry !== left),
    );
  }

  /** Ends a session. Returns `changed` if it is not as expected. */
  async function end(
    target: Target,
    reason: Reason,
    expect?: Readonly<Record<string, string | null>>,
  ): Promise<boolean | "changed"> {
    const { id, key, step } = target;
    const remove = () => backend.remove(key, accessTo(target), { id, cause: "revoked" }, [], expect);
    const ended = await step("writes", remove);
    if (ended === null || typeof ended === "string") return ended === "changed" ? ended : false;
    report(target, ended, reason);
    return true;
  }

  /**
   * Ends a session if its data has the value of an index entry, or if it has the entry and its data cannot be read.
   *
   * @param isEntryEnough Whether the entry suffices even if the data has another value.
   */
  async function endOf(target: Target, entry: string, reason: Reason, isEntryEnough: boolean): Promise<boolean> {
    const { id, key, step } = target;
    const request = { fields: values.fieldsFor(entry) };
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const found = await step("reads", () => backend.read(key, accessTo(target), request));
      if (found === null || (typeof found === "string" && found !== "invalid")) return false;
      const record = found === "invalid" ? null : found;
      const has = record && (await values.hasNow(target, entry, record));
      if (record === null || has !== true) {
        if (has === false && !isEntryEnough) return false;
        if (record !== null && !indexEntries(record).includes(entry)) return false;
        const revoke = () => backend.revoke(key, entry, { id, cause: "revoked" }, 0, time());
        const ended = await step("writes", revoke);
        if (typeof ended === "object") report(target, ended, reason);
        return typeof ended === "object";
      }
      const names = request.fields ?? Object.keys(record).filter((name) => !isReserved(name));
      const ended = await end(target, reason, expectation(record, names));
      if (ended !== "changed") return ended;
    }
    const message = `Cannot revoke a session as it was changed concurrently ${MAX_ATTEMPTS} times in a row`;
    throw new SessionConflictError(message, { reason: "contended" });
  }

  return {
    async revoke(id, options) {
      const action = "revoke a session";
      if (plainIds) throw new TypeError(`Cannot ${action} by its ID as the option plainIds is true: use destroy`);
      refuseToken(action, id);
      const { of, signal } = callOptions(action, options, ["of", "signal"]);
      if (of === undefined && options !== undefined && "of" in options) {
        throw new TypeError(`Cannot ${action} as of is undefined: leave it out to end the session whosever it is`);
      }
      const entry = of === undefined ? null : indexes.queriedEntry(of);
      if (typeof id !== "string" || !tokens.isKey(id)) return false;
      const ending = run(action, id, signal, async (step) => {
        const target = ofKey(id, step);
        return (await (entry === null ? end(target, "id") : endOf(target, entry, "id", false))) === true;
      });
      return await ending.finally(noteChange);
    },

    async revokeAll(by, options) {
      const action = "revoke sessions";
      const { except, scan = false, signal } = callOptions(action, options, ["except", "scan", "signal"]);
      ofType(action, "scan", scan, "boolean");
      if (except !== undefined && except !== null && !tokens.isKey(except.id)) {
        const what = isPromise(except) ? "a promise: await it" : `${kindOf(except)} without an ID`;
        throw new TypeError(`Cannot ${action} as except must be a session or null: received ${what}`);
      }
      const entry = indexes.queriedEntry(by);
      const progress = { seen: 0, done: 0 };

      /** Ends the sessions of a page. Blocks the sessions that may still be written. */
      async function endPage(step: Target["step"], { members, at }: Page): Promise<void> {
        const others = members.filter(({ key }) => key !== except?.id);
        const leaving: Member[] = [];
        const revoking = others.map(async (member) => {
          const { key } = member;
          const isPending = registry.isPending(member, at);
          const tombstone = isPending ? MIN_PRUNE_AGE : 0;
          const revoke = () => backend.revoke(key, entry, { id: key, cause: "revoked" }, tombstone, time());
          const ended = await step("writes", revoke);
          if (typeof ended !== "object") {
            if (!isPending) leaving.push(member);
            return;
          }
          progress.done++;
          leaving.push(member);
          report({ id: key, key }, ended, "index", entry);
        });
        await allCounted(revoking);
        await leave(step, entry, leaving);
      }

      try {
        await visitIndex(action, runner, registry, entry, signal, progress, endPage);
        if (scan) {
          const endOne = async (target: Target): Promise<boolean> =>
            target.key !== except?.id && (await endOf(target, entry, "index", true));
          await visitAll(action, settings, runner, { signal }, progress, endOne);
        }
      } finally {
        noteChange();
      }
      return progress.done;
    },

    async revokeEverybody(given) {
      const action = "revoke all sessions";
      const options = callOptions(action, given, ["signal", "onProgress"]);
      const progress = { seen: 0, done: 0 };
      const endOne = async (target: Target): Promise<boolean> => (await end(target, "everybody")) === true;
      try {
        // A pass over the keys may miss a session that is created meanwhile, so another one follows until none was found.
        for (let before = -1; before !== progress.done; ) {
          before = progress.done;
          await visitAll(action, settings, runner, options, progress, endOne);
        }
      } finally {
        noteChange();
      }
      return progress.done;
    },
  };
}
