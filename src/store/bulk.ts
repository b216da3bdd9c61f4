import { type IndexPage, type Member, MIN_PRUNE_AGE_MS } from "../backend.ts";
import { noteChange } from "../base/changes.ts";
import { wholeNumber } from "../base/checks.ts";
import type { Step } from "../base/step.ts";
import { refuseToken } from "../base/token.ts";
import type { PatchInput } from "../data.ts";
import { MEMBERS_PER_PAGE, type Registry, type Sighting } from "../indexes/members.ts";
import { indexEntries, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { CallOptions, Session, SessionStore } from "../session.ts";
import type { Decoder } from "./decoding.ts";
import { type PatchWriter, UNCHANGED } from "./patches.ts";
import type { Runner } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";
import { versionOf } from "./upgrade.ts";
import { allCounted, everybody, failedAfter, keyPages, type Tally } from "./walk.ts";

/** The methods of a store that find sessions by ID or by index instead of by token. */
type BulkOperations<T> = Pick<
  SessionStore<T, never, string>,
  "revoke" | "revokeAll" | "revokeEverybody" | "updateAll" | "list" | "count" | "scan"
>;

export function bulkOperations<T>(
  settings: Settings,
  runner: Runner,
  storage: Storage,
  { toSession }: Decoder<T>,
  { compareAndSet }: PatchWriter<T>,
  codec: Codec<T>,
  registry: Registry,
): BulkOperations<T> {
  const { backend, plainIds, emit, time, tokens, version } = settings;
  const { orReport, run } = runner;
  const { accessTo, fields, read } = storage;
  const { indexes, leave, lookUp } = registry;

  /**
   * Visits an index page by page, from the earliest member to the latest. Each page is an operation with a timeout of its
   * own. Pages continue after the last score, so removed members do not shift the others.
   *
   * @param tally Counts the sessions that `visit` has changed.
   * @param visit Returns whether to continue with the next page.
   */
  async function eachPage(
    action: string,
    entry: string,
    signal: AbortSignal | undefined,
    tally: Tally,
    visit: (step: Step, page: IndexPage) => Promise<boolean>,
  ): Promise<void> {
    let after = 0;
    try {
      for (let more = true; more; ) {
        more = await run(action, null, signal, async (step) => {
          const page = await registry.page(step, entry, after);
          after = page.members.at(-1)?.score ?? after;
          return (await visit(step, page)) && page.members.length === MEMBERS_PER_PAGE;
        });
      }
    } catch (error) {
      throw failedAfter(tally, error);
    }
  }

  /**
   * Visits the live sessions of an index page by page.
   *
   * @param wanted The user's fields to read; `undefined` for the one that the index is built from.
   */
  async function eachLive(
    action: string,
    by: unknown,
    options: CallOptions | undefined,
    wanted: readonly string[] | undefined,
    visit: (step: Step, live: readonly Sighting[], entry: string) => Promise<boolean>,
    tally: Tally = { done: 0 },
  ): Promise<void> {
    const entry = indexes.queriedEntry(by);
    await eachPage(action, entry, options?.signal, tally, async (step, page) => {
      const seen = await lookUp(
        step,
        entry,
        page.members,
        page.at,
        wanted === undefined ? [indexes.sourceOf(entry)] : wanted,
      );
      const live = seen.filter((one) => one.live && hasValue(entry, one.record));
      return await visit(step, live, entry);
    });
  }

  /**
   * Whether the data still has the index value. It may have lost it by a version of the application that does not declare the
   * index. Data that cannot be read, or is of another version of the schema, counts as having it.
   */
  function hasValue(entry: string, record: StoredSession | null): boolean {
    if (record === null || versionOf(record) !== version) return true;
    const source = indexes.sourceOf(entry);
    const text = record[source];
    try {
      return indexes.includes(entry, text === undefined ? codec.absent(source) : codec.decodeField(source, text));
    } catch {
      return true;
    }
  }

  async function sessionAt(step: Step, key: string, record: StoredSession | null): Promise<Session<T> | null> {
    const target = { ...tokens.ofKey(key), isInternal: true, step };
    return await orReport(target.id, async () => toSession(target, record ?? (await read(target, false))));
  }

  async function updateOne(step: Step, key: string, entry: string, patch: PatchInput<T>): Promise<boolean> {
    const target = { ...tokens.ofKey(key), isInternal: true, step };
    const patchOf = (data: Readonly<T>, record: StoredSession) => {
      if (!indexEntries(record).includes(entry) || !hasValue(entry, record)) return UNCHANGED;
      return typeof patch === "function" ? patch(data) : patch;
    };
    const untouched = { set: {}, remove: [], touch: false };
    return (await orReport(target.id, () => compareAndSet(target, patchOf, untouched))) !== null;
  }

  return {
    async revoke(id, options) {
      const action = "revoke a session";
      if (plainIds) throw new TypeError(`Cannot ${action} by its ID as the option plainIds is true: use destroy`);
      refuseToken(action, id);
      if (typeof id !== "string" || !tokens.isKey(id)) return false;
      const ending = run(action, id, options?.signal, async (step) => {
        const ended = await step("writes", () => backend.remove(id, accessTo(tokens.ofKey(id))));
        if (ended === null || typeof ended === "string") return false;
        emit({ type: "revoked", id, at: new Date(time()), reason: "id" });
        registry.forget(id, indexEntries(ended));
        return true;
      });
      return await ending.finally(noteChange);
    },

    async revokeAll(by, options) {
      const entry = indexes.queriedEntry(by);
      const tally = { done: 0 };
      const ending = eachPage("revoke sessions", entry, options?.signal, tally, async (step, page) => {
        const others = page.members.filter(({ key }) => key !== options?.except?.id);
        const leaving: Member[] = [];
        const revoking = others.map(async (member) => {
          const isPending = registry.isPending(member, page.at);
          const tombstoneMs = isPending ? MIN_PRUNE_AGE_MS : 0;
          const ended = await step("writes", () => backend.revoke(member.key, entry, tombstoneMs, time()));
          if (typeof ended !== "object") {
            if (!isPending) leaving.push(member);
            return;
          }
          tally.done++;
          leaving.push(member);
          emit({ type: "revoked", id: member.key, at: new Date(time()), reason: "index" });
          const elsewhere = indexEntries(ended).filter((other) => other !== entry);
          registry.forget(member.key, elsewhere);
        });
        await allCounted(revoking);
        await leave(step, entry, leaving);
        return true;
      });
      await ending.finally(noteChange);
      return tally.done;
    },

    async updateAll(by, patch, options) {
      if (typeof patch !== "function") codec.encodePatch(patch);
      const tally = { done: 0 };
      const updateLive = async (step: Step, live: readonly Sighting[], entry: string): Promise<boolean> => {
        const updating = live.map(async ({ member }) => {
          if (await updateOne(step, member.key, entry, patch)) tally.done++;
        });
        await allCounted(updating);
        return true;
      };
      await eachLive("update sessions", by, options, undefined, updateLive, tally).finally(noteChange);
      return tally.done;
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
      await eachLive("count sessions", by, options, undefined, async (_, live) => {
        count += live.length;
        return true;
      });
      return count;
    },

    async *scan({ signal } = {}) {
      const action = "scan sessions";
      const seen = new Set<string>();
      for await (const page of keyPages(action, settings, runner, signal)) {
        const keys = page.filter((key) => !seen.has(key));
        for (const key of keys) seen.add(key);
        const sessions = await run(action, null, signal, (step) =>
          Promise.all(keys.map((key) => sessionAt(step, key, null))),
        );
        for (const session of sessions) if (session !== null) yield session;
      }
    },

    revokeEverybody: everybody(settings, runner, storage, registry),
  };
}
