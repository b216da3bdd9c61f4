import type { EnteredPage, IndexPage, Member, SessionBackend } from "../backend.ts";
import type { Step } from "../base/step.ts";
import { type Access, indexEntries, type StoredSession } from "../record.ts";
import type { SessionEvent } from "../store-options.ts";
import type { Indexes } from "./declarations.ts";

/** What indexes need to know of their store. */
export interface Context {
  readonly backend: SessionBackend;
  /** Unix milliseconds. */
  time(): number;
  emit(event: SessionEvent): void;
}

/** For how long after it entered an operation may write a session; `operationTimeoutMs` is at most this. */
const MAX_WRITE_DELAY_MS = 30_000;
/**
 * For how long a member without a session may still get one: the time to write, and as much again for what the clocks
 * of different servers differ by.
 */
export const MIN_PRUNE_AGE_MS = 60_000;
/** Members of a page. */
export const MEMBERS_PER_PAGE = 500;

/** A member of an index whose session exists, or may still be written. */
export interface Sighting {
  readonly member: Member;
  /** Is there a session under this entry, or may there only be one soon? */
  readonly live: boolean;
  /** `null` if it is not live, or cannot be read. */
  readonly record: StoredSession | null;
}

/** Steps that no operation waits for. */
const APART: Step = (_, call) => call();

type Leaving = Parameters<SessionBackend["leave"]>[1];

/** The result of entering a key under some entries. */
interface Entered {
  /** Until when the session may be written, by the backend's clock. */
  readonly notAfter: number;
  /** Of each entry. */
  readonly pages: readonly EnteredPage[];
}

/** The indexes of one store, as steps of an operation. */
export interface Registry {
  readonly indexes: Indexes;
  /**
   * Enters a key, before its session is written. On the way it looks after some other members, without keeping anybody
   * waiting, so that an index that nobody lists does not grow for ever.
   *
   * @param lifeMs What that has left.
   * @param count How many of the earliest members to bring along for an entry; default none.
   */
  enter(
    step: Step,
    key: string,
    entries: readonly string[],
    lifeMs: number,
    count?: (entry: string) => number,
  ): Promise<Entered>;
  page(step: Step, entry: string, after: number): Promise<IndexPage>;
  /** Looks up the sessions of these members, and forgets those whose session has ended for good. */
  lookUp(
    step: Step,
    entry: string,
    members: readonly Member[],
    at: number,
    fields: readonly string[] | null,
  ): Promise<Sighting[]>;
  leave(step: Step, entry: string, members: Leaving): Promise<void>;
  /** Was the member entered so lately that its session may still be written? */
  isPending(member: Member, at: number): boolean;
  /** Takes the key of a session that ended out of indexes, without keeping anybody waiting. */
  forget(key: string, entries: readonly string[]): void;
}

export function createRegistry({ backend, time }: Context, indexes: Indexes): Registry {
  const isPending = (member: Member, at: number): boolean => at - member.score / 1000 < MIN_PRUNE_AGE_MS;

  async function leave(step: Step, entry: string, members: Leaving): Promise<void> {
    if (members.length > 0) await step("writes", () => backend.leave(entry, members, time()));
  }

  /** Takes members out of an index, without keeping anybody waiting. What fails here is pruned some day. */
  function forgetMembers(entry: string, members: Leaving): void {
    leave(APART, entry, members).catch(() => {});
  }

  function lookAfter(entry: string, { sample, at }: EnteredPage): void {
    const old = sample.filter((member) => !isPending(member, at));
    lookUp(APART, entry, old, at, []).catch(() => {}); // Whoever comes next may succeed.
  }

  const lookUp: Registry["lookUp"] = async (step, entry, members, at, fields) => {
    const access: Access = { verifier: null, previous: true, now: time() };
    const gone: Member[] = [];
    const seen = await Promise.all(
      members.map(async (member): Promise<Sighting | null> => {
        const found = await step("reads", () => backend.read(member.key, access, { touch: false, fields }));
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

    async enter(step, key, entries, lifeMs, count = () => 0) {
      const enterOne = (entry: string) => () =>
        backend.enter(entry, key, lifeMs + MIN_PRUNE_AGE_MS, count(entry), time());
      const pages = await Promise.all(entries.map((entry) => step("writes", enterOne(entry))));
      entries.forEach((entry, at) => {
        lookAfter(entry, pages[at] as EnteredPage);
      });
      return { pages, notAfter: Math.min(...pages.map(({ at }) => at)) + MAX_WRITE_DELAY_MS };
    },

    async page(step, entry, after) {
      return await step("reads", () => backend.page(entry, after, MEMBERS_PER_PAGE, time()));
    },

    forget(key, entries) {
      // An id never comes back, so whatever score it has by now may go.
      for (const entry of entries) forgetMembers(entry, [{ key, score: null }]);
    },
  };
}
