import type { IndexPage, Member, SessionBackend } from "./backend.ts";
import type { Step } from "./deadline.ts";
import { SessionConflictError } from "./errors.ts";
import { goneOf, PAGE, type Registry, type Sighting } from "./registry.ts";
import type { Settings } from "./settings.ts";
import type { SessionLimit } from "./store-options.ts";

type Inserted = Awaited<ReturnType<SessionBackend["insert"]>>;

/** Members that an `enter` brings along: the two oldest, which every create looks after, or enough to show who is there. */
const BESIDE = 2;
const AT_LIMIT = 256;

/** Writes new sessions under their index entries, within the limits of these. */
export interface Limits {
  /**
   * @param lifeMs What the session has until its deadline.
   * @param write Writes it, by the given time of the backend's clock.
   * @throws {SessionConflictError} `limit`.
   */
  insert(
    step: Step,
    key: string,
    entries: readonly string[],
    lifeMs: number,
    write: (notAfter?: number) => Promise<Inserted>,
  ): Promise<Inserted>;
}

/** An entry that has more members than it may have sessions. */
interface Full {
  readonly entry: string;
  readonly max: number;
  readonly whenFull: SessionLimit["whenFull"];
  /** The earliest members, this session's own aside. */
  readonly others: readonly Member[];
  readonly page: IndexPage;
}

export function limitsOf(settings: Settings, registry: Registry): Limits {
  const { backend, emit, time, tokens } = settings;
  const { indexes, look, leave } = registry;

  /** Who is under an entry by now; what is gone is dropped. */
  async function census(step: Step, entry: string): Promise<Sighting[]> {
    const there: Sighting[] = [];
    for (let after = 0; ; ) {
      const page = await registry.page(step, entry, after);
      const seen = await look(step, entry, page.members, page.at, []);
      await leave(step, entry, goneOf(seen));
      there.push(...seen.filter(({ state }) => state !== "gone"));
      const last = page.members.at(-1);
      if (last === undefined || page.members.length < PAGE) return there;
      after = last.score;
    }
  }

  /** An older one that may still be written takes a place: so of any number at once exactly `max` are let in. */
  async function refuse(step: Step, key: string, { entry, max, others, page }: Full): Promise<void> {
    const partly = page.size > others.length + 1;
    const there = partly ? await census(step, entry) : await look(step, entry, others, page.at, []);
    const own = there.findIndex(({ member }) => member.key === key);
    const older = there.slice(0, own === -1 ? there.length : own).filter(({ state }) => state !== "gone");
    if (older.length < max) return;
    await registry.leave(step, entry, [{ key, score: null }]);
    throw new SessionConflictError("Cannot create a session as an index value has as many as it may", "limit");
  }

  async function evict(step: Step, entry: string, seen: readonly Sighting[], excess: number): Promise<void> {
    const oldest = seen.filter(({ state }) => state === "live").slice(0, Math.max(excess, 0));
    await Promise.all(
      oldest.map(async ({ member }) => {
        const found = await step("writes", () => backend.revoke(member.key, entry, 0, time()));
        if (found !== "ended") return;
        emit({ type: "revoked", id: tokens.idOf(member.key), at: new Date(time()), reason: "limit" });
        registry.forget(member.key, [entry]);
      }),
    );
  }

  const liveIn = (seen: readonly Sighting[]): number => seen.filter(({ state }) => state === "live").length;

  /**
   * Once this session is written. Whoever was being written at the same time may not have been seen, or may not have seen
   * this one: then all are counted again, and the last of them to do so sees all.
   */
  async function makeRoom(step: Step, { entry, max, page }: Full, seen: readonly Sighting[]): Promise<void> {
    const [newest] = await Promise.all([
      registry.page(step, entry, page.members.at(-1)?.score ?? 0),
      evict(step, entry, seen, liveIn(seen) + 1 - max),
    ]);
    const alone = newest.members.length === 0 && seen.every(({ state }) => state !== "pending");
    if (alone && page.size === page.members.length) return;
    const all = await census(step, entry);
    await evict(step, entry, all, liveIn(all) - max);
  }

  return {
    async insert(step, key, entries, lifeMs, write) {
      if (entries.length === 0) return await write();
      const limited = entries.some((entry) => indexes.limitOf(entry) !== null);
      const { notAfter, pages } = await registry.enter(step, key, entries, lifeMs, limited ? AT_LIMIT : BESIDE);
      const full: Full[] = [];
      entries.forEach((entry, at) => {
        const page = pages[at] as IndexPage;
        const others = page.members.filter((member) => member.key !== key);
        const limit = indexes.limitOf(entry);
        if (limit !== null && page.size > limit.max) full.push({ entry, ...limit, others, page });
        else registry.tidy(entry, others.slice(0, BESIDE), page.at);
      });
      await Promise.all(full.filter(({ whenFull }) => whenFull === "reject").map((one) => refuse(step, key, one)));
      const evicting = full.filter(({ whenFull }) => whenFull === "evict-oldest");
      const [inserted, ...seen] = await Promise.all([
        write(notAfter),
        ...evicting.map(({ entry, others, page }) => look(step, entry, others, page.at, [])),
      ]);
      if (inserted !== "inserted") return inserted;
      await Promise.all(evicting.map((one, at) => makeRoom(step, one, seen[at] ?? [])));
      return inserted;
    },
  };
}
