import type { EnteredPage, IndexPage, Member, SessionBackend } from "../backend.ts";
import type { Step } from "../base/step.ts";
import { SessionConflictError } from "../errors.ts";
import { indexEntries } from "../record.ts";
import type { SessionLimit } from "../store-options.ts";
import { indexName } from "./declarations.ts";
import { type Context, MEMBERS_PER_PAGE, type Registry, type Sighting } from "./members.ts";

type Inserted = Awaited<ReturnType<SessionBackend["insert"]>>;

/** The number of members that `enter` returns for an index with a limit. Above it, the limit costs more round trips. */
export const AT_LIMIT = 256;

/**
 * Enters a new session into its index entries and writes it, within the limits of the indexes.
 *
 * @param lifeMs The time until the absolute timeout, in milliseconds.
 * @param write Writes the session, unless the time of the backend is after `notAfter` (Unix milliseconds).
 * @throws {SessionConflictError} With the reason `limit`, if an index with a `reject` limit is full.
 */
export type LimitedInsert = (
  step: Step,
  key: string,
  entries: readonly string[],
  lifeMs: number,
  write: (notAfter?: number) => Promise<Inserted>,
) => Promise<Inserted>;

/** The state of an index entry with a limit at the moment the new session entered it. */
interface Limited extends SessionLimit {
  readonly entry: string;
  readonly page: IndexPage;
  /** Whether the entry has more members than the limit allows. */
  readonly full: boolean;
  /** The earliest members of a full entry, without the new session. */
  readonly others: readonly Member[];
}

export function createLimitedInsert({ backend, emit, time }: Context, registry: Registry): LimitedInsert {
  const { indexes, leave, lookUp } = registry;

  /** Lists all sessions in the index entry and removes stale members. */
  async function census(step: Step, entry: string): Promise<Sighting[]> {
    const there: Sighting[] = [];
    for (let after = 0; ; ) {
      const page = await registry.page(step, entry, after);
      there.push(...(await lookUp(step, entry, page.members, page.at, [])));
      const last = page.members.at(-1);
      if (last === undefined || page.members.length < MEMBERS_PER_PAGE) return there;
      after = last.score;
    }
  }

  /**
   * Whether the new session is among the first `max` members. Older members that may still be written count, so that
   * parallel calls create exactly `max` sessions.
   */
  async function hasRoom(step: Step, key: string, { entry, max, others, page }: Limited): Promise<boolean> {
    const partly = page.size > others.length + 1;
    const there = partly ? await census(step, entry) : await lookUp(step, entry, others, page.at, []);
    const own = there.findIndex(({ member }) => member.key === key);
    return (own === -1 ? there.length : own) < max;
  }

  async function evict(step: Step, entry: string, seen: readonly Sighting[], excess: number): Promise<void> {
    const oldest = seen.filter(({ live }) => live).slice(0, Math.max(excess, 0));
    await Promise.all(
      oldest.map(async ({ member }) => {
        const found = await step("writes", () => backend.revoke(member.key, entry, 0, time()));
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
  async function makeRoom(step: Step, { entry, max, page }: Limited, seen: readonly Sighting[]): Promise<void> {
    const [newest] = await Promise.all([
      registry.page(step, entry, page.members.at(-1)?.score ?? 0),
      evict(step, entry, seen, liveIn(seen) + 1 - max),
    ]);
    if (newest.size <= max) return;
    if (newest.members.length === 0 && seen.every(({ live }) => live)) return;
    const all = await census(step, entry);
    await evict(step, entry, all, liveIn(all) - max);
  }

  return async (step, key, entries, lifeMs, write) => {
    if (entries.length === 0) return await write();
    const count = (entry: string) => (indexes.limitOf(entry) === null ? 0 : AT_LIMIT);
    const { notAfter, pages } = await registry.enter(step, key, entries, lifeMs, count);
    const limited = entries.flatMap((entry, at): Limited[] => {
      const page = pages[at] as EnteredPage;
      const limit = indexes.limitOf(entry);
      if (limit === null) return [];
      const full = page.size > limit.max;
      return [{ entry, ...limit, page, full, others: page.members.filter((one) => full && one.key !== key) }];
    });
    const rejecting = limited.filter(({ full, whenFull }) => full && whenFull === "reject");
    const rooms = await Promise.all(rejecting.map((one) => hasRoom(step, key, one)));
    const rejected = rejecting[rooms.indexOf(false)];
    if (rejected !== undefined) {
      await Promise.all(entries.map((entry) => leave(step, entry, [{ key, score: null }])));
      const limit = `the limit of ${rejected.max} sessions for the index "${indexName(rejected.entry)}"`;
      throw new SessionConflictError(`Cannot create a session as ${limit} is reached`, "limit");
    }
    const evicting = limited.filter(({ whenFull }) => whenFull === "evict-oldest");
    const [inserted, ...seen] = await Promise.all([
      write(notAfter),
      ...evicting.map(({ entry, others, page }) => lookUp(step, entry, others, page.at, [])),
    ]);
    if (inserted !== "inserted") return inserted;
    try {
      await Promise.all(evicting.map((one, at) => makeRoom(step, one, seen[at] ?? [])));
    } catch (error) {
      // The caller does not receive the token, so the session is revoked and does not count toward the limit.
      backend.revoke(key, entries[0] as string, 0, time()).catch(() => {});
      throw error;
    }
    return inserted;
  };
}
