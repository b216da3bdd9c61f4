import type { EnteredPage, IndexPage, Member, SessionBackend } from "../backend.ts";
import { expiringMap, type Timed } from "./expiring-map.ts";

interface Index extends Timed {
  /** The scores by key, in ascending order: a key that enters again moves to the end. */
  readonly scores: Map<string, number>;
  /** Iterates over the members for the samples, and starts again at the end. */
  round: Iterator<[string, number]>;
}

/** The maximum number of expired indexes that an `enter` removes. */
const SWEEP = 4;
const SAMPLE = 2;

/** Creates the indexes of the memory backend. */
export function memoryIndexes(): {
  enter(entry: string, key: string, lifeMs: number, now: number): Pick<EnteredPage, "sample" | "score" | "isNew">;
  page(entry: string, after: number, count: number, now: number): IndexPage;
  leave(...args: Parameters<SessionBackend["leave"]>): void;
} {
  const indexes = expiringMap<Index>();
  /** The last score of all indexes, so that an index that expired and was created again does not repeat a score. */
  let last = 0;

  return {
    enter(entry, key, lifeMs, now) {
      indexes.sweep(now, SWEEP);
      let index = indexes.live(entry, now);
      if (index === null) {
        const scores = new Map<string, number>();
        index = { key: entry, scores, round: scores.entries(), expires: now + lifeMs, due: 0, at: 0 };
        indexes.add(index);
      }
      index.expires = Math.max(index.expires, now + lifeMs);
      last = Math.max(now * 1000, last + 1);
      const isNew = !index.scores.delete(key);
      index.scores.set(key, last);
      return { sample: sampleOf(index), score: last, isNew };
    },

    page(entry, after, count, now) {
      const scores = indexes.live(entry, now)?.scores ?? new Map<string, number>();
      const members: Member[] = [];
      for (const [key, score] of scores) {
        if (members.length >= count) break;
        if (score > after) members.push({ key, score });
      }
      return { members, size: scores.size, at: now };
    },

    leave(entry, members, now) {
      const index = indexes.live(entry, now);
      if (index === null) return;
      for (const { key, score } of members) {
        if (score === null || index.scores.get(key) === score) index.scores.delete(key);
      }
      if (index.scores.size === 0) indexes.remove(index);
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
