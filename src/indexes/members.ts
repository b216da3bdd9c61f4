import {
  type EnteredPage,
  type IndexPage,
  type IndexSample,
  type Member,
  MIN_PRUNE_AGE,
  type SessionBackend,
} from "../backend.ts";
import type { Access } from "../base/access.ts";
import type { Step } from "../base/step.ts";
import { SessionBackendError } from "../errors.ts";
import { indexEntries, type StoredSession } from "../record.ts";
import type { SessionEvent } from "../store-options.ts";
import type { Indexes } from "./declarations.ts";

/** The parts of a store that its indexes use. */
export interface Context {
  readonly backend: SessionBackend;
  /** Returns the current time in Unix milliseconds. */
  time(): number;
  emit(event: SessionEvent): void;
}

/** The maximum time between entering an index and writing the session; the upper bound of `operationTimeout`. */
export const MAX_WRITE_DELAY_MS = 30_000;
/** How much longer an index lives than it must, because the clocks of servers may differ. */
const MARGIN_MS = 60_000;
/** The number of members in a page of an index. */
const MEMBERS_PER_PAGE = 500;

/** A member of an index whose session exists or may still be written. */
export interface Sighting {
  readonly member: Member;
  /** Whether the session exists. `false` if it may still be written. */
  readonly live: boolean;
  /** The stored session; `null` if it does not exist yet or cannot be read. */
  readonly record: StoredSession | null;
}

/** Runs steps in the background, outside the timeout of an operation. */
const APART: Step = (_, call) => call();

type Leaving = Parameters<SessionBackend["leave"]>[1];

/** The result of entering a key into its index entries. */
export interface Entered {
  /** The time until which the indexes are known to hold the session, in Unix milliseconds of the backend's clock. */
  readonly covered: number;
  /** The last moment at which the session may be written, in Unix milliseconds of the backend's clock. */
  readonly notAfter: number;
  /** One page for each entry, in the same order. */
  readonly pages: readonly EnteredPage[];
  /**
   * Takes back what `enter` added, after the session was not written. A key that was in an index before stays there: another
   * call may be moving the session to the same value, and rely on it.
   */
  withdraw(step?: Step): Promise<void>;
}

/** A page of an index. Pages continue after the last score, so members that leave meanwhile do not shift the others. */
export interface Page extends IndexPage {
  /** The score after which the next page begins; `null` if this is the last page. */
  readonly next: number | null;
}

/** Reads and changes the indexes of one store, as steps of an operation. */
export interface Registry {
  readonly indexes: Indexes;
  /**
   * Enters a key into index entries before its session is written. Also checks a few other members in the background and
   * removes stale ones, so that an index that is never listed stays small.
   *
   * @param coverMs How long the indexes must hold the session, in milliseconds.
   * @param count Returns how many of the earliest members of an entry to return; default 0.
   */
  enter(
    step: Step,
    key: string,
    entries: readonly string[],
    coverMs: number,
    count?: (entry: string) => number,
  ): Promise<Entered>;
  /**
   * Lets the indexes of a session live longer, and enters it into those that have lost it.
   *
   * @returns The time until which they are known to hold the session, in Unix milliseconds of the backend's clock, and whether
   * one of them had lost it.
   */
  extend(
    step: Step,
    key: string,
    entries: readonly string[],
    coverMs: number,
  ): Promise<{ readonly covered: number; readonly wasLost: boolean }>;
  /** Reads the members with a score above `after`, at most `count`; default: as many as a page has. */
  page(step: Step, entry: string, after: number, count?: number): Promise<Page>;
  /** Looks up the sessions of index members, and removes the members whose session does not exist any more. */
  lookUp(
    step: Step,
    entry: string,
    members: readonly Member[],
    at: number,
    fields: readonly string[] | null,
  ): Promise<Sighting[]>;
  /** Removes members from an index entry. */
  leave(step: Step, entry: string, members: Leaving): Promise<void>;
  /** Whether the member was entered so recently that its session may still be written. */
  isPending(member: Member, at: number): boolean;
  /** Removes the key of an ended session from index entries, in the background. */
  forget(key: string, entries: readonly string[]): void;
}

export function createRegistry({ backend, emit, time }: Context, indexes: Indexes): Registry {
  let isPolicyKnown = false;

  /** Reports a policy by which the backend may remove indexes, in the background. */
  async function reportPolicy(): Promise<void> {
    if (isPolicyKnown) return;
    isPolicyKnown = true;
    const policy = (await backend.evictionPolicy?.()) ?? null;
    if (policy !== null) emit({ type: "indexes-evictable", id: null, at: new Date(time()), policy });
  }

  const isPending = (member: Member, at: number): boolean => at - member.score / 1000 < MIN_PRUNE_AGE;

  async function leave(step: Step, entry: string, members: Leaving): Promise<void> {
    if (members.length > 0) await step("writes", () => backend.leave(entry, members, time()));
  }

  /** Removes members in the background. If this fails, the members stay as stale entries, which are pruned later. */
  function forgetMembers(entry: string, members: Leaving): void {
    leave(APART, entry, members).catch(() => {});
  }

  function lookAfter(entry: string, { sample, at }: IndexSample): void {
    const old = sample.filter((member) => !isPending(member, at));
    lookUp(APART, entry, old, at, []).catch(() => {}); // Best effort: the next `enter` tries again.
  }

  const lookUp: Registry["lookUp"] = async (step, entry, members, at, fields) => {
    const access: Access = { verifier: null, previous: true, now: time() };
    const gone: Member[] = [];
    const seen = await Promise.all(
      members.map(async (member): Promise<Sighting | null> => {
        const found = await step("reads", () => backend.read(member.key, access, { fields }));
        if (found === "invalid") return { member, live: true, record: null };
        const live = found !== null && typeof found !== "string" && indexEntries(found).includes(entry);
        if (live) return { member, live, record: found };
        if (isPending(member, at)) return { member, live, record: null };
        gone.push(member);
        return null;
      }),
    );
    forgetMembers(entry, gone);
    return seen.filter((one) => one !== null);
  };

  return {
    indexes,
    isPending,
    leave,
    lookUp,

    async enter(step, key, entries, coverMs, count = () => 0) {
      const entered: { readonly entry: string; readonly score: number }[] = [];
      const withdraw = async (leaving = APART): Promise<void> => {
        await Promise.all(entered.map(({ entry, score }) => leave(leaving, entry, [{ key, score }])));
      };
      const enterOne = async (entry: string): Promise<EnteredPage> => {
        const page = await step("writes", () => backend.enter(entry, key, coverMs + MARGIN_MS, count(entry), time()));
        if (page.isNew) entered.push({ entry, score: page.score });
        lookAfter(entry, page);
        return page;
      };
      const entering = entries.map(enterOne);
      try {
        const pages = await Promise.all(entering);
        const at = earliest(pages);
        if (entries.length > 0) reportPolicy().catch(() => {}); // The account may not be allowed to ask.
        return { pages, covered: at + coverMs, notAfter: at + MAX_WRITE_DELAY_MS, withdraw };
      } catch (error) {
        await Promise.allSettled(entering);
        withdraw().catch(() => {});
        throw error;
      }
    },

    async extend(step, key, entries, coverMs) {
      const extendOne = async (entry: string): Promise<IndexSample> => {
        const one = await step("writes", () => backend.extend(entry, key, coverMs + MARGIN_MS, time()));
        lookAfter(entry, one);
        return one;
      };
      const answers = await Promise.all(entries.map(extendOne));
      return { covered: earliest(answers) + coverMs, wasLost: answers.some(({ isNew }) => isNew) };
    },

    async page(step, entry, after, count = MEMBERS_PER_PAGE) {
      const page = await step("reads", () => backend.page(entry, after, count, time()));
      const last = page.members.at(-1);
      // Otherwise a pass over the index would never end.
      if (last !== undefined && !(last.score > after)) throw repeated();
      return { ...page, next: last === undefined || page.members.length < count ? null : last.score };
    },

    forget(key, entries) {
      // IDs are never used again, so the member can be removed whatever its score is.
      for (const entry of entries) forgetMembers(entry, [{ key, score: null }]);
    },
  };
}

function repeated(): SessionBackendError {
  const message = "Cannot read an index as the backend returned the same page again";
  return new SessionBackendError(message, { reason: "unavailable", outcome: "not-applied" });
}

/** Returns the earliest time of several answers: the servers of a cluster answer at different times. */
function earliest(answers: readonly IndexSample[]): number {
  return Math.min(...answers.map(({ at }) => at));
}
