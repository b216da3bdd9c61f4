import { setImmediate } from "node:timers";
import type { Change, SessionBackend } from "../backend.ts";
import { knownOptions, wholeNumber } from "../base/checks.ts";
import { nullObject } from "../base/null-object.ts";
import { SessionBackendError } from "../errors.ts";
import {
  type Absence,
  type Access,
  absoluteText,
  changedCopy,
  checkAccess,
  exceeds,
  idleSeconds,
  idleSecondsOrDefault,
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
    const entry = sessions.live(key, access.now);
    if (entry === null) return null;
    const admitted = checkAccess(entry.record, access);
    return admitted === "open" ? entry : admitted;
  }

  /** Replaces the record. Returns whether the session still has a lifetime; otherwise it is removed. */
  function replace(entry: Entry, next: Record<string, string>, now: number, isTouched: boolean): boolean {
    const idle = idleSeconds(next) ?? remaining(entry, now);
    if (isTouched)
      Object.assign(next, { [reserved.idleTimeout]: String(idle), [reserved.lastAccessedAt]: timeText(now) });
    const life = lifetime(next, idle, now);
    if (life <= 0) {
      sessions.remove(entry);
      return false;
    }
    entry.record = Object.freeze(next);
    entry.expires = isTouched ? now + life : Math.min(entry.expires, now + life);
    sessions.moved(entry);
    return true;
  }

  return {
    async insert(key, record, { absoluteMs, covered, lifeMs, notAfter, stamp = [] }, now) {
      const there = sessions.live(key, now);
      if (there !== null && !isTombstone(there)) return "taken";
      if (there !== null || now > (notAfter ?? Number.POSITIVE_INFINITY)) return "revoked";
      const kept: Record<string, string> = Object.assign(nullObject(), record);
      for (const name of [reserved.createdAt, reserved.lastAccessedAt, ...stamp]) kept[name] = timeText(now);
      const absolute = absoluteMs === undefined ? null : now + absoluteMs;
      const deadline = Math.min(absolute ?? Number.POSITIVE_INFINITY, covered ?? Number.POSITIVE_INFINITY);
      if (deadline < Number.POSITIVE_INFINITY) kept[reserved.deadline] = String(deadline);
      if (covered !== undefined) kept[reserved.absolute] = absoluteText({ deadline: absolute, moves: 0 });
      const life = lifetime(kept, idleSecondsOrDefault(record), now);
      if (life <= 0) return "revoked";
      makePlace(now);
      add(key, kept, now + Math.min(life, lifeMs ?? life));
      return kept;
    },

    async read(key, access, request) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string" || !request.touch) return recordOf(entry);
      return replace(entry, changedCopy(entry.record, {}, []), access.now, true) ? entry.record : null;
    },

    async write(key, access, change) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string") return entry;
      const before = entry.record;
      if (!hasTexts(before, change.expect)) return "changed";
      const { now } = access;
      if (now > (change.notAfter ?? Number.POSITIVE_INFINITY)) return "revoked";
      const { graceMs, remove, stamp = [], maxBytes = Number.POSITIVE_INFINITY } = change;
      const set: Record<string, string> = Object.assign(nullObject(), change.set);
      for (const name of stamp) set[name] = timeText(now);
      if (graceMs !== undefined) set[reserved.grace] = String(now + graceMs);
      const next = changedCopy(before, set, remove);
      if (exceeds(next, maxBytes)) return "too_many_bytes";
      return replace(entry, next, now, change.touch !== false) ? { before, after: entry.record } : null;
    },

    async increment(key, access, { field, by, from, min, max, maxBytes = Number.POSITIVE_INFINITY }) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string") return entry;
      const text = entry.record[field];
      const present = text === undefined ? from : /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(present)) return "invalid_type";
      const sum = present + by || 0; // Turns -0 into 0, as in Redis.
      if (sum < min || sum > max) return sum < min ? "too_small" : "too_big";
      const next = changedCopy(entry.record, { [field]: String(sum) }, []);
      const isLonger = String(sum).length > (text ?? "").length;
      if (isLonger && exceeds(next, maxBytes)) return "too_many_bytes";
      return replace(entry, next, access.now, true) ? entry.record : null;
    },

    async remove(key, access, _ending, _fields, expect) {
      const entry = sessions.live(key, access.now);
      if (entry === null || isTombstone(entry)) return null;
      const secret = matchSecret(entry.record, access);
      if (secret !== "open") return secret;
      const isLive = checkAccess(entry.record, { ...access, verifier: null }) !== null;
      if (isLive && !hasTexts(entry.record, expect)) return "changed";
      sessions.remove(entry);
      return isLive ? entry.record : null;
    },

    async revoke(key, entry, _ending, tombstoneMs, now) {
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

    async extend(entry, key, lifeMs, now) {
      if (!indexes.has(entry, key, now)) makePlace(now);
      return indexes.extend(entry, key, lifeMs, now);
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

function recordOf(entry: Entry | Absence): StoredSession | Absence {
  return entry === null || typeof entry === "string" ? entry : entry.record;
}

/** Whether each field has the expected text, or is absent where `null` is expected. */
function hasTexts(record: StoredSession, expect: Change["expect"] = {}): boolean {
  return Object.entries(expect).every(([field, text]) => (record[field] ?? null) === text);
}

const isTombstone = (entry: Entry): boolean => entry.record[TOMBSTONE_FIELD] !== undefined;

/** Returns the remaining seconds of an entry, used as its idle timeout if that cannot be read. */
function remaining(entry: Entry, now: number): number {
  return Math.max(1, Math.ceil((entry.expires - now) / 1000));
}
