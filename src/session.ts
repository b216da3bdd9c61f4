import type { Duration } from "./base/durations.ts";
import type { SessionId, SessionToken } from "./base/token.ts";
import type {
  CallOptions,
  ListOptions,
  RevokeAllOptions,
  RevokeOptions,
  RotateOptions,
  StoreCreateOptions,
  WalkOptions,
} from "./call-options.ts";
import type { CreateInput, IndexQuery, NumberField, OptionalField, PatchInput } from "./data.ts";

/** A snapshot of a session: a frozen plain object without methods. It contains no session token, so it is safe to log. */
export interface Session<out T> {
  /** The public session ID, which stays the same when the token is rotated. It may be logged. */
  readonly id: SessionId;
  /**
   * The session data. Plain objects and arrays in it are frozen at every level. TypeScript sees this for the fields, and for
   * what is in them if the schema says `.readonly()` on the arrays and objects in its fields.
   */
  readonly data: Readonly<T>;
  /** The time of creation. The Unix epoch (1970) if another program stored a time that cannot be parsed. */
  readonly createdAt: Date;
  /** The time of the last access that restarted the idle timeout. The Unix epoch if it cannot be parsed. */
  readonly lastAccessedAt: Date;
  /**
   * The time at which the user last authenticated, as `authenticated` of `create` or `rotate` said. `null` if the user did
   * not authenticate in this session, or if the stored time cannot be parsed.
   */
  readonly authenticatedAt: Date | null;
  /** The time without access after which the session expires, in seconds. */
  readonly idleTimeout: number;
  /** The time at which the session expires if it is not accessed again. Never later than `deadline`. */
  readonly expiresAt: Date;
  /** The time at which the session expires regardless of activity; `null` with `absoluteTimeout: "none"`. */
  readonly deadline: Date | null;
}

/** A new or rotated session with its token. The token is kept apart from the `Session`, so that it is not logged with it. */
export interface IssuedSession<out T> {
  /** The session token. It authenticates requests: send it only in the session cookie, and never log it. */
  readonly token: SessionToken;
  readonly session: Session<T>;
}

/** A page of the sessions with an index value. */
export interface SessionPage<out T> {
  /** The sessions, from the earliest to the latest. May be fewer than `limit`, or none, even if more pages follow. */
  readonly sessions: readonly Session<T>[];
  /** The `cursor` for the next page; `null` if this is the last one. Contains no secret and no index value. */
  readonly cursor: string | null;
}

/**
 * A store of sessions with data of type `T`.
 *
 * Declare a parameter as `SessionStore<Visit>`, or as `SessionStore<{ userId: string }, never>` if the function uses only
 * some fields and creates no sessions. Every store with these fields is then accepted.
 *
 * Methods return `null` if the session does not exist or has ended, or if the token is wrong or malformed. All methods that
 * accept a token restart the idle timeout, except `peek`, `destroy` and `consume`. The methods reject with
 *
 * - `SessionBackendError` if the backend fails or is too slow, or if `signal` aborts. Do not treat this as "logged out".
 * - `SessionDataError` if given data does not fit the schema (`origin: "given"`; nothing is written), or if stored data does
 *   not fit any more (`origin: "stored"`; the record stays).
 * - `TypeError` or `RangeError` if an argument has the wrong type or is out of range.
 *
 * @typeParam T The session data.
 * @typeParam New The data that `create` accepts; `never` for a function that creates no sessions.
 * @typeParam Index The names of the declared indexes.
 */
export interface SessionStore<T, New = T, Index extends string = never> {
  /**
   * Creates a session with new timeouts. Use it for every login. No other method creates a session.
   *
   * A function gets the data of the session that is replaced; `null` if there is none, or if its data does not fit the schema.
   * If that session is written to before it ends, the function is called again, and the new session gets the difference. If
   * somebody else ends it, the new session keeps what was read. If the function fails, the old session stays.
   *
   * @throws {TypeError} If the function returns a promise, or if `authenticated` is neither `true` nor a `Date`.
   * @throws {RangeError} If a timeout is not a positive number of whole seconds, if the idle timeout exceeds the absolute
   * timeout, or if `authenticated` is an invalid date, before 1971, or more than a day in the future.
   * @throws {SessionConflictError} With the reason `limit`, if an index value has the maximum number of sessions; with
   * `revoked`, if `revokeAll` ran concurrently for one of its index values; with `contended`, if the replaced session was
   * changed concurrently in every attempt.
   */
  create(data: CreateInput<T, New>, options?: StoreCreateOptions): Promise<IssuedSession<T>>;
  /**
   * Returns the session as it is stored, and restarts its idle timeout, at most once per `touchInterval`. Waits for that in the
   * second half of the idle time only. Before, a failure to do so is an `unavailable` event.
   */
  get(token: SessionToken, options?: CallOptions): Promise<Session<T> | null>;
  /** Returns the session without restarting its idle timeout. */
  peek(token: SessionToken, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Changes the fields in the patch and returns the session. Concurrent updates of different fields do not overwrite each
   * other. A function is applied by compare-and-set: it is called again if the session was changed concurrently.
   *
   * If another field of the stored data does not fit the schema, the call rejects with a `SessionDataError`, but an object
   * patch is written nevertheless. A session of an earlier version is migrated in the same step, or nothing is written.
   *
   * @throws {SessionConflictError} With the reason `contended`, if the session was changed concurrently in every attempt;
   * with `revoked`, if moving the session to another index value took too long; with `limit`, if the patch moves the
   * session to an index value that has the maximum number of sessions.
   */
  update(token: SessionToken, patch: PatchInput<T>, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Adds to a number field atomically and returns the sum. An absent field counts as its default, or as 0 without one.
   *
   * @param by A safe integer; default 1.
   * @throws {SessionDataError} If the sum is out of the field's bounds, or the stored number is not a safe integer. Nothing
   * is written.
   */
  increment(token: SessionToken, field: NumberField<T>, by?: number, options?: CallOptions): Promise<number | null>;
  /**
   * Returns the value of an optional field and removes the field. Only one of several concurrent calls gets the value. Use
   * it for flash messages and one-time codes. Returns `null` if the field is absent.
   */
  take<K extends OptionalField<T>>(
    token: SessionToken,
    field: K,
    options?: CallOptions,
  ): Promise<Exclude<T[K], undefined> | null>;
  /** Changes the idle timeout of the session, in whole seconds, and restarts it. */
  setIdleTimeout(token: SessionToken, idleTimeout: Duration, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Replaces the token of the session (regenerates it, in the words of express-session). The old token becomes invalid. The
   * session ID, `createdAt` and the deadline stay the same. Of several concurrent calls with the same token, one gets the
   * new token and the others get `null`: do not set or clear the cookie then.
   *
   * If it rejects, the old token stays valid and nothing is changed. If the backend rotates the session all the same, for
   * example after a timeout, the store undoes that in the background for up to 30 seconds. Requests with the old token to
   * this store wait for the result; other processes may report the token as `reused` until then.
   *
   * @throws {TypeError} With `plainIds`: create a new session instead. Also if `grace` is combined with a change.
   * @throws {RangeError} If `grace` is more than 60 seconds or not less than the idle timeout, or for a wrong date as in
   * `create`.
   */
  rotate(token: SessionToken, options?: RotateOptions<T>): Promise<IssuedSession<T> | null>;
  /** Ends the session, for example at logout. Returns whether it existed. */
  destroy(token: SessionToken, options?: CallOptions): Promise<boolean>;
  /**
   * Ends the session and returns it as it was last. Only one of several concurrent calls gets it. Use it for tokens that are
   * valid once, for example in magic links, as OAuth state or as challenges. A session whose data does not fit the schema
   * stays.
   */
  consume(token: SessionToken, options?: CallOptions): Promise<Session<T> | null>;

  /**
   * Returns the session with this ID without restarting its idle timeout; `null` for a malformed ID.
   *
   * @throws {TypeError} If it is called with a session token: use `peek`. Also with `plainIds`.
   */
  find(id: SessionId, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Ends a session by its ID instead of its token. Returns whether it existed and had the index value in `of`; `false` for a
   * malformed ID.
   *
   * With `of`, the data of the session decides. If it cannot be read, the index entries of the session decide.
   *
   * @throws {TypeError} If it is called with a session token: use `destroy`. Also with `plainIds`, and if `of` does not name
   * one declared index and a value.
   */
  revoke(id: SessionId, options?: RevokeOptions<Index>): Promise<boolean>;
  /**
   * Ends all sessions with an index value and returns their number, for example to log a user out on all devices. No
   * session that was created before the call remains, if the index has them all: if not, use `reindex` before, or the option
   * `scan`. A concurrent
   * `create` either fails with a `SessionConflictError`, or its session appears in `list`. The operation timeout applies to
   * each page of sessions.
   */
  revokeAll(by: IndexQuery<Index>, options?: RevokeAllOptions): Promise<number>;
  /**
   * Enters each session into the indexes that miss it, and returns the number of sessions that an index missed: those that were
   * created before the index was declared, those that an older version of the application created or changed since, and those
   * that the index has lost. Does not restart idle timeouts, and limits do not apply. May run while the store is in use, and again at any
   * time: sessions that are in their indexes stay as they are.
   *
   * A session whose data does not fit the schema is entered into the indexes that it was in, and reported as an `invalid`
   * event. The operation timeout applies to each 100 sessions.
   *
   * @throws {TypeError} If the store has no indexes.
   */
  reindex(options?: WalkOptions): Promise<number>;
  /**
   * Ends all sessions and returns their number, including those that do not fit the schema. Goes through all keys again
   * until a pass finds no session. Every session whose `create` returned before the call has then ended, and so has every
   * session that existed when the last pass began. A session created after that may remain. While logins go on, the call
   * may need many passes: refuse logins until it returns, or stop it with `signal`.
   */
  revokeEverybody(options?: WalkOptions): Promise<number>;
  /** Updates all sessions with an index value and returns their number. Does not restart idle timeouts. */
  updateAll(by: IndexQuery<Index>, patch: PatchInput<T>, options?: CallOptions): Promise<number>;
  /**
   * Returns a page of the sessions with an index value. Sessions whose data does not fit the schema are left out and reported
   * as `invalid` events. A session that keeps the value appears once in all pages, whatever else is created or ends meanwhile.
   *
   * @throws {RangeError} If `limit` is out of range, or `cursor` is not of a page of the same index value.
   */
  list(by: IndexQuery<Index>, options?: ListOptions): Promise<SessionPage<T>>;
  /** Returns the number of sessions with an index value, including those whose data does not fit the schema. */
  count(by: IndexQuery<Index>, options?: CallOptions): Promise<number>;
  /**
   * Iterates over all sessions in no particular order, for maintenance. Sessions whose data does not fit the schema are left
   * out and reported as `invalid` events.
   */
  scan(options?: CallOptions): AsyncIterable<Session<T>>;

  /** Internal. The middleware calls it when a request has two session cookies. A wrapper of the store should pass it on. */
  readonly "~twoCookies"?: (cookieName: string) => void;
  /** Type-only. TypeScript compares methods bivariantly; this property makes it check `New` and `Index` strictly. */
  readonly "~accepts"?: (data: New | undefined, index: Index | undefined) => void;
}

/** The data of the sessions of a store: `type Visit = DataOf<typeof store>`. */
export type DataOf<Store> = Store extends SessionStore<infer T, infer _New, infer _Index> ? T : never;

/** The data that `create` of a store accepts: `type NewVisit = NewDataOf<typeof store>`. */
export type NewDataOf<Store> = Store extends SessionStore<infer _T, infer New, infer _Index> ? New : never;
