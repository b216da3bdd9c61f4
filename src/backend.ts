import type { Absence, Access } from "./base/access.ts";
import type { EnteredPage, IndexPage, IndexSample } from "./base/index-pages.ts";
import type { StoredSession } from "./record.ts";

export {
  type EnteredPage,
  type IndexPage,
  type IndexSample,
  type Member,
  MIN_PRUNE_AGE,
} from "./base/index-pages.ts";

/** A request to read a record. */
export interface ReadRequest {
  /** The user's fields to return; `null` for all. A backend may return more. */
  readonly fields: readonly string[] | null;
  /** Whether a cached copy is recent enough to be returned. By default none is: the read returns the present record. */
  readonly accepts?: ((copy: StoredSession) => boolean) | undefined;
}

/** The times and limits that a backend gives a new record, from its own clock. */
export interface Insertion {
  /** The absolute timeout in milliseconds: `session_deadline` is this much later. Default: none. */
  readonly absolute?: number | undefined;
  /**
   * The time until which all indexes are known to hold the session, in Unix milliseconds of the backend's clock. If given,
   * `session_absolute` is written, and `session_deadline` is not later than this.
   */
  readonly covered?: number | undefined;
  /** The maximum lifetime of the key until the first touch, in milliseconds. Default: the idle timeout. */
  readonly life?: number | undefined;
  /** Names of fields that receive the time, in RFC 3339. `created_at` and `last_accessed_at` always do. */
  readonly stamp?: readonly string[] | undefined;
  /** The last moment at which to insert, in Unix milliseconds of the backend's clock. Default: no limit. */
  readonly notAfter?: number | undefined;
}

/** The record before and after a write. Both have all reserved fields, and the user's fields that were requested. */
export interface Written {
  readonly before: StoredSession;
  readonly after: StoredSession;
}

/** A change of a record. A backend makes all checks first, and applies the change in one step. */
export interface Change {
  /** The fields to write. May contain reserved fields. */
  readonly set: StoredSession;
  /** The names of the fields to remove. */
  readonly remove: readonly string[];
  /** Names of fields that receive the time of the backend's clock, in RFC 3339. */
  readonly stamp?: readonly string[] | undefined;
  /** Milliseconds. If given, `session_grace` receives the time of the backend's clock plus this. */
  readonly grace?: number | undefined;
  /** Compare-and-set: the text that each field must have, or `null` if it must be absent. */
  readonly expect?: Readonly<Record<string, string | null>> | undefined;
  /** The user's fields to return, as in a read. */
  readonly fields: readonly string[] | null;
  /** Default true. With `false`, `last_accessed_at` does not change, and the remaining time does not become longer. */
  readonly touch?: boolean | undefined;
  /** The last moment at which to apply the change, in Unix milliseconds of the backend's clock. */
  readonly notAfter?: number | undefined;
  /** The maximum size of the user's fields after the change: bytes of names and texts in UTF-8. Default: no maximum. */
  readonly maxBytes?: number | undefined;
}

/** An addition to a number field. All numbers are safe integers. */
export interface Increment {
  readonly field: string;
  /** The number to add; may be negative. */
  readonly by: number;
  /** The number that an absent field counts as. */
  readonly from: number;
  /** The smallest sum that is allowed. */
  readonly min: number;
  /** The largest sum that is allowed. */
  readonly max: number;
  /** As in a change. An addition that does not make the text longer is always allowed. */
  readonly maxBytes?: number | undefined;
}

/**
 * Who ended a session: its holder (`destroyed`), somebody else by ID or by index (`revoked`), or a limit of sessions that it
 * was evicted by (`limit`).
 */
export type EndCause = "destroyed" | "revoked" | "limit";

/** The end of a session. A backend that can notify tells it to all processes. */
export interface Ending {
  /** The public session ID, which is not a secret. It may differ from the key. */
  readonly id: string;
  readonly cause: EndCause;
}

/** Receives the ends of sessions. */
export interface EndListener {
  /** A session was ended by `remove` or `revoke`, in this process or another. Expiry is not reported. */
  ended(id: string, cause: EndCause): void;
  /**
   * With `true`, which may be repeated: every end between the first and the latest of these calls was reported. With `false`:
   * ends after the latest call with `true` may not have been reported.
   */
  hears(all: boolean): void;
}

/**
 * The result of `revoke`: the reserved fields of the session that was ended; `other` if the session does not have the index
 * entry; `nothing` if there is no session.
 */
export type Revoked = StoredSession | "other" | "nothing";

/**
 * Stores sessions as records of text under keys. Schema, tokens, cookies and policies are handled by the layers above.
 *
 * Test your own backend with `backendContract` from `zession/testing`. `sessionMethods` makes the methods on one session for
 * storage with transactions. Every backend promises:
 *
 * 1. Only `insert` creates a key. All other methods report that a session does not exist, and create nothing.
 * 2. Each method is one atomic step on one key: it is applied completely or not at all.
 * 3. Every key expires: after each step, 0 < remaining time <= min(idle timeout, `session_deadline` - now). A key without an
 *    expiry gets one with the next touch. Nothing but a `Change` moves `session_deadline`, and reads check it too.
 * 4. Expiry is exact to the millisecond, and an expired session does not exist for any method. A session exists while
 *    now <= its expiry, as in Redis.
 * 5. The caller owns what a method returns: changing it does not change the stored record.
 * 6. All times are those of one clock. A backend that several processes use has a clock of its own, and ignores `now`: a
 *    process whose clock is wrong must not end or keep anybody's session.
 *
 * `touch`, `increment`, and `write` unless its change says otherwise, restart the idle timeout and set `last_accessed_at`. If
 * the `session_ttl` of a record cannot be read, the remaining time of its key is used and written as `session_ttl`.
 *
 * An index is a set of keys under an index entry `<name>:<value>`, which may contain any characters. The field
 * `session_index` of a session lists its index entries. A key enters an index before its session is written and leaves it
 * after the session ended. So an index may contain keys without a session, but never misses a session. An index expires when
 * all the time has passed for which `enter` and `extend` were asked to keep it.
 *
 * A caller reaches a record by its key and, if `Access` has one, the verifier of the presented secret. With the verifier
 * `"none"` it reaches only a record without `session_verifier`. With a wrong secret the session does not exist for the caller,
 * and nothing changes; the answer is `"wrong-secret"`, or `null` if the record has no verifier. The secret before the last
 * rotation is answered with `"reused at "` and the text of `session_rotated_at`, or with `"reused"` if the record has none.
 * During its grace period it is accepted, or answered with `null` if the access does not accept it. If `session_bound` begins
 * with `!`, a secret is accepted only with a proof that is among the values in that field and has not expired; otherwise the
 * answer is `"unproven"`.
 *
 * Failures are `SessionBackendError`s. Any other error of a backend counts as a defect and is passed on to the caller.
 */
export interface SessionBackend {
  /**
   * Stores a record under an unused key and returns its reserved fields. Returns `taken` if the key is in use, and `revoked`
   * if `notAfter` has passed, if the key has a tombstone, or if no lifetime is left.
   */
  insert(
    key: string,
    record: StoredSession,
    insertion: Insertion,
    now: number,
  ): Promise<StoredSession | "taken" | "revoked">;
  /** Returns the record. Writes nothing. */
  read(key: string, access: Access, request: ReadRequest): Promise<StoredSession | Absence>;
  /**
   * Restarts the idle timeout of a session. Returns its `last_accessed_at`, `session_ttl` and `session_deadline` after that;
   * may return more of the record.
   */
  touch(key: string, access: Access): Promise<StoredSession | Absence>;
  /**
   * Applies a change. Returns `changed` if a field is not as expected, `revoked` after `notAfter`, and `too_many_bytes` if the
   * record would be larger than `maxBytes`. A session without lifetime left after the change is deleted, and `null` is returned.
   */
  write(
    key: string,
    access: Access,
    change: Change,
  ): Promise<Written | "changed" | "revoked" | "too_many_bytes" | Absence>;
  /**
   * Adds to a field and returns the record after it: the reserved fields and this field. Writes nothing and returns
   * `too_small` or `too_big` if the sum is out of bounds, `too_many_bytes` if the record would be larger than `maxBytes`, and
   * `invalid_type` if the text is not a safe integer in plain digits.
   */
  increment(
    key: string,
    access: Access,
    increment: Increment,
  ): Promise<StoredSession | "too_small" | "too_big" | "too_many_bytes" | "invalid_type" | Absence>;
  /**
   * Deletes the record, even if its reserved fields cannot be read. Returns it if it was a session that had not expired, else
   * `null`.
   *
   * @param fields The user's fields to return, as in a read.
   * @param expect As in a change: if the session has another text in one of these fields, returns `changed` and deletes
   * nothing.
   */
  remove(
    key: string,
    access: Access,
    ending: Ending,
    fields: readonly string[] | null,
    expect?: Readonly<Record<string, string | null>>,
  ): Promise<StoredSession | "changed" | Absence>;
  /**
   * Deletes a session if it has this index entry. If there is no session, writes a tombstone that prevents later inserts
   * under the key.
   *
   * @param tombstone The lifetime of the tombstone in milliseconds; 0 for no tombstone.
   */
  revoke(key: string, entry: string, ending: Ending, tombstone: number, now: number): Promise<Revoked>;
  /**
   * Enters a key into an index with a new score that is higher than all others, and than the one that it had.
   *
   * @param life The minimum remaining lifetime of the index, in milliseconds.
   * @param count The number of earliest members to return; may be 0.
   */
  enter(entry: string, key: string, life: number, count: number, now: number): Promise<EnteredPage>;
  /**
   * Lets an index live longer for a key. A member keeps its score. A missing key enters with the score of a minute ago, because
   * its session is not one that may still be written, or with a higher one if others have that.
   *
   * @param life As for `enter`.
   */
  extend(entry: string, key: string, life: number, now: number): Promise<IndexSample>;
  /** Returns the earliest members of an index with a score above `after`, at most `count`. */
  page(entry: string, after: number, count: number, now: number): Promise<IndexPage>;
  /** Removes members from an index if their score is still the given one. A score of `null` matches any. */
  leave(
    entry: string,
    members: readonly { readonly key: string; readonly score: number | null }[],
    now: number,
  ): Promise<void>;
  /**
   * Optional. Returns the name of the policy by which the backend may remove keys when its memory is full; `null` if it never
   * does. A store with indexes reports a policy, because an index that is removed no longer has its sessions.
   */
  evictionPolicy?(): Promise<string | null>;
  /**
   * Returns a random text that all processes with the same backend share, the same one for ever. The first call creates it:
   * 32 random bytes in base64url. It is not a session, and `keys` does not list it.
   */
  shared(name: string): Promise<string>;
  /** Lists all keys, page by page, in no order. May contain duplicates, and keys of expired sessions or of none. */
  keys(): AsyncIterable<readonly string[]>;
  /**
   * Reports the ends of sessions to a listener, whose errors are ignored, until the returned function is called. Without it, a store that
   * watches sessions looks at them again and again.
   */
  notify?(listener: EndListener): () => void;
  /**
   * Returns how long each session still lives, in milliseconds by the backend's clock; a negative number where there is no
   * session. Never uses a cached copy. Without it, a store reads the sessions one by one.
   */
  left?(keys: readonly string[], now: number): Promise<readonly number[]>;
}
