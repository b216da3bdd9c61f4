import type { EnteredPage, IndexPage, Member, SessionBackend } from "../backend.ts";
import type { Step } from "../base/step.ts";
import { SessionConflictError } from "../errors.ts";
import { indexEntries } from "../record.ts";
import type { SessionLimit } from "../store-options.ts";
import { type Context, MEMBERS_PER_PAGE, type Registry, type Sighting } from "./members.ts";

type Inserted = Awaited<ReturnType<SessionBackend["insert"]>>;

/** Members that an `enter` brings along where there is a limit: enough to show who is there. */
export const AT_LIMIT = 256;

/**
 * Writes a new session under its index entries, within the limits of these.
 *
 * @param lifeMs What the session has until its deadline.
 * @param write Writes it, by the given time of the backend's clock.
 * @throws {SessionConflictError} `limit`.
 */
export type LimitedInsert = (
  step: Step,
  key: string,
  entries: readonly string[],
  lifeMs: number,
  write: (notAfter?: number) => Promise<Inserted>,
) => Promise<Inserted>;

/** An entry with a limit, as it was when this session entered. */
interface Limited extends SessionLimit {
  readonly entry: string;
  readonly page: IndexPage;
  /** Has it more members than it may have sessions? */
  readonly full: boolean;
  /** The earliest members of one that is full, this session's own aside. */
  readonly others: readonly Member[];
}

export function createLimitedInsert({ backend, emit, time }: Context, registry: Registry): LimitedInsert {
  const { indexes, leave, lookUp } = registry;

  /** Everything that is under an entry by now. */
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

  /** An older one that may still be written takes a place: so of any number at once exactly `max` are let in. */
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
   * Once this session is written. Whoever was being written at the same time may not have been seen, or may not have seen
   * this one: then all are counted again, and the last of them to do so sees all. So, too, where there was room when this
   * one entered: who came later may have counted before it was written.
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
    if (rooms.includes(false)) {
      // It takes no place anywhere.
      await Promise.all(entries.map((entry) => leave(step, entry, [{ key, score: null }])));
      throw new SessionConflictError("Cannot create a session as an index value has as many as it may", "limit");
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
      // Nobody will receive its token, so it should not hold a place.
      backend.revoke(key, entries[0] as string, 0, time()).catch(() => {});
      throw error;
    }
    return inserted;
  };
}
