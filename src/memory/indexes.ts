import {
  type EnteredPage,
  type IndexPage,
  type IndexSample,
  type Member,
  MIN_PRUNE_AGE,
  type SessionBackend,
} from "../backend.ts";
import { expiringMap, type Timed } from "./expiring-map.ts";

interface Index extends Timed {
  /** The memberships by key, in ascending order of their scores: a key that enters again moves to the end. */
  readonly members: Map<string, Membership>;
  /** Iterates over the members for the samples, and starts again at the end. */
  round: Iterator<Membership>;
  /** The last score of the index. */
  last: number;
  /** Where the last page ended, so that the next one does not start at the first member. */
  cursor: { readonly after: number; readonly rest: Iterator<Membership> } | null;
}

interface Membership extends Member {
  readonly index: Index;
}

/** The maximum number of expired indexes that an `enter` removes. */
const SWEEP = 4;
const SAMPLE = 2;

/** The indexes of the memory backend. */
export interface MemoryIndexes {
  /** Returns the number of members of all indexes. */
  size(): number;
  has(entry: string, key: string, now: number): boolean;
  enter(entry: string, key: string, life: number, count: number, now: number): EnteredPage;
  extend(entry: string, key: string, life: number, now: number): IndexSample;
  page(entry: string, after: number, count: number, now: number): IndexPage;
  leave(...args: Parameters<SessionBackend["leave"]>): void;
  /** Examines the next `most` members of all indexes, and removes those that have had no session for a minute. */
  prune(now: number, most: number): void;
}

/**
 * Creates the indexes of the memory backend.
 *
 * @param hasSession Whether there is a session with this key and index entry.
 */
export function memoryIndexes(hasSession: (key: string, entry: string, now: number) => boolean): MemoryIndexes {
  /** The members of all indexes in the order in which they entered. */
  const all = new Set<Membership>();
  const indexes = expiringMap<Index>(({ members }) => {
    for (const member of members.values()) all.delete(member);
  });
  let round = all.values();
  /** The last score of all entries, so that an index that expired and was created again does not repeat a score. */
  let last = 0;

  function drop(member: Membership): void {
    const { index, key } = member;
    index.members.delete(key);
    all.delete(member);
    if (index.members.size === 0) indexes.remove(index);
  }

  /** Returns the index, which lives at least until `expires`. */
  function indexUntil(expires: number, entry: string, now: number): Index {
    indexes.sweep(now, SWEEP);
    const live = indexes.live(entry, now);
    if (live !== null) {
      live.expires = Math.max(live.expires, expires);
      indexes.moved(live);
      return live;
    }
    const members = new Map<string, Membership>();
    const index = { key: entry, members, round: members.values(), cursor: null, last: 0, expires, at: 0 };
    indexes.add(index);
    return index;
  }

  function add(index: Index, key: string, score: number): void {
    const member = { index, key, score };
    index.members.set(key, member);
    index.last = score;
    all.add(member);
  }

  return {
    size: () => all.size,
    has: (entry, key, now) => indexes.live(entry, now)?.members.has(key) ?? false,

    enter(entry, key, life, count, now) {
      const index = indexUntil(now + life, entry, now);
      const before = index.members.get(key);
      if (before !== undefined) {
        index.members.delete(key);
        all.delete(before);
      }
      last = Math.max(now * 1000, last + 1);
      add(index, key, last);
      const { members } = take(index.members.values(), 0, count);
      const size = index.members.size;
      return { members, size, at: now, sample: sampleOf(index), score: last, isNew: before === undefined };
    },

    extend(entry, key, life, now) {
      const index = indexUntil(now + life, entry, now);
      const isNew = !index.members.has(key);
      if (isNew) add(index, key, Math.max((now - MIN_PRUNE_AGE) * 1000, index.last + 1));
      return { at: now, sample: sampleOf(index), isNew };
    },

    page(entry, after, count, now) {
      const index = indexes.live(entry, now);
      if (index === null) return { members: [], size: 0, at: now };
      const rest = index.cursor?.after === after ? index.cursor.rest : index.members.values();
      const { members, isOver } = take(rest, after, count);
      // An iterator that has reached the end would miss later members.
      index.cursor = isOver ? null : { after: members.at(-1)?.score ?? after, rest };
      return { members, size: index.members.size, at: now };
    },

    leave(entry, members, now) {
      const index = indexes.live(entry, now);
      if (index === null) return;
      for (const { key, score } of members) {
        const member = index.members.get(key);
        if (member !== undefined && (score === null || member.score === score)) drop(member);
      }
    },

    prune(now, most) {
      for (let looked = 0; looked < most; looked++) {
        const next = round.next();
        // Those that follow a young member are almost always younger still.
        if (next.done || now - next.value.score / 1000 < MIN_PRUNE_AGE) {
          round = all.values();
          return;
        }
        if (!hasSession(next.value.key, next.value.index.key, now)) drop(next.value);
      }
    },
  };
}

/** Takes members with a score above `after` from an iterator, at most `count`. */
function take(
  from: Iterator<Membership>,
  after: number,
  count: number,
): { readonly members: readonly Member[]; readonly isOver: boolean } {
  const members: Member[] = [];
  while (members.length < count) {
    const next = from.next();
    if (next.done) return { members, isOver: true };
    const { key, score } = next.value;
    if (score > after) members.push({ key, score });
  }
  return { members, isOver: false };
}

function sampleOf(index: Index): Member[] {
  const members: Member[] = [];
  for (let count = 0; count < Math.min(SAMPLE, index.members.size); count++) {
    let next = index.round.next();
    if (next.done) {
      index.round = index.members.values();
      next = index.round.next();
    }
    if (!next.done) members.push({ key: next.value.key, score: next.value.score });
  }
  return members;
}
