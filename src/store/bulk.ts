import type { IndexPage } from "../backend.ts";
import { noteChange } from "../base/changes.ts";
import { wholeNumber } from "../base/checks.ts";
import type { Step } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import type { PatchInput } from "../data.ts";
import { MEMBERS_PER_PAGE, MIN_PRUNE_AGE_MS, type Registry, type Sighting } from "../indexes/members.ts";
import { indexEntries, isReused, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { CallOptions, Session, SessionStore } from "../session.ts";
import type { PatchWriter } from "./patches.ts";
import type { Runner } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";

/** The methods of a store that find sessions by ID or by index instead of by token. */
type BulkOperations<T> = Pick<
  SessionStore<T, never, string>,
  "revoke" | "revokeAll" | "updateAll" | "list" | "count" | "scan"
>;

export function bulkOperations<T>(
  settings: Settings,
  { orReport, run }: Runner,
  storage: Storage<T>,
  { compareAndSet }: PatchWriter<T>,
  codec: Codec<T>,
  registry: Registry,
): BulkOperations<T> {
  const { backend, plainIds, emit, time, tokens } = settings;
  const { accessTo, fields, read, toSession } = storage;
  const { indexes, leave, lookUp } = registry;

  const tokenless = (key: string): ParsedToken => ({ key, id: tokens.idOf(key), verifier: null });

  /**
   * Visits an index page by page, from the earliest member to the latest. Each page is an operation with a timeout of its
   * own. Pages continue after the last score, so removed members do not shift the others.
   *
   * @param visit Returns whether to continue with the next page.
   */
  async function eachPage(
    action: string,
    entry: string,
    signal: AbortSignal | undefined,
    visit: (step: Step, page: IndexPage) => Promise<boolean>,
  ): Promise<void> {
    let after = 0;
    for (let more = true; more; ) {
      more = await run(action, null, signal, async (step) => {
        const page = await registry.page(step, entry, after);
        after = page.members.at(-1)?.score ?? after;
        return (await visit(step, page)) && page.members.length === MEMBERS_PER_PAGE;
      });
    }
  }

  /** Visits the live sessions of an index page by page. */
  async function eachLive(
    action: string,
    by: unknown,
    options: CallOptions | undefined,
    wanted: readonly string[] | null,
    visit: (step: Step, live: readonly Sighting[], entry: string) => Promise<boolean>,
  ): Promise<void> {
    const entry = indexes.queriedEntry(by);
    await eachPage(action, entry, options?.signal, async (step, page) => {
      const seen = await lookUp(step, entry, page.members, page.at, wanted);
      const live = seen.filter((one) => one.live);
      return await visit(step, live, entry);
    });
  }

  async function sessionAt(step: Step, key: string, record: StoredSession | null): Promise<Session<T> | null> {
    const target = { ...tokenless(key), step };
    return await orReport(target.id, async () => toSession(target, record ?? (await read(target, false))));
  }

  async function updateOne(step: Step, key: string, entry: string, patch: PatchInput<T>): Promise<boolean> {
    const target = { ...tokenless(key), step };
    const patchOf = (data: Readonly<T>, record: StoredSession) => {
      if (!indexEntries(record).includes(entry)) return null;
      return typeof patch === "function" ? patch(data) : patch;
    };
    const untouched = { set: {}, remove: [], touch: false };
    return (await orReport(target.id, () => compareAndSet(target, patchOf, untouched))) !== null;
  }

  return {
    async revoke(id, options) {
      const action = "revoke a session";
      if (plainIds) throw new TypeError(`Cannot ${action} by its ID as the option plainIds is true: use destroy`);
      if (typeof id !== "string" || !tokens.isKey(id)) return false;
      const ending = run(action, id, options?.signal, async (step) => {
        const ended = await step("writes", () => backend.remove(id, accessTo(tokenless(id))));
        if (ended === null || isReused(ended)) return false;
        emit({ type: "revoked", id, at: new Date(time()), reason: "id" });
        registry.forget(id, indexEntries(ended));
        return true;
      });
      return await ending.finally(noteChange);
    },

    async revokeAll(by, options) {
      const entry = indexes.queriedEntry(by);
      let count = 0;
      const ending = eachPage("revoke sessions", entry, options?.signal, async (step, page) => {
        const others = page.members.filter(({ key }) => key !== options?.except?.id);
        const found = await Promise.all(
          others.map((member) => {
            const tombstoneMs = registry.isPending(member, page.at) ? MIN_PRUNE_AGE_MS : 0;
            return step("writes", () => backend.revoke(member.key, entry, tombstoneMs, time()));
          }),
        );
        const leaving = others.filter((member, at) => {
          const ended = found[at];
          if (typeof ended !== "object") return !registry.isPending(member, page.at);
          count++;
          emit({ type: "revoked", id: member.key, at: new Date(time()), reason: "index" });
          const elsewhere = indexEntries(ended).filter((other) => other !== entry);
          registry.forget(member.key, elsewhere);
          return true;
        });
        await leave(step, entry, leaving);
        return true;
      });
      await ending.finally(noteChange);
      return count;
    },

    async updateAll(by, patch, options) {
      if (typeof patch !== "function") codec.encodePatch(patch);
      let count = 0;
      const updating = eachLive("update sessions", by, options, [], async (step, live, entry) => {
        const updated = await Promise.all(live.map(({ member }) => updateOne(step, member.key, entry, patch)));
        count += updated.filter(Boolean).length;
        return true;
      });
      await updating.finally(noteChange);
      return count;
    },

    async list(by, options) {
      const action = "list sessions";
      const limit = options?.limit ?? Number.MAX_SAFE_INTEGER;
      wholeNumber(action, "limit", limit, 1, Number.MAX_SAFE_INTEGER);
      const sessions: Session<T>[] = [];
      await eachLive(action, by, options, fields, async (step, live) => {
        const read = await Promise.all(live.map(({ member, record }) => sessionAt(step, member.key, record)));
        sessions.push(...read.filter((session) => session !== null));
        return sessions.length < limit;
      });
      return sessions.slice(0, limit);
    },

    async count(by, options) {
      let count = 0;
      await eachLive("count sessions", by, options, [], async (_, live) => {
        count += live.length;
        return true;
      });
      return count;
    },

    async *scan({ signal } = {}) {
      const action = "scan sessions";
      const pages = backend.keys()[Symbol.asyncIterator]();
      const seen = new Set<string>();
      try {
        for (;;) {
          const page = await run(action, null, signal, (step) => step("reads", () => pages.next()));
          if (page.done) return;
          const keys = page.value.filter((key) => tokens.isKey(key) && !seen.has(key));
          for (const key of keys) seen.add(key);
          const sessions = await run(action, null, signal, (step) =>
            Promise.all(keys.map((key) => sessionAt(step, key, null))),
          );
          for (const session of sessions) if (session !== null) yield session;
        }
      } finally {
        // Not awaited, because `return` of a generator waits for its pending page, which may never come.
        Promise.resolve(pages.return?.()).catch(() => {});
      }
    },
  };
}
