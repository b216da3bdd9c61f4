import type { SessionBackend } from "./backend.ts";
import type { SessionSchema } from "./data.ts";
import type { SessionBackendError, SessionIssue } from "./errors.ts";

/** What an index function may return: a value, several, or none. An empty string is a TypeError. */
export type IndexValue = string | readonly string[] | null | undefined;

/** A field whose string is the value, or one field and how to take values from it. Naming the field lets a patch of other fields skip the index. */
export type SessionIndex<T> =
  | { [K in keyof T & string]: Exclude<T[K], null | undefined> extends string ? K : never }[keyof T & string]
  | { [K in keyof T & string]: { readonly from: K; readonly values: (field: T[K]) => IndexValue } }[keyof T & string];

/**
 * How many sessions one value of an index may have (ASVS 5.0 7.1.2). Those that have ended do not count; with `reject`, one
 * that timed out or moved away within a minute of its entering keeps its place until that minute is over, as it cannot be
 * told from one that is being written.
 */
export interface SessionLimit {
  readonly max: number;
  /** What a `create` beyond `max` does: ends the oldest, or fails with a `SessionConflictError`. */
  readonly whenFull: "evict-oldest" | "reject";
}

/** Limits of declared indexes. Where there is none, `never`: TypeScript lets any key into an object type without keys. */
export type SessionLimits<Index extends string> = [Index] extends [never]
  ? { readonly [name: string]: never }
  : { readonly [Name in Index]?: SessionLimit | undefined };

/** Of `createSessionStore`. */
export interface SessionStoreOptions<T, In, Index extends string = never> {
  readonly schema: SessionSchema<T, In>;
  readonly backend: SessionBackend;
  /** Seconds; default 1800. OWASP's session management cheat sheet names 15 to 30 minutes. */
  readonly idleTimeout?: number | undefined;
  /** Seconds; default: none. Equal to `idleTimeout` for a fixed lifetime. */
  readonly absoluteTimeout?: number | undefined;
  /**
   * What can be looked up: by a string field of the data, or by values taken from one field. Values are 1 to 512 bytes
   * and appear in keys: no secrets. With indexes every session has an absolute timeout: 400 days where none is given.
   */
  readonly indexes?: { readonly [K in Index]: SessionIndex<T> } | undefined;
  /** How many sessions one value of an index may have. */
  readonly limits?: SessionLimits<NoInfer<Index>> | undefined;
  /** Seconds that may pass between two touches; default 0: every read touches. Shortens an idle timeout by at most this. */
  readonly touchInterval?: number | undefined;
  /**
   * Called with a stored record that does not fit the schema. What it returns is validated as `create` does, keys that
   * the schema does not name aside, and, if it fits, written back by compare-and-set; if not, the read fails with a
   * `SessionDataError`.
   *
   * @param stored The user's fields: decoded where the schema says how, text as stored elsewhere.
   */
  readonly migrate?: ((stored: Readonly<Record<string, unknown>>) => unknown) | undefined;
  /** Told what happened. What it throws or rejects with changes nothing. */
  readonly onEvent?: ((event: SessionEvent) => void) | undefined;
  /**
   * Default false. `true` shares sessions with programs written after the Redis documentation's guides: the token is
   * the id alone, which then is stored as it is, and `rotate` is refused: a new login is a `create`.
   */
  readonly plainIds?: boolean | undefined;
  /** Milliseconds within which every call settles; default 2000, at most 30000. */
  readonly operationTimeoutMs?: number | undefined;
  /** The clock, in Unix milliseconds; default `Date.now`. The only one: backends get the time with each call. */
  readonly now?: (() => number) | undefined;
}

/** What happened. Carries ids, never tokens or data. */
export type SessionEvent =
  | { readonly type: "created"; readonly id: string; readonly at: Date }
  | { readonly type: "rotated"; readonly id: string; readonly at: Date }
  /**
   * The token before the last rotation was presented: by a late request if the rotation was seconds ago, long after it
   * perhaps by a thief. `rotatedAt` is the time of the rotation, `null` if an older version made it.
   */
  | { readonly type: "reused"; readonly id: string; readonly at: Date; readonly rotatedAt: Date | null }
  | { readonly type: "destroyed"; readonly id: string; readonly at: Date }
  /** Somebody else ended it: by its id, with all of an index value, or to make room at a limit. */
  | { readonly type: "revoked"; readonly id: string; readonly at: Date; readonly reason: "id" | "index" | "limit" }
  /** Its absolute timeout ended it, and its record was still there to show it. */
  | { readonly type: "expired"; readonly id: string; readonly at: Date; readonly reason: "absolute" }
  /** A stored record does not fit the schema. */
  | { readonly type: "invalid"; readonly id: string; readonly at: Date; readonly issues: readonly SessionIssue[] }
  | { readonly type: "conflict"; readonly id: string; readonly at: Date }
  /**
   * A request used its session and had two different values of the session cookie, so it counts as one without a session:
   * the cookie's path or domain was changed, or another host of the domain set a cookie of this name.
   */
  | { readonly type: "two-cookies"; readonly id: null; readonly at: Date; readonly cookieName: string }
  | {
      readonly type: "unavailable";
      readonly id: string | null;
      readonly at: Date;
      readonly reason: SessionBackendError["reason"];
    };
