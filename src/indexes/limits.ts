import type { IndexPage, Member } from "../backend.ts";
import { asUnknown, type Step } from "../base/step.ts";
import { SessionBackendError, SessionConflictError } from "../errors.ts";
import { indexEntries } from "../record.ts";
import type { SessionLimit } from "../store-options.ts";
import { indexName } from "./declarations.ts";
import { type Context, type Entered, MEMBERS_PER_PAGE, type Registry, type Sighting } from "./members.ts";

/** The number of members that `enter` returns for an index with a limit. Above it, the limit costs more round trips. */
export const AT_LIMIT = 256;

/** The write of a session that gets new index entries. */
export interface IndexedWrite<R> {
  /** Completes "Cannot <action> as ..." in the error message. */
  readonly action: string;
  readonly key: string;
  /** The entries that the session does not have yet. */
  readonly entries: readonly string[];
  /** How long the indexes must hold the session, in milliseconds. */
  readonly coverMs: number;
  /** Whether limits apply; default true. */
  readonly isLimited?: boolean | undefined;
  /** Returns the key of the session that this one replaces, which does not count; `null` if there is none. */
  readonly replaced?: (() => Promise<string | null>) | undefined;
  /**
   * Writes the session.
   *
   * @param entered Until when the write is allowed and the indexes hold the session. Absent without new entries.
   */
  write(entered?: Pick<Entered, "covered" | "notAfter">): Promise<R>;
  /** Whether the write took effect. */
  isWritten(result: R): boolean;
}

/**
 * Enters a session into new index entries and writes it, within the limits of the indexes.
 *
 * @throws {SessionConflictError} With the reason `limit`, if an index with a `reject` limit is full.
 */
export type LimitedWrite = <R>(step: Step, write: IndexedWrite<R>) => Promise<R>;

/** The state of an index entry with a limit at the moment the new session entered it. */
interface Limited extends SessionLimit {
  readonly entry: string;
  readonly page: IndexPage;
  /** Whether the entry has more members than the limit allows. */
  readonly full: boolean;
  /** The earliest members of a full entry, without the new session and the one it replaces. */
  readonly others: readonly Member[];
  /** The key of the session that does not count. */
  readonly replaced: string | null;
}

export function createLimitedWrite({ backend, emit, time }: Context, registry: Registry): LimitedWrite {
  const { indexes, lookUp } = registry;

  /** Lists all sessions in the index entry that count, and removes stale members. */
  async function census(step: Step, { entry, replaced }: Limited): Promise<Sighting[]> {
    const there: Sighting[] = [];
    for (let after = 0; ; ) {
      const page = await registry.page(step, entry, after);
      const counting = page.members.filter(({ key }) => key !== replaced);
      there.push(...(await lookUp(step, entry, counting, page.at, [])));
      const last = page.members.at(-1);
      if (last === undefined || page.members.length < MEMBERS_PER_PAGE) return there;
      after = last.score;
    }
  }

  /**
   * Whether the new session is among the first `max` members. Older members that may still be written count, so that
   * parallel calls create exactly `max` sessions.
   */
  async function hasRoom(step: Step, key: string, limited: Limited): Promise<boolean> {
    const { entry, max, others, page } = limited;
    const partly = page.size > page.members.length;
    const there = partly ? await census(step, limited) : await lookUp(step, entry, others, page.at, []);
    const own = there.findIndex(({ member }) => member.key === key);
    return (own === -1 ? there.length : own) < max;
  }

  async function evict(step: Step, entry: string, seen: readonly Sighting[], excess: number): Promise<void> {
    const oldest = seen.filter(({ live }) => live).slice(0, Math.max(excess, 0));
    await Promise.all(
      oldest.map(async ({ member }) => {
        const ending = { id: member.key, cause: "limit" } as const;
        const found = await step("writes", () => backend.revoke(member.key, entry, ending, 0, time()));
        if (typeof found !== "object") return;
        emit({ type: "revoked", id: member.key, at: new Date(time()), reason: "limit" });
        registry.forget(member.key, indexEntries(found));
      }),
    );
  }

  const liveIn = (seen: readonly Sighting[]): number => seen.filter(({ live }) => live).length;

  /**
   * Evicts the oldest sessions after the new one was written. Parallel calls may not have seen each other's sessions, so
   * the sessions are counted again if others entered or may still be written. The last call to count sees all of them.
   */
  async function makeRoom(step: Step, limited: Limited, looking: Promise<readonly Sighting[]>): Promise<void> {
    const { entry, max, page } = limited;
    const seen = await looking;
    const [newest] = await Promise.all([
      registry.page(step, entry, page.members.at(-1)?.score ?? 0),
      evict(step, entry, seen, liveIn(seen) + 1 - max),
    ]);
    if (newest.size <= max) return;
    if (newest.members.length === 0 && seen.every(({ live }) => live)) return;
    const all = await census(step, limited);
    await evict(step, entry, all, liveIn(all) - max);
  }

  /** Enters the session into its index entries. Withdraws it again if a limit rejects it. */
  async function admit<R>(step: Step, write: IndexedWrite<R>): Promise<Entered & { limited: readonly Limited[] }> {
    const { action, key, entries, coverMs, isLimited = true, replaced } = write;
    const limitOf = (entry: string) => (isLimited ? indexes.limitOf(entry) : null);
    const isAnyLimited = entries.some((entry) => limitOf(entry) !== null);
    const count = (entry: string) => (limitOf(entry) === null ? 0 : AT_LIMIT);
    const entering = registry.enter(step, key, entries, coverMs, count);
    try {
      const looking = isAnyLimited && replaced !== undefined ? replaced() : null;
      const [entered, old] = await Promise.all([entering, looking]);
      const limited = entries.flatMap((entry, at): Limited[] => {
        const page = entered.pages[at];
        const limit = limitOf(entry);
        if (limit === null || page === undefined) return [];
        const full = page.size > limit.max;
        const others = page.members.filter((one) => full && one.key !== key && one.key !== old);
        return [{ entry, ...limit, page, full, others, replaced: old }];
      });
      const rejecting = limited.filter(({ full, whenFull }) => full && whenFull === "reject");
      const rooms = await Promise.all(rejecting.map((one) => hasRoom(step, key, one)));
      const rejected = rejecting[rooms.indexOf(false)];
      if (rejected === undefined) return { ...entered, limited };
      await entered.withdraw(step);
      const limit = `the limit of ${rejected.max} sessions for the index "${indexName(rejected.entry)}"`;
      throw new SessionConflictError(`Cannot ${action} as ${limit} is reached`, { reason: "limit" });
    } catch (error) {
      const isFailure = !(error instanceof SessionConflictError);
      if (isFailure) entering.then(({ withdraw }) => withdraw()).catch(() => {});
      throw error;
    }
  }

  return async (step, indexed) => {
    if (indexed.entries.length === 0) return await indexed.write();
    const { limited, covered, notAfter, withdraw } = await admit(step, indexed);
    const evicting = limited.filter(({ whenFull }) => whenFull === "evict-oldest");
    const writing = indexed.write({ covered, notAfter });
    const looking = evicting.map(({ entry, others, page }) => lookUp(step, entry, others, page.at, []));
    for (const one of looking) one.catch(() => {}); // Awaited only if the session was written.
    const written = await writing.catch((error) => {
      if (error instanceof SessionBackendError && error.outcome === "not-applied") withdraw().catch(() => {});
      throw error;
    });
    if (!indexed.isWritten(written)) {
      withdraw().catch(() => {});
      return written;
    }
    try {
      await Promise.all(evicting.map((one, at) => makeRoom(step, one, looking[at] ?? Promise.resolve([]))));
    } catch (error) {
      throw asUnknown(error);
    }
    return written;
  };
}
