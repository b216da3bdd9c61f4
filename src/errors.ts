/**
 * One reason why data does not fit the schema. Has the form of a zod issue, so zod's formatters, for example
 * `z.prettifyError`, accept a `SessionDataError`.
 */
export interface SessionIssue {
  /** The code of the zod issue: `invalid_type`, `too_big`, `unrecognized_keys`, or `custom` for every code not of zod. */
  readonly code: string;
  /** The path to the value. May contain data: the keys of records and unrecognized keys. */
  readonly path: readonly PropertyKey[];
  /** The reason, for example "expected string". Contains no data, and no message of a refinement. */
  readonly message: string;
}

/**
 * The error for data that does not fit the schema. Its message lists the path and the reason of up to ten issues and
 * contains no data: keys that the schema does not declare are printed as `[key]`.
 */
export class SessionDataError extends Error {
  override readonly name = "SessionDataError" as const;
  /** All issues, without the values. */
  readonly issues: readonly SessionIssue[];
  /**
   * The origin of the data. `given`: passed by the caller, and nothing was written. `stored`: read from the backend, where
   * it stays.
   */
  readonly origin: "given" | "stored";

  constructor(
    message: string,
    issues: readonly SessionIssue[],
    options: { readonly origin: SessionDataError["origin"]; readonly cause?: unknown },
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.issues = issues;
    this.origin = options.origin;
  }
}

/** The error for an operation that conflicts with the state of the store. Nothing was changed. */
export class SessionConflictError extends Error {
  override readonly name = "SessionConflictError" as const;
  /**
   * The kind of conflict. `contended`: the session was changed concurrently in every attempt. `revoked`: sessions of the
   * index value were revoked concurrently. `limit`: the index value has the maximum number of sessions.
   */
  readonly reason: "contended" | "revoked" | "limit";

  constructor(message: string, reason: SessionConflictError["reason"]) {
    super(message);
    this.reason = reason;
  }
}

/** The error for a failure of the backend. The session may exist or not: do not treat the user as logged out. */
export class SessionBackendError extends Error {
  override readonly name = "SessionBackendError" as const;
  /**
   * The kind of failure. `unavailable`: there is no connection, or the server cannot answer now. `timeout`: there was no
   * answer within the operation timeout. `aborted`: the caller's signal was aborted. `rejected`: the server refused the
   * command, for example because it is full or read-only; or a server, or its certificate, that no retry makes acceptable:
   * credentials, database and protocol as well; or the client or the backend is closed.
   */
  readonly reason: "unavailable" | "timeout" | "aborted" | "rejected";
  /** The effect of the operation. `not-applied`: nothing was changed. `unknown`: it may have taken effect, or still may. */
  readonly outcome: "not-applied" | "unknown";
  /**
   * The number of sessions that `revokeAll`, `revokeEverybody` or `updateAll` had certainly changed before the failure; 0
   * for all other methods. If it is more than 0, the outcome is `unknown`.
   */
  readonly done: number;

  constructor(
    message: string,
    options: {
      readonly reason: SessionBackendError["reason"];
      readonly outcome: SessionBackendError["outcome"];
      readonly done?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.reason = options.reason;
    this.outcome = options.outcome;
    this.done = options.done ?? 0;
  }
}
