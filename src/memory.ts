import type { Absence, SessionBackend } from "./backend.ts";
import { SessionBackendError } from "./errors.ts";
import { knownOptions, wholeNumber } from "./options.ts";
import {
  type Access,
  admit,
  FALLBACK_IDLE_SECONDS,
  idleSeconds,
  isSession,
  lifetime,
  matchSecret,
  reserved,
  type StoredSession,
} from "./record.ts";

/** Of `memoryBackend`. */
export interface MemoryBackendOptions {
  /** Most sessions kept at a time; a further insert fails, as Redis does when it is full. Default 1,000,000. */
  readonly capacity?: number | undefined;
}

interface Entry {
  readonly key: string;
  record: StoredSession;
  /** The last millisecond at which it lives. */
  expires: number;
  /** Its end as the queue knows it, and its place there. */
  due: number;
  at: number;
}

/** Expired entries that an insert removes at most, so that a great many go away without a pause. */
const SWEEP = 4;
const PAGE = 1000;

/**
 * Keeps sessions in this process, as the same text and with the same promises as Redis: for tests, and for programs of
 * one process. Has no timers: what has expired is gone at once for every call, and later inserts free its memory.
 *
 * @throws {TypeError | RangeError} If `capacity` is not a positive whole number.
 */
export function memoryBackend(options: MemoryBackendOptions = {}): SessionBackend {
  const action = "create a memory backend";
  const { capacity = 1_000_000 } = knownOptions(action, options, ["capacity"]);
  wholeNumber(action, "capacity", capacity, 1, Number.MAX_SAFE_INTEGER);
  const entries = new Map<string, Entry>();
  const queue = expiryQueue();

  function drop(entry: Entry): void {
    queue.remove(entry);
    entries.delete(entry.key);
  }

  function live(key: string, now: number): Entry | null {
    const entry = entries.get(key);
    if (entry === undefined || now <= entry.expires) return entry ?? null;
    drop(entry);
    return null;
  }

  function makeRoom(now: number): void {
    for (const entry of queue.due(now, SWEEP)) entries.delete(entry.key);
    if (entries.size < capacity) return;
    for (const entry of queue.due(now, Number.POSITIVE_INFINITY)) {
      entries.delete(entry.key);
      return;
    }
  }

  function open(key: string, access: Access): Entry | Absence {
    const entry = live(key, access.now);
    if (entry === null) return null;
    const admitted = admit(entry.record, access);
    return admitted === "open" ? entry : admitted;
  }

  /** Writes the fields with the touch that every write is. */
  function touch(entry: Entry, now: number, set: StoredSession, remove: readonly string[] = []): StoredSession {
    const record: Record<string, string> = Object.assign(Object.create(null), entry.record, set);
    for (const field of remove) delete record[field];
    const idle = idleSeconds(record) ?? remaining(entry, now);
    record[reserved.idleTimeout] = String(idle);
    record[reserved.lastAccessedAt] = new Date(now).toISOString();
    entry.record = Object.freeze(record);
    entry.expires = now + lifetime(record, idle, now);
    queue.advance(entry);
    return record;
  }

  return {
    async insert(key, record, now) {
      makeRoom(now);
      if (live(key, now) !== null) return "taken";
      if (entries.size >= capacity) {
        throw new SessionBackendError("Cannot create a session as the memory backend is at its capacity", {
          reason: "rejected",
          outcome: "not-applied",
        });
      }
      const idle = idleSeconds(record) ?? FALLBACK_IDLE_SECONDS;
      const entry: Entry = {
        key,
        record: Object.freeze(Object.assign(Object.create(null), record)),
        expires: now + lifetime(record, idle, now),
        due: 0,
        at: 0,
      };
      entries.set(key, entry);
      queue.add(entry);
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
      touch(entry, access.now, change.set, change.remove);
      return before;
    },

    async increment(key, access, { field, by, from, min, max }) {
      const entry = open(key, access);
      if (entry === null || typeof entry === "string") return entry;
      const text = entry.record[field];
      const present = text === undefined ? from : /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(present)) return "invalid_type";
      const sum = present + by || 0; // Text knows no minus zero.
      if (sum < min || sum > max) return sum < min ? "too_small" : "too_big";
      touch(entry, access.now, { [field]: String(sum) });
      return sum;
    },

    async remove(key, access) {
      const entry = live(key, access.now);
      if (entry === null) return false;
      const secret = matchSecret(entry.record, access);
      if (secret !== "open") return secret ?? false;
      drop(entry);
      return isSession(entry.record) && admit(entry.record, { ...access, verifier: null }) !== null;
    },

    async *keys() {
      const all = [...entries.keys()];
      for (let at = 0; at < all.length; at += PAGE) yield all.slice(at, at + PAGE);
    },
  };
}

/** Seconds a key has left, as the stand-in for an idle timeout that cannot be read. */
function remaining(entry: Entry, now: number): number {
  return Math.max(1, Math.ceil((entry.expires - now) / 1000));
}

/**
 * Entries in the order of their ends: a binary heap in which an end that was put off is found out only when its old
 * moment comes, so that a touch costs nothing here. One that was brought forward moves up at once.
 */
function expiryQueue(): {
  add(entry: Entry): void;
  advance(entry: Entry): void;
  remove(entry: Entry): void;
  due(now: number, most: number): Generator<Entry>;
} {
  const heap: Entry[] = [];
  const due = (at: number): number => heap[at]?.due ?? Number.POSITIVE_INFINITY;

  function put(entry: Entry, at: number): void {
    heap[at] = entry;
    entry.at = at;
  }

  function rise(entry: Entry): void {
    let at = entry.at;
    for (let parent = (at - 1) >> 1; at > 0 && entry.due < due(parent); parent = (at - 1) >> 1) {
      put(heap[parent] as Entry, at);
      at = parent;
    }
    put(entry, at);
  }

  function sink(entry: Entry): void {
    let at = entry.at;
    for (;;) {
      const child = due(2 * at + 1) <= due(2 * at + 2) ? 2 * at + 1 : 2 * at + 2;
      if (entry.due <= due(child)) break;
      put(heap[child] as Entry, at);
      at = child;
    }
    put(entry, at);
  }

  function remove(entry: Entry): void {
    const last = heap.pop() as Entry;
    if (last === entry) return;
    put(last, entry.at);
    rise(last);
    sink(last);
  }

  return {
    add(entry) {
      entry.due = entry.expires;
      put(entry, heap.length);
      rise(entry);
    },
    advance(entry) {
      if (entry.expires >= entry.due) return;
      entry.due = entry.expires;
      rise(entry);
    },
    remove,
    /** Takes out the entries that have ended, looking at the `most` earliest. */
    *due(now, most) {
      for (let looked = 0; looked < most && due(0) < now; looked++) {
        const top = heap[0] as Entry;
        if (top.expires < now) {
          remove(top);
          yield top;
        } else {
          top.due = top.expires;
          sink(top);
        }
      }
    },
  };
}
