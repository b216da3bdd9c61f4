import { noteChange } from "../base/changes.ts";
import { callOptions, wholeNumber } from "../base/checks.ts";
import type { Step } from "../base/step.ts";
import { refuseToken } from "../base/token.ts";
import type { CallOptions } from "../call-options.ts";
import type { PatchInput } from "../data.ts";
import { cursorAfter, scoreAt } from "../indexes/cursors.ts";
import type { Page, Registry, Sighting } from "../indexes/members.ts";
import { indexEntries, reserved, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { Session, SessionStore } from "../session.ts";
import type { Decoder } from "./decoding.ts";
import type { IndexValues } from "./index-values.ts";
import { type PatchWriter, UNCHANGED } from "./patches.ts";
import type { Runner } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";
import { allCounted, keyPages, type Tally, visitIndex } from "./walk.ts";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** Creates the methods of a store that find sessions by ID, by index or by a walk instead of by token. */
export function bulkOperations<T>(
  settings: Settings,
  runner: Runner,
  { fields, read, shortened }: Storage,
  { toSession }: Decoder<T>,
  { compareAndSet }: PatchWriter<T>,
  codec: Codec<T>,
  values: IndexValues,
  registry: Registry,
): Pick<SessionStore<T, never, string>, "find" | "updateAll" | "list" | "count" | "scan"> {
  const { plainIds, tokens } = settings;
  const { ofKey, orReport, run } = runner;
  const { indexes } = registry;

  /** Returns the live sessions among the members of a page. Data that cannot be read counts as having the index value. */
  async function liveIn(
    step: Step,
    entry: string,
    { members, at }: Pick<Page, "members" | "at">,
    wanted: readonly string[] | null,
  ): Promise<Sighting[]> {
    const seen = await registry.lookUp(step, entry, members, at, wanted);
    return seen.flatMap((one) => {
      if (!one.live || values.has(entry, one.record) === false) return [];
      const record = one.record && shortened(one.record);
      const hasEnded = record !== one.record && Number(record?.[reserved.deadline]) <= at;
      return hasEnded ? [] : [{ ...one, record }];
    });
  }

  /** Visits the live sessions of an index page by page, with the field that the index is built from. */
  async function eachLive(
    action: string,
    by: unknown,
    options: CallOptions | undefined,
    tally: Tally,
    visit: (step: Step, live: readonly Sighting[], entry: string) => Promise<void>,
  ): Promise<void> {
    const { signal } = callOptions(action, options);
    const entry = indexes.queriedEntry(by);
    const source = [indexes.sourceOf(entry)];
    await visitIndex(action, runner, registry, entry, signal, tally, async (step, page) => {
      await visit(step, await liveIn(step, entry, page, source), entry);
    });
  }

  async function sessionAt(step: Step, key: string, record: StoredSession | null): Promise<Session<T> | null> {
    const target = ofKey(key, step);
    return await orReport(target.id, async () => toSession(target, record ?? (await read(target))));
  }

  async function updateOne(step: Step, key: string, entry: string, patch: PatchInput<T>): Promise<boolean> {
    const target = ofKey(key, step);
    const patchOf = (data: Readonly<T>, record: StoredSession) => {
      if (!indexEntries(record).includes(entry) || values.has(entry, record) === false) return UNCHANGED;
      return typeof patch === "function" ? patch(data) : patch;
    };
    const untouched = { set: {}, remove: [], touch: false };
    return (await orReport(target.id, () => compareAndSet(target, patchOf, untouched))) !== null;
  }

  return {
    async find(id, options) {
      const action = "find a session";
      const { signal } = callOptions(action, options);
      if (plainIds) throw new TypeError(`Cannot ${action} by its ID as the option plainIds is true: use peek`);
      refuseToken(action, id);
      if (typeof id !== "string" || !tokens.isKey(id)) return null;
      return await run(action, id, signal, async (step) => {
        const target = ofKey(id, step);
        return toSession(target, await read(target));
      });
    },

    async updateAll(by, patch, options) {
      if (typeof patch !== "function") codec.encodePatch(patch);
      const tally = { done: 0 };
      const updateLive = async (step: Step, live: readonly Sighting[], entry: string): Promise<void> => {
        const updating = live.map(async ({ member }) => {
          if (await updateOne(step, member.key, entry, patch)) tally.done++;
        });
        await allCounted(updating);
      };
      await eachLive("update sessions", by, options, tally, updateLive).finally(noteChange);
      return tally.done;
    },

    async list(by, options) {
      const action = "list sessions";
      const { limit = DEFAULT_LIMIT, cursor, signal } = callOptions(action, options, ["limit", "cursor", "signal"]);
      wholeNumber(action, "limit", limit, 1, MAX_LIMIT);
      const entry = indexes.queriedEntry(by);
      const after = scoreAt(action, entry, cursor);
      return await run(action, null, signal, async (step) => {
        // One more than asked for, which tells whether another page follows.
        const page = await registry.page(step, entry, after, limit + 1);
        const members = page.members.slice(0, limit);
        const live = await liveIn(step, entry, { ...page, members }, fields);
        const sessions = await Promise.all(live.map(({ member, record }) => sessionAt(step, member.key, record)));
        const last = page.members.length > limit ? members.at(-1) : undefined;
        return {
          sessions: sessions.filter((session) => session !== null),
          cursor: last === undefined ? null : cursorAfter(entry, last.score),
        };
      });
    },

    async count(by, options) {
      let count = 0;
      await eachLive("count sessions", by, options, { done: 0 }, async (_, live) => {
        count += live.length;
      });
      return count;
    },

    async *scan(options) {
      const action = "scan sessions";
      const { signal } = callOptions(action, options);
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
  };
}
