import type { Duration } from "./base/durations.ts";
import type { SessionId, SessionToken } from "./base/token.ts";
import type { IndexQuery, PatchInput } from "./data.ts";

/** Options for every method of a store. */
export interface CallOptions {
  /** Aborts the call: it then rejects with a `SessionBackendError` with the reason `aborted`, and reports no event. */
  readonly signal?: AbortSignal | undefined;
}

/** Options for `create`. */
export interface CreateOptions extends CallOptions {
  /**
   * Sets `authenticatedAt`, which is `null` by default. `true` if the user has just entered a password, passkey or the like;
   * a `Date` if an identity provider authenticated the user then: `new Date(auth_time * 1000)` with OpenID Connect.
   */
  readonly authenticated?: true | Date | undefined;
  /** The idle timeout of this session, in whole seconds; default: that of the store. */
  readonly idleTimeout?: Duration | undefined;
  /**
   * The absolute timeout of this session, in whole seconds and at least the idle timeout; `"none"` for no absolute timeout.
   * The session keeps it: a shorter absolute timeout of the store does not apply to this session. Default: that of the store.
   */
  readonly absoluteTimeout?: Duration | "none" | undefined;
}

/** Options for `create` of a store. The session of a request replaces the session that the request came with. */
export interface StoreCreateOptions extends CreateOptions {
  /**
   * The token of the session that the new one replaces, for example at login. It ends after the new session was written,
   * and does not count toward the limits of the indexes. If `create` fails, it stays. Default: none. A token that is not
   * valid has no effect.
   */
  readonly replaces?: SessionToken | null | undefined;
}

/** Options for `rotate`: a change that comes with the new token, or a grace period for the old one, but not both. */
export type RotateOptions<T> = RotateWithChange<T> | RotateWithGrace;

/** Options for a `rotate` that makes the old token invalid at once. */
export interface RotateWithChange<T> extends CallOptions {
  /** Changes of the session data, applied in the same step. */
  readonly patch?: PatchInput<T> | undefined;
  /** A new idle timeout, in whole seconds; default: unchanged. */
  readonly idleTimeout?: Duration | undefined;
  /**
   * Sets `authenticatedAt`, as for `create`: after the user entered a password, passkey or second factor. Default: it does
   * not change. Leave it out for other rotations, for example after a change of role.
   */
  readonly authenticated?: true | Date | undefined;
  readonly grace?: undefined;
}

/** Options for a `rotate` that keeps the old token valid for a short time. Everything else stays as it is. */
export interface RotateWithGrace extends CallOptions {
  /**
   * How long the old token can still read and write the session, but not rotate it, so that requests sent before the
   * rotation are not answered as if there were no session. At most 60 seconds and less than the idle timeout.
   */
  readonly grace: Duration;
  readonly patch?: undefined;
  readonly idleTimeout?: undefined;
  readonly authenticated?: undefined;
}

/** Options for `revoke`. */
export interface RevokeOptions<Index extends string = never> extends CallOptions {
  /**
   * Ends the session only if it has this index value, for example `{ user: "42" }`; default: whatever values it has. The
   * value is compared in the same step. Use it for every ID that a user chose. A present `undefined` is a `TypeError`.
   */
  readonly of?: IndexQuery<Index>;
}

/** Options for `revokeAll`. */
export interface RevokeAllOptions extends CallOptions {
  /** A session that is not revoked, usually the current one. Any object with its `id` is accepted. */
  readonly except?: { readonly id: SessionId } | null | undefined;
  /**
   * Whether to read all sessions of the store as well, for those that the index misses; default false. Their data decides,
   * or their own list of index entries. Takes as long as `scan`.
   */
  readonly scan?: boolean | undefined;
}

/** Options for `list`. */
export interface ListOptions extends CallOptions {
  /** The maximum number of sessions on the page, from 1 to 1000; default 100. */
  readonly limit?: number | undefined;
  /** The `cursor` of the page before, of the same index value; `null` or absent for the first page. */
  readonly cursor?: string | null | undefined;
}

/** Options for `reindex` and `revokeEverybody`. */
export interface WalkOptions extends CallOptions {
  /** Called again and again with the progress so far. Errors that it throws are ignored. */
  readonly onProgress?: ((progress: WalkProgress) => void) | undefined;
}

/** The progress of an operation on all sessions: how many keys it has visited, and how many sessions it has changed or ended. */
export interface WalkProgress {
  readonly seen: number;
  readonly done: number;
}
