import type { IndexPage, Member, SessionBackend } from "./backend.ts";
import { expiryQueue, type Timed } from "./expiry-queue.ts";

interface Index extends Timed {
  readonly entry: string;
  /** In the order of their scores, as a key that enters again goes to the end. */
  readonly scores: Map<string, number>;
  /** Goes around the members for the samples. */
  round: Iterator<[string, number]>;
}

/** Indexes that an `enter` looks at to forget those that have ended. */
const SWEEP = 4;
const SAMPLE = 2;

/** The indexes of the memory backend. */
export function memoryIndexes(): {
  enter(entry: string, key: string, lifeMs: number, now: number): readonly Member[];
  page(entry: string, after: number, count: number, now: number): IndexPage;
  leave(...args: Parameters<SessionBackend["leave"]>): void;
} {
  const indexes = new Map<string, Index>();
  const queue = expiryQueue<Index>();
  /** Of all indexes, so that one that ended and came back has no score twice. */
  let last = 0;

  function live(entry: string, now: number): Index | null {
    const index = indexes.get(entry);
    if (index === undefined || now <= index.expires) return index ?? null;
    drop(index);
    return null;
  }

  function drop(index: Index): void {
    queue.remove(index);
    indexes.delete(index.entry);
  }

  return {
    enter(entry, key, lifeMs, now) {
      for (const ended of queue.due(now, SWEEP)) indexes.delete(ended.entry);
      let index = live(entry, now);
      if (index === null) {
        const scores = new Map<string, number>();
        index = { entry, scores, round: scores.entries(), expires: now + lifeMs, due: 0, at: 0 };
        indexes.set(entry, index);
        queue.add(index);
      }
      index.expires = Math.max(index.expires, now + lifeMs);
      last = Math.max(now * 1000, last + 1);
      index.scores.delete(key);
      index.scores.set(key, last);
      return sampleOf(index);
    },

    page(entry, after, count, now) {
      const scores = live(entry, now)?.scores ?? new Map<string, number>();
      const members: Member[] = [];
      for (const [key, score] of scores) {
        if (members.length >= count) break;
        if (score > after) members.push({ key, score });
      }
      return { members, size: scores.size, at: now };
    },

    leave(entry, members, now) {
      const index = live(entry, now);
      if (index === null) return;
      for (const { key, score } of members) {
        if (score === null || index.scores.get(key) === score) index.scores.delete(key);
      }
      if (index.scores.size === 0) drop(index);
    },
  };
}

function sampleOf(index: Index): Member[] {
  const members: Member[] = [];
  for (let count = 0; count < Math.min(SAMPLE, index.scores.size); count++) {
    let next = index.round.next();
    if (next.done) {
      index.round = index.scores.entries();
      next = index.round.next();
    }
    if (!next.done) members.push({ key: next.value[0], score: next.value[1] });
  }
  return members;
}
