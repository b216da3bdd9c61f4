import type { SessionBackend } from "./backend.ts";
import type { Duration } from "./base/durations.ts";
import type { SessionId } from "./base/token.ts";
import type { MigratedData, SessionMigration, SessionSchema } from "./data.ts";
import type { SessionBackendError, SessionIssue } from "./errors.ts";

/** The result of an index function: one value, several, or none. An empty string is a `TypeError`. */
export type IndexValue = string | readonly string[] | null | undefined;

/** The names of the string fields, which may be optional or null. */
type StringField<T> = {
  [K in keyof T & string]: Exclude<T[K], null | undefined> extends string ? K : never;
}[keyof T & string];

/** An index with a limit, or with values that a function takes from the field `from`. */
interface IndexFrom<From> {
  readonly from: From;
  /** The maximum number of sessions with the same value; default: no limit. */
  readonly limit?: SessionLimit | undefined;
}

/**
 * The declaration of an index: the name of a string field, or an object with the field `from`, a `limit`, and a function
 * that returns the index values of the field; a string field needs none. Updates of other fields do not touch the index.
 */
export type SessionIndex<T> =
  | StringField<T>
  | { [K in StringField<T>]: IndexFrom<K> & { readonly values?: undefined } }[StringField<T>]
  | {
      [K in keyof T & string]: IndexFrom<K> & { readonly values: (field: T[K]) => IndexValue };
    }[keyof T & string];

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

/** Options for `createSessionStore`. */
export interface SessionStoreOptions<T, In, Index extends string = never, Old = {}> {
  /**
   * The zod object schema of the session data. Arrays and objects in its fields may be `.readonly()`, so that TypeScript sees
   * that session data is frozen; the schema itself may not.
   */
  readonly schema: SessionSchema<T, In>;
  /** The backend that stores the sessions, from `redisBackend` or `memoryBackend`. */
  readonly backend: SessionBackend;
  /**
   * The time without access after which a session expires, in whole seconds; default `"30m"`. The OWASP session management
   * cheat sheet recommends 15 to 30 minutes.
   */
  readonly idleTimeout?: Duration | undefined;
  /**
   * The maximum lifetime of a session, in whole seconds, regardless of activity; default `"30d"`, and `"none"` for no
   * maximum. Set it to the same value as `idleTimeout` for a fixed lifetime.
   *
   * A session that was created under a longer one, or under none, gets the shorter one when it is next used. It counts from
   * the creation of the session, by the backend's clock. Sessions whose `create` was given an `absoluteTimeout` keep that.
   */
  readonly absoluteTimeout?: Duration | "none" | undefined;
  /**
   * The indexes by which `list`, `count`, `updateAll` and `revokeAll` find sessions, for example `{ user: "userId" }`, or
   * `{ user: { from: "userId", limit: { max: 5, whenFull: "evict-oldest" } } }`. Index values have 1 to 512 bytes. They
   * appear in keys of the backend, so they must not be secret. A session that was created before an index was declared enters
   * it with its next `get`, or by `reindex`.
   */
  readonly indexes?: { readonly [K in Index]: SessionIndex<T> } | undefined;
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
   * The minimum time between two touches of a session. Default: a hundredth of the session's idle timeout, and at most 60 s.
   * With 0 every `get` touches. A longer interval saves writes, but a session may expire earlier by this time, never later. At
   * most a hundredth of the session's own idle timeout counts, so a session ends at most 1 % early. Must be less than
   * `idleTimeout`.
   */
  readonly touchInterval?: Duration | undefined;
  /**
   * The version of the schema, a whole number from 1 to 999,999,999; default 1. It is stored with each session. Raise it with
   * every change that stored sessions do not survive by themselves, for example a renamed field, and add to `migrations` how
   * they do.
   */
  readonly version?: number | undefined;
  /**
   * For each earlier version, its schema and a function from its data to data of the present schema:
   *
   *     version: 2,
   *     migrations: { 1: { from: visitV1, to: ({ cart, ...rest }) => ({ ...rest, basket: cart }) } },
   *
   * A migration runs because the version of a session is lower than that of the store, and only then. Reads return the
   * migrated data. The first call that touches or changes the session stores it, by compare-and-set, and reports a `migrated`
   * event. Fields that only the earlier schema names stay in the session, for processes of the earlier version. Together with
   * them the session must not exceed `maxBytes`; otherwise they are removed.
   *
   * A session is a `SessionDataError` with the origin `stored`, and stays as it is, if its version is lower and not named here
   * (the issue `unknown_version`), if it does not fit the earlier schema, or if the result does not fit the present one. A
   * session of a later version is read by the present schema, and everything else in it is left alone.
   */
  readonly migrations?:
    | {
        readonly [Version in keyof Old]: SessionMigration<
          Old[Version],
          MigratedData<NoInfer<T>, NoInfer<In>, NoInfer<Old[Version]>>
        >;
      }
    | undefined;
  /**
   * Called after each event. Without it, the first failure of the backend, and the first stored session that does not fit the
   * schema, are warnings on the console. Errors that it throws, and promises that it rejects, are ignored.
   */
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
  /** A session of an earlier version was stored in its present form. `version` is the one that it had. */
  | { readonly type: "migrated"; readonly id: SessionId; readonly at: Date; readonly version: number }
  | { readonly type: "conflict"; readonly id: SessionId; readonly at: Date }
  /**
   * A request had two different values of the session cookie and was treated as a request without a session. Either the
   * path or domain of the cookie was changed, or another host of the domain set a cookie with the same name.
   */
  | { readonly type: "two-cookies"; readonly id: null; readonly at: Date; readonly cookieName: string }
  /**
   * The backend may remove indexes when its memory is full, by this policy of Redis. `revokeAll` then misses sessions. Reported
   * once, after the first session entered an index.
   */
  | { readonly type: "indexes-evictable"; readonly id: null; readonly at: Date; readonly policy: string }
  /** The backend failed. A call that its own caller aborted reports no event. The error contains no token and no data. */
  | {
      readonly type: "unavailable";
      readonly id: SessionId | null;
      readonly at: Date;
      readonly error: SessionBackendError;
    };
