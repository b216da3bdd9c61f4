import { setImmediate } from "node:timers";
import type { EndListener, SessionBackend } from "../backend.ts";
import { knownOptions, wholeNumber } from "../base/checks.ts";
import { tell } from "../base/promises.ts";
import { randomText } from "../base/token.ts";
import { type RunTransaction, sessionMethods } from "../base/transaction.ts";
import { SessionBackendError } from "../errors.ts";
import { indexEntries, type StoredSession, TOMBSTONE_FIELD } from "../record.ts";
import { expiringMap, type Timed } from "./expiring-map.ts";
import { memoryIndexes } from "./indexes.ts";

/** Options for `memoryBackend`. */
export interface MemoryBackendOptions {
  /**
   * The maximum number of entries; default 1,000,000. A session counts as one, each of its index values as one more, and so
   * does an ID that `revokeAll` blocks for a minute. When the maximum is reached, `create` and moves to another index value
   * fail with a `SessionBackendError`, as they do when Redis is full. Sessions can still be used and ended.
   */
  readonly capacity?: number | undefined;
}

interface Entry extends Timed {
  record: StoredSession;
}

/** The maximum number of expired entries that an insert removes, so that removing a million of them causes no pause. */
const SWEEP = 4;
/** The maximum number of index members that are examined for a free place when the capacity is reached. */
const SWEEP_AT_CAPACITY = 1000;
const KEYS_PER_PAGE = 1000;

/**
 * Creates a backend that keeps sessions in the memory of this process, for tests and for programs with a single process.
 * It stores the same text and keeps the same promises as the Redis backend. It uses no timers: expired sessions are never
 * returned, and later inserts free their memory.
 *
 * @throws {TypeError | RangeError} If `capacity` is not a positive whole number.
 */
export function memoryBackend(options: MemoryBackendOptions = {}): SessionBackend {
  const action = "create a memory backend";
  const { capacity = 1_000_000 } = knownOptions(action, options, ["capacity"]);
  wholeNumber(action, "capacity", capacity, 1, Number.MAX_SAFE_INTEGER);
  const sessions = expiringMap<Entry>();
  const indexes = memoryIndexes((key, entry, now) => {
    const session = sessions.live(key, now);
    return session !== null && indexEntries(session.record).includes(entry);
  });
  const listeners = new Set<{ readonly listener: EndListener }>();
  const shared = new Map<string, string>();
  const isFull = (): boolean => sessions.entries.size + indexes.size() >= capacity;

  /** @throws {SessionBackendError} If there is no place for one more entry. */
  function makePlace(now: number): void {
    sessions.sweep(now, SWEEP);
    indexes.prune(now, SWEEP);
    if (isFull()) sessions.sweep(now, 1);
    if (isFull()) indexes.prune(now, SWEEP_AT_CAPACITY);
    if (!isFull()) return;
    const message = `Cannot store a session as the memory backend's capacity of ${capacity} entries is reached`;
    throw new SessionBackendError(message, { reason: "rejected", outcome: "not-applied" });
  }

  const transact: RunTransaction = async (key, now, step) => {
    const found = sessions.live(key, now);
    const { answer, next, ending } = step(found, now);
    if (found === null && next) {
      // A tombstone always gets a place, because without it a revoked session could be inserted later.
      if (next.record[TOMBSTONE_FIELD] === undefined) makePlace(now);
      sessions.add({ key, ...next, at: 0 });
    } else if (found !== null && next) {
      Object.assign(found, next);
      sessions.moved(found);
    } else if (found !== null && next === null) sessions.remove(found);
    if (ending !== undefined) {
      for (const { listener } of listeners) tell(() => listener.ended(ending.id, ending.cause), null);
    }
    return answer;
  };

  return {
    ...sessionMethods(transact),

    async enter(entry, key, life, count, now) {
      if (!indexes.has(entry, key, now)) makePlace(now);
      return indexes.enter(entry, key, life, count, now);
    },

    async extend(entry, key, life, now) {
      if (!indexes.has(entry, key, now)) makePlace(now);
      return indexes.extend(entry, key, life, now);
    },

    async page(entry, after, count, now) {
      if (after > 0) await othersRun();
      return indexes.page(entry, after, count, now);
    },

    async leave(entry, members, now) {
      indexes.leave(entry, members, now);
    },

    async shared(name) {
      const text = shared.get(name) ?? randomText(32);
      shared.set(name, text);
      return text;
    },

    notify(listener) {
      const listening = { listener };
      listeners.add(listening);
      listener.hears(true);
      return () => {
        listeners.delete(listening);
      };
    },

    async *keys() {
      const all = [...sessions.entries.keys()];
      for (let at = 0; at < all.length; at += KEYS_PER_PAGE) {
        if (at > 0) await othersRun();
        yield all.slice(at, at + KEYS_PER_PAGE);
      }
    },
  };
}

/** Lets timers and other calls run between two pages, as all calls of this backend finish without waiting for anything. */
function othersRun(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
