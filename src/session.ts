import type { NumberField, OptionalField, PatchInput } from "./data.ts";

/** A session as it was when it was read: a frozen plain object without methods, without the token, safe to log. */
export interface Session<out T> {
  /**
   * Names the session for as long as it lives, rotations included. Opens nothing: 22 base64url characters, or with
   * `plainIds` the token's SHA-256 in 43.
   */
  readonly id: string;
  /** Frozen in depth, as far as it is plain objects and arrays. */
  readonly data: Readonly<T>;
  /** The epoch, 1970, where another program stored something that is no time; so are the next two. */
  readonly createdAt: Date;
  readonly lastAccessedAt: Date;
  /** When the user last proved who they are: at `create`, or at a `rotate` that said `authenticated: true`. */
  readonly authenticatedAt: Date;
  /** Seconds without access after which the session ends. */
  readonly idleTimeout: number;
  /** When the session ends unless it is touched before: the earlier of the idle end and the deadline. */
  readonly expiresAt: Date;
  /** When it ends whatever happens; `null` without an absolute timeout. */
  readonly deadline: Date | null;
}

/** A session with the secret that opens it. Not a `Session`, so that it is never logged or sent as one by accident. */
export interface IssuedSession<out T> {
  /** For the cookie, and for nothing else. */
  readonly token: string;
  readonly session: Session<T>;
}

/**
 * Was the user authenticated within the last `maxAge` seconds? For step-up before a sensitive action (ASVS 5.0 7.5.1
 * and 7.5.3). A time more than a minute in the future, which no difference between clocks explains, is not fresh.
 *
 * @param now Unix milliseconds.
 */
export function isFresh(session: Session<unknown>, maxAge: number, now: number = Date.now()): boolean {
  const age = now - session.authenticatedAt.getTime();
  return age >= -60_000 && age <= maxAge * 1000;
}

/**
 * Timeouts in seconds after NIST SP 800-63B-4, sections 2.1.3, 2.2.3 and 2.3.3, to be spread into the options. Level 1
 * leaves the idle timeout open; here it is half of the absolute one.
 */
export const timeouts: {
  readonly [Level in "aal1" | "aal2" | "aal3"]: { readonly idleTimeout: number; readonly absoluteTimeout: number };
} = Object.freeze({
  aal1: Object.freeze({ idleTimeout: 15 * 86_400, absoluteTimeout: 30 * 86_400 }),
  aal2: Object.freeze({ idleTimeout: 3600, absoluteTimeout: 86_400 }),
  aal3: Object.freeze({ idleTimeout: 900, absoluteTimeout: 12 * 3600 }),
});

// ------------------------------------------------------------------------------------------ the store

/** Last argument of every method. */
export interface CallOptions {
  /** Settles the call early with a `SessionBackendError` whose reason is `"aborted"`. */
  readonly signal?: AbortSignal | undefined;
}

/** Of `create`. */
export interface CreateOptions extends CallOptions {
  /** Seconds, in place of the store's. */
  readonly idleTimeout?: number | undefined;
  /** Seconds, in place of the store's; at least the idle timeout. */
  readonly absoluteTimeout?: number | undefined;
}

/** Of `rotate`. */
export interface RotateOptions<T> extends CallOptions {
  /** Changes data in the same step. */
  readonly patch?: PatchInput<T> | undefined;
  /** Seconds in place of the present idle timeout. */
  readonly idleTimeout?: number | undefined;
  /** Stamps `authenticatedAt`; say so after a password, passkey or second factor, not for a mere change of role. */
  readonly authenticated?: boolean | undefined;
  /**
   * Seconds for which the old token still reads and writes the session, without ever yielding the new one; less than
   * the idle timeout. 0, the default, ends it at once: requests that are under way are anonymous for that one answer.
   * Not together with `authenticated`.
   */
  readonly grace?: number | undefined;
}

/** Of `revokeAll`. */
export interface RevokeAllOptions extends CallOptions {
  /** The session that stays: any object with its id, usually the current session. */
  readonly except?: { readonly id: string } | null | undefined;
}

/** Of `list`. */
export interface ListOptions extends CallOptions {
  /** Stops after this many; default: all. */
  readonly limit?: number | undefined;
}

/** One declared index and a value, as in `{ user: "42" }`. */
export type IndexQuery<Index extends string, Name extends Index = Index> = Name extends unknown
  ? Readonly<Record<Name, string> & Partial<Record<Exclude<Index, Name>, never>>>
  : never;

/**
 * Sessions whose data is a `T`.
 *
 * A function that needs sessions says `SessionStore<Visit>`; one that only reads and changes some fields and never
 * creates says `SessionStore<{ userId: string }, never>`; every store with these fields fits.
 *
 * Absence is `null`: no such session, one that has ended, a wrong or malformed token. All methods that take a token
 * restart the session's idle timeout, except `peek` and `destroy`; the others do not. They reject with
 *
 * - `SessionBackendError` if the backend fails, is late or `signal` aborts: never read that as "no session";
 * - `SessionDataError` if given data does not fit (`origin: "given"`, nothing written) or stored data does not fit any
 *   more (`origin: "stored"`, and the record stays);
 * - `TypeError` or `RangeError` if an argument is of the wrong kind.
 *
 * @typeParam T The data of a session.
 * @typeParam New What `create` takes; `never` for a function that creates none.
 * @typeParam Index Names of the indexes that are used.
 */
export interface SessionStore<T, New = T, Index extends string = never> {
  /**
   * Makes a session: the only way one comes into being. A full new login is a `create`, which starts new timeouts.
   *
   * @throws {RangeError} If a timeout is no positive whole number, or the idle timeout exceeds the absolute one.
   * @throws {SessionConflictError} `limit`, if an index value has as many sessions as it may; `revoked`, if a
   * `revokeAll` of one of its index values came in between.
   */
  create(data: New, options?: CreateOptions): Promise<IssuedSession<T>>;
  /** Reads and touches. With `touchInterval`, touches only if the last touch is older. */
  get(token: string, options?: CallOptions): Promise<Session<T> | null>;
  /** Reads and does not touch. */
  peek(token: string, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Writes the fields of the patch and no others, so that two calls that change different fields both win. A function
   * of the data is applied by compare-and-set, again and again if others write meanwhile.
   *
   * An object patch is applied even if another field of the record turns out not to fit the schema any more; the call
   * then rejects with `SessionDataError` all the same.
   *
   * @throws {SessionConflictError} `contended`, if others change the session each time before a function's patch can be
   * written; `revoked`, if it took too long to move the session to another index value.
   */
  update(token: string, patch: PatchInput<T>, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Adds to a number, atomically, and gives the sum. An absent field starts from its default, else from 0.
   *
   * @param by A safe integer, 1 if left out.
   * @throws {SessionDataError} If the sum leaves the field's bounds or the stored number is no safe integer; nothing is
   * written.
   */
  increment(token: string, field: NumberField<T>, by?: number, options?: CallOptions): Promise<number | null>;
  /**
   * Reads and removes an optional field; of any number of callers exactly one gets the value. For flash messages and
   * one-time codes.
   */
  take<K extends OptionalField<T>>(
    token: string,
    field: K,
    options?: CallOptions,
  ): Promise<Exclude<T[K], undefined> | null>;
  /** Changes this session's idle timeout, in seconds. */
  setIdleTimeout(token: string, seconds: number, options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Gives the session a new token and ends the old one; also known as regenerate, renew or cycle. Id, `createdAt` and
   * deadline stay. Of two rotations at once one wins and the other gets `null`: after a double click on "log in", the
   * second request has nothing to set and the browser keeps the winner's cookie.
   *
   * If it rejects, the old token stays valid and nothing is changed. A rotation that was done nevertheless is taken back
   * behind the caller's back, which is tried for 30 seconds; requests with the old token to this store wait for that,
   * and other processes may find it `reused` until then.
   *
   * @throws {TypeError} With `plainIds`, where the key is the token.
   */
  rotate(token: string, options?: RotateOptions<T>): Promise<IssuedSession<T> | null>;
  /** Ends the session of this token. Was there one? */
  destroy(token: string, options?: CallOptions): Promise<boolean>;

  /** Ends a session by its id. Was there one? A malformed id is `false`. @throws {TypeError} With `plainIds`. */
  revoke(id: string, options?: CallOptions): Promise<boolean>;
  /**
   * Ends every session with this index value and says how many. Afterwards every one whose `create` had answered before
   * the call is gone; a `create` that was under way fails with `SessionConflictError` or is listed. Each page of sessions
   * has the time of an operation.
   */
  revokeAll(by: IndexQuery<Index>, options?: RevokeAllOptions): Promise<number>;
  /** Writes the patch to every session with this index value and says how many. Does not touch. */
  updateAll(by: IndexQuery<Index>, patch: PatchInput<T>, options?: CallOptions): Promise<number>;
  /** The sessions with this index value, in no order. One that no longer fits the schema is left out and reported. */
  list(by: IndexQuery<Index>, options?: ListOptions): Promise<Session<T>[]>;
  /** How many live sessions have this index value, those that no longer fit the schema included. */
  count(by: IndexQuery<Index>, options?: CallOptions): Promise<number>;
  /** Every session, page by page, in no order; for maintenance. One that no longer fits the schema is left out and reported. */
  scan(options?: CallOptions): AsyncIterable<Session<T>>;

  /** How the HTTP side reports a request that had two values of the session cookie of this name. A wrapper passes it on. */
  readonly "~twoCookies"?: (cookieName: string) => void;
  /** Never there at run time. Makes TypeScript compare `New` and `Index` strictly, which it does not do for methods. */
  readonly "~accepts"?: (data: New, index: Index) => void;
}
