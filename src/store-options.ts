import type { SessionBackend } from "./backend.ts";
import type { Duration } from "./base/durations.ts";
import type { SessionId } from "./base/token.ts";
import type { SessionSchema } from "./data.ts";
import type { SessionBackendError, SessionIssue } from "./errors.ts";

/** The result of an index function: one value, several, or none. An empty string is a `TypeError`. */
export type IndexValue = string | readonly string[] | null | undefined;

/**
 * The declaration of an index: the name of a string field, or a field with a function that returns its index values.
 * Updates of other fields do not touch the index.
 */
export type SessionIndex<T> =
  | { [K in keyof T & string]: Exclude<T[K], null | undefined> extends string ? K : never }[keyof T & string]
  | { [K in keyof T & string]: { readonly from: K; readonly values: (field: T[K]) => IndexValue } }[keyof T & string];

/**
 * A limit for the number of sessions with the same index value (ASVS 5.0 7.1.2). Ended sessions do not count. One exception
 * with `reject`: a session that expires or changes its index value within a minute of getting it counts until the end of
 * that minute.
 */
export interface SessionLimit {
  /** The maximum number of sessions, from 1 to 100,000. */
  readonly max: number;
  /**
   * The effect of a session that gets the index value at the limit, by `create` or by a change: the session that has had
   * the value for longest ends, or the call fails with a `SessionConflictError`.
   */
  readonly whenFull: "evict-oldest" | "reject";
}

/** The limits of the declared indexes. Without indexes the values are `never`, because TypeScript accepts any key in `{}`. */
export type SessionLimits<Index extends string> = [Index] extends [never]
  ? { readonly [name: string]: never }
  : { readonly [Name in Index]?: SessionLimit | undefined };

/** Options for `createSessionStore`. */
export interface SessionStoreOptions<T, In, Index extends string = never> {
  /** The zod object schema of the session data. */
  readonly schema: SessionSchema<T, In>;
  /** The backend that stores the sessions, from `redisBackend` or `memoryBackend`. */
  readonly backend: SessionBackend;
  /**
   * The time without access after which a session expires, in whole seconds; default `"30m"`. The OWASP session management
   * cheat sheet recommends 15 to 30 minutes.
   */
  readonly idleTimeout?: Duration | undefined;
  /**
   * The maximum lifetime of a session, in whole seconds, regardless of activity; default `"none"`. Set it to the same value
   * as `idleTimeout` for a fixed lifetime.
   */
  readonly absoluteTimeout?: Duration | "none" | undefined;
  /**
   * The indexes by which `list`, `count`, `updateAll` and `revokeAll` find sessions, for example `{ user: "userId" }`. Index
   * values have 1 to 512 bytes. They appear in keys of the backend, so they must not be secret. A session that was created
   * before an index was declared enters it with its next `get`.
   */
  readonly indexes?: { readonly [K in Index]: SessionIndex<T> } | undefined;
  /** The maximum number of sessions per index value, for each index; default: no limits. */
  readonly limits?: SessionLimits<NoInfer<Index>> | undefined;
  /**
   * The maximum number of index entries of a session, from 1 to 10,000; default 64. A session with more is a
   * `SessionDataError`, so that one user cannot fill the backend with keys.
   */
  readonly maxIndexEntries?: number | undefined;
  /**
   * The maximum size of the data of a session in bytes, from 1 to 536,870,912; default 65,536. Field names and the stored
   * texts count, in UTF-8. More is a `SessionDataError`: nothing is written, and larger stored data is not decoded.
   */
  readonly maxBytes?: number | undefined;
  /**
   * The minimum time between two touches of a session, in seconds; default 0: every `get` touches. A longer interval saves
   * writes, but a session may expire earlier by this time. At most a hundredth of the session's own idle timeout counts, so
   * that short sessions stay alive while they are used. Must be less than `idleTimeout`.
   */
  readonly touchInterval?: Duration | undefined;
  /**
   * Upgrades stored data that does not fit the schema. The result is validated like the data of `create`, but keys that are
   * not in the schema are ignored. Valid data is written back by compare-and-set. Otherwise the call fails with a
   * `SessionDataError`.
   *
   * @param stored The user's fields: decoded if they fit the schema, else as stored.
   */
  readonly migrate?: ((stored: Readonly<Record<string, unknown>>) => unknown) | undefined;
  /** Called after each event. Errors that it throws, and promises that it rejects, are ignored. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined;
  /**
   * Whether to share sessions with programs that follow the guides of the Redis documentation; default false. With `true`,
   * the token is only a session ID and is stored as it is. `rotate`, `revoke` and indexes are not available. Create a new
   * session at login instead of rotating the token.
   */
  readonly plainIds?: boolean | undefined;
  /**
   * The maximum duration of a call; default `"2s"`, at most `"30s"`. Then it fails with `timeout`. Function
   * updates of one session take turns within a process, and their wait is part of the duration.
   */
  readonly operationTimeout?: Duration | undefined;
  /**
   * The clock of the store: returns Unix milliseconds; default `Date.now`. The memory backend has no other clock. Redis goes by
   * its own, so there it only decides about the times of events and whether `touchInterval` is over.
   */
  readonly now?: (() => number) | undefined;
}

/** An event for `onEvent`. Contains session IDs, but no tokens and no values of the data. Paths in `issues` may show keys. */
export type SessionEvent =
  | { readonly type: "created"; readonly id: SessionId; readonly at: Date }
  | { readonly type: "rotated"; readonly id: SessionId; readonly at: Date }
  /**
   * A request had the token from before the last rotation. If the rotation was seconds ago, the request was late; long
   * after it, the cookie may be stolen. `rotatedAt` is the time of the rotation; `null` if version 0.1.0 rotated it.
   */
  | { readonly type: "reused"; readonly id: SessionId; readonly at: Date; readonly rotatedAt: Date | null }
  /** A request had the ID of a session with a wrong secret: a guess, or a token from before the last two rotations. */
  | { readonly type: "wrong-secret"; readonly id: SessionId; readonly at: Date }
  /** A request had the token of a session that is bound to a device, without a proof of that device: perhaps a thief. */
  | { readonly type: "unproven"; readonly id: SessionId; readonly at: Date }
  | { readonly type: "destroyed"; readonly id: SessionId; readonly at: Date }
  /** The session was ended without its token: by its ID, by an index value, with all others, or because of a limit. */
  | {
      readonly type: "revoked";
      readonly id: SessionId;
      readonly at: Date;
      readonly reason: "id" | "index" | "everybody" | "limit";
    }
  /** The stored data of a session does not fit the schema. */
  | {
      readonly type: "invalid";
      readonly id: SessionId;
      readonly at: Date;
      readonly issues: readonly Pick<SessionIssue, "code" | "path">[];
    }
  | { readonly type: "conflict"; readonly id: SessionId; readonly at: Date }
  /**
   * A request had two different values of the session cookie and was treated as a request without a session. Either the
   * path or domain of the cookie was changed, or another host of the domain set a cookie with the same name.
   */
  | { readonly type: "two-cookies"; readonly id: null; readonly at: Date; readonly cookieName: string }
  /** The backend failed. A call that its own caller aborted reports no event. */
  | {
      readonly type: "unavailable";
      readonly id: SessionId | null;
      readonly at: Date;
      readonly reason: Exclude<SessionBackendError["reason"], "aborted">;
    };
