import type { Absence, Access, Reused, StoredSession } from "./record.ts";

/** What a read brings. */
export interface ReadRequest {
  /** Restart the idle timeout in the same step? */
  readonly touch: boolean;
  /** The user fields that are wanted, or `null` for all that are there; a backend may bring more. */
  readonly fields: readonly string[] | null;
  /**
   * Milliseconds. Without a touch, a copy that a backend keeps nearby will do if the session was last accessed less than
   * this ago; default 0: what is there now.
   */
  readonly maxAgeMs?: number | undefined;
}

/** What a write does, in one step, after all of its checks. */
export interface Change {
  /** Fields to write, reserved ones included. */
  readonly set: StoredSession;
  /** Fields to remove. */
  readonly remove: readonly string[];
  /** Compare-and-set: the text that a field must have, `null` where it must be absent. */
  readonly expect?: Readonly<Record<string, string | null>> | undefined;
  /** The user fields to answer, as in a read. */
  readonly fields: readonly string[] | null;
  /** Default true. `false` leaves the idle timeout running and `last_accessed_at` as it is. */
  readonly touch?: boolean | undefined;
  /** Refuses after this time, in Unix milliseconds of the backend's clock. */
  readonly notAfter?: number | undefined;
}

/** What an increment does. All numbers are safe integers. */
export interface Increment {
  readonly field: string;
  readonly by: number;
  /** What an absent field counts as. */
  readonly from: number;
  readonly min: number;
  readonly max: number;
}

/** A session's place in an index. */
export interface Member {
  readonly key: string;
  /** When it was entered: microseconds of the backend's clock, no two alike in one index. */
  readonly score: number;
}

/** Members of an index from the earliest on. */
export interface IndexPage {
  readonly members: readonly Member[];
  /** How many the whole index has, those of ended sessions included. */
  readonly size: number;
  /** When this was read: Unix milliseconds of the backend's clock. */
  readonly at: number;
}

/** The result of an `enter`. */
export interface EnteredPage extends IndexPage {
  /** Two members at most from anywhere, so that in time every one comes up, for whoever looks after them. */
  readonly sample: readonly Member[];
}

/** What `revoke` found: a session that it ended, with its reserved fields; one that is not under the entry; or nothing. */
export type Revoked = StoredSession | "other" | "nothing";

/**
 * Keeps sessions: records of text under a key. Schema, tokens, cookies and policy live above it.
 *
 * Whoever writes one proves it with `backendContract` of `zession/testing`. What every backend promises:
 *
 * 1. Only `insert` brings a key into being. Every other method says that a session is gone and leaves nothing behind.
 * 2. Each method is one atomic step on one key, applied wholly or not at all.
 * 3. Every key has an end: after any step 0 < remaining <= min(idle timeout, deadline - now). A key found without an
 *    end gets one with the next touch. Nothing moves the deadline, which is checked on read as well.
 * 4. Expiry is exact to the millisecond, and what has expired is gone for every method at once. A session lives as long
 *    as now <= its end, which is Redis's rule.
 * 5. What is read is the caller's: changing it changes nothing stored.
 *
 * `read` and `write` that touch and `increment` restart the idle timeout and stamp `last_accessed_at`. A record whose
 * `session_ttl` cannot be read is taken to have the time that its key has left, which is then written down.
 *
 * An index is a set of keys under an entry, `<name>:<value>`. A session is under the entries that its `session_index`
 * names; an index may have more members than that, never fewer, as a key enters before its session is written and leaves
 * after it has ended. An index ends by itself once the sessions that entered it have.
 *
 * A record is reached by its key and, if the access carries one, the verifier of the presented secret. A wrong secret is
 * absence and moves nothing. The one before the last rotation is `"reused at "` and what the record has as
 * `session_rotated_at`, or `"reused"` if it has none; in its grace it opens, or is absence if the access does not let it.
 *
 * Failures are `SessionBackendError`s; anything else a backend throws is a defect and reaches the caller as it is.
 */
export interface SessionBackend {
  /**
   * Stores a record under a free key. Its `session_ttl` and `session_deadline` say when it ends.
   *
   * @param notAfter Refuses after this time of the backend's clock, in Unix milliseconds, as `revoked`. So does a
   * tombstone under the key.
   */
  insert(key: string, record: StoredSession, now: number, notAfter?: number): Promise<"inserted" | "taken" | "revoked">;
  /** The record, after the touch if there is one. Without a touch nothing is written. */
  read(key: string, access: Access, request: ReadRequest): Promise<StoredSession | Absence>;
  /** Applies a change and answers the record as it stood just before; `changed` if it was not as expected. */
  write(key: string, access: Access, change: Change): Promise<StoredSession | "changed" | "revoked" | Absence>;
  /** Adds to a field of plain digits and answers the sum, or which bound or form forbids it, and then writes nothing. */
  increment(
    key: string,
    access: Access,
    increment: Increment,
  ): Promise<number | "too_small" | "too_big" | "invalid_type" | Absence>;
  /** Deletes what the access reaches, readable or not, and answers its reserved fields if it was a session that had not ended. */
  remove(key: string, access: Access): Promise<StoredSession | Reused | null>;
  /**
   * Deletes a session if it is under this entry. Where nothing is, a tombstone keeps the key from becoming a session.
   *
   * @param tombstoneMs How long; 0 for none.
   */
  revoke(key: string, entry: string, tombstoneMs: number, now: number): Promise<Revoked>;
  /**
   * Enters a key into an index with a new score, above all others.
   *
   * @param lifeMs How long the index has to last for it, from now.
   * @param count How many of the earliest members to answer; may be 0.
   */
  enter(entry: string, key: string, lifeMs: number, count: number, now: number): Promise<EnteredPage>;
  /** Members of an index with a score above `after`, at most `count`. */
  page(entry: string, after: number, count: number, now: number): Promise<IndexPage>;
  /** Takes members out of an index: those whose score is still the same, or whatever it is where `null` is given. */
  leave(
    entry: string,
    members: readonly { readonly key: string; readonly score: number | null }[],
    now: number,
  ): Promise<void>;
  /** All keys, page by page, in no order; some may be no sessions, and one may come twice. */
  keys(): AsyncIterable<readonly string[]>;
}
