/** One thing that does not fit. `z.prettifyError` and its like take the error that carries them. */
export interface SessionIssue {
  /** What is wrong, in zod's words: `invalid_type`, `too_big`, `unrecognized_keys`, `custom`. */
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Data that does not fit the schema. Names paths and codes, never values. */
export class SessionDataError extends Error {
  override readonly name = "SessionDataError" as const;
  readonly issues: readonly SessionIssue[];
  /** Was it given by the caller, and nothing was written, or found in the backend, where it stays? */
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

/** The present state does not admit the operation, and nothing was changed. */
export class SessionConflictError extends Error {
  override readonly name = "SessionConflictError" as const;
  /**
   * `contended`: others changed the session each time between reading and writing it; `revoked`: a revocation came in
   * between; `limit`: the index value has as many sessions as it may.
   */
  readonly reason: "contended" | "revoked" | "limit";

  constructor(message: string, reason: SessionConflictError["reason"]) {
    super(message);
    this.reason = reason;
  }
}

/** The backend did not do its part. Says nothing about whether there is a session. */
export class SessionBackendError extends Error {
  override readonly name = "SessionBackendError" as const;
  /**
   * `unavailable`: no connection, or a server that cannot answer now; `timeout`: no answer within the operation's time;
   * `aborted`: the caller's signal; `rejected`: the server refused, as when it is full or read-only.
   */
  readonly reason: "unavailable" | "timeout" | "aborted" | "rejected";
  /** Is it certain that nothing was changed? After `unknown` the operation may still take effect. */
  readonly outcome: "not-applied" | "unknown";

  constructor(
    message: string,
    options: {
      readonly reason: SessionBackendError["reason"];
      readonly outcome: SessionBackendError["outcome"];
      readonly cause?: unknown;
    },
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.reason = options.reason;
    this.outcome = options.outcome;
  }
}
