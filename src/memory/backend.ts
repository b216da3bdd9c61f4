import { setImmediate } from "node:timers";
import type { SessionBackend } from "../backend.ts";
import { knownOptions, wholeNumber } from "../base/checks.ts";
import { nullObject } from "../base/null-object.ts";
import { SessionBackendError } from "../errors.ts";
import {
  type Absence,
  type Access,
  changedCopy,
  checkAccess,
  exceeds,
  FALLBACK_IDLE_SECONDS,
  idleSeconds,
  indexEntries,
  lifetime,
  matchSecret,
  reserved,
  type StoredSession,
  TOMBSTONE_FIELD,
  timeText,
} from "../record.ts";
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

  function add(key: string, record: StoredSession, expires: number): void {
    const kept = Object.freeze(Object.assign(nullObject(), record));
    sessions.add({ key, record: kept, expires, at: 0 });
  }

  function open(key: string, access: Access): Entry | Absence {
    const entry = sessions.entries.get(key);
    if (entry === undefined) return null;
    const admitted = checkAccess(entry.record, access);
    if (sessions.live(key, access.now) === null) return admitted === "expired" ? admitted : null;
    return admitted === "open" ? entry : admitted;
  }

  /** Writes the fields and restarts the idle timeout. */
  function touch(entry: Entry, now: number, set: StoredSession, remove: readonly string[] = []): StoredSession {
    const next = changedCopy(entry.record, set, remove);
    const idle = idleSeconds(next) ?? remaining(entry, now);
    next[reserved.idleTimeout] = String(idle);
    next[reserved.lastAccessedAt] = timeText(now);
    entry.record = Object.freeze(next);
    entry.expires = now + lifetime(entry.record, idle, now);
    sessions.moved(entry);
    return entry.record;
  }

  return {
    async insert(key, record, now, notAfter = Number.POSITIVE_INFINITY) {
      const there = sessions.live(key, now);
      if (there !== null && !isTombstone(there)) return "taken";
      if (there !== null || now > notAfter) return "revoked";
      makePlace(now);
      add(key, record, now + lifetime(record, idleSeconds(record) ?? FALLBACK_IDLE_SECONDS, now));
      return "inserted";
    },

    async read(key, access, request) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string") return entry;
      return request.touch ? touch(entry, access.now, {}) : entry.record;
    },

    async write(key, access, change) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string") return entry;
      const before = entry.record;
      for (const [field, text] of Object.entries(change.expect ?? {})) {
        if ((before[field] ?? null) !== text) return "changed";
      }
      if (access.now > (change.notAfter ?? Number.POSITIVE_INFINITY)) return "revoked";
      const { set, remove, maxBytes = Number.POSITIVE_INFINITY } = change;
      if (exceeds(changedCopy(before, set, remove), maxBytes)) return "too_many_bytes";
      if (change.touch === false) entry.record = Object.freeze(changedCopy(before, set, remove));
      else touch(entry, access.now, set, remove);
      return before;
    },

    async increment(key, access, { field, by, from, min, max, maxBytes = Number.POSITIVE_INFINITY }) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string") return entry;
      const text = entry.record[field];
      const present = text === undefined ? from : /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(present)) return "invalid_type";
      const sum = present + by || 0; // Turns -0 into 0, as in Redis.
      if (sum < min || sum > max) return sum < min ? "too_small" : "too_big";
      const set = { [field]: String(sum) };
      const isLonger = String(sum).length > (text ?? "").length;
      if (isLonger && exceeds(changedCopy(entry.record, set, []), maxBytes)) return "too_many_bytes";
      touch(entry, access.now, set);
      return sum;
    },

    async remove(key, access) {
      const entry = sessions.live(key, access.now);
      if (entry === null || isTombstone(entry)) return null;
      const secret = matchSecret(entry.record, access);
      if (secret !== "open") return secret;
      sessions.remove(entry);
      const admitted = checkAccess(entry.record, { ...access, verifier: null });
      return admitted === "open" || admitted === "invalid" ? entry.record : null;
    },

    async revoke(key, entry, tombstoneMs, now) {
      const there = sessions.live(key, now);
      if (there !== null && !isTombstone(there)) {
        if (!indexEntries(there.record).includes(entry)) return "other";
        sessions.remove(there);
        return there.record;
      }
      if (there !== null) sessions.remove(there);
      if (tombstoneMs > 0) add(key, { [TOMBSTONE_FIELD]: "1" }, now + tombstoneMs);
      return "nothing";
    },

    async enter(entry, key, lifeMs, count, now) {
      if (!indexes.has(entry, key, now)) makePlace(now);
      return indexes.enter(entry, key, lifeMs, count, now);
    },

    async page(entry, after, count, now) {
      if (after > 0) await othersRun();
      return indexes.page(entry, after, count, now);
    },

    async leave(entry, members, now) {
      indexes.leave(entry, members, now);
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

const isTombstone = (entry: Entry): boolean => entry.record[TOMBSTONE_FIELD] !== undefined;

/** Returns the remaining seconds of an entry, used as its idle timeout if that cannot be read. */
function remaining(entry: Entry, now: number): number {
  return Math.max(1, Math.ceil((entry.expires - now) / 1000));
}
