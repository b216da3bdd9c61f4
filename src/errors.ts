/** The property by which the copies of this package in a process recognize each other's errors. */
const CODE = Symbol.for("zession.error.code");

/**
 * Makes `instanceof` accept errors of the same code from another copy of this package. For subclasses, `instanceof` works as
 * usual. The types do not declare this, because TypeScript would then narrow subclasses to their base class.
 */
function recognize(errorClass: new (...args: never) => Error, code: string): void {
  Object.defineProperty(errorClass.prototype, CODE, { value: code });
  Object.defineProperty(errorClass, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== errorClass) return Function.prototype[Symbol.hasInstance].call(this, value);
      return typeof value === "object" && value !== null && (value as { readonly [CODE]?: unknown })[CODE] === code;
    },
  });
}

function causeOf(options: { readonly cause?: unknown }): ErrorOptions | undefined {
  return "cause" in options ? { cause: options.cause } : undefined;
}

/**
 * One reason why data does not fit the schema. Has the form of a zod issue, so zod's formatters, for example
 * `z.prettifyError`, accept a `SessionDataError`.
 */
export interface SessionIssue {
  /**
   * The code of the zod issue, for example `invalid_type`, `too_big` or `unrecognized_keys`. `too_many_bytes`: the data is
   * larger than `maxBytes`. `unknown_version`: no migration leads from the version of the session. `custom`: every other.
   */
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
  /** Identifies the kind of error in every version and copy of this package. */
  readonly code = "ERR_SESSION_DATA" as const;
  /** All issues, without the values. */
  readonly issues: readonly SessionIssue[];
  /**
   * The origin of the data. `given`: passed by the caller, and nothing was written. `stored`: read from the backend, where
   * it stays.
   */
  readonly origin: "given" | "stored";

  constructor(
    message: string,
    options: {
      readonly issues: readonly SessionIssue[];
      readonly origin: SessionDataError["origin"];
      readonly cause?: unknown;
    },
  ) {
    super(message, causeOf(options));
    this.issues = options.issues;
    this.origin = options.origin;
  }

  // `this`, because bundlers rename a class that refers to itself, and logs would show that name.
  static {
    recognize(this, "ERR_SESSION_DATA");
  }
}

/**
 * The error for an operation that conflicts with the state of the store. Nothing was changed, except by `updateAll`: see
 * `done`.
 */
export class SessionConflictError extends Error {
  override readonly name = "SessionConflictError" as const;
  /** Identifies the kind of error in every version and copy of this package. */
  readonly code = "ERR_SESSION_CONFLICT" as const;
  /**
   * The kind of conflict. `contended`: the session was changed concurrently in every attempt. `revoked`: sessions of the
   * index value were revoked concurrently. `limit`: the index value has the maximum number of sessions.
   */
  readonly reason: "contended" | "revoked" | "limit";
  /** The number of sessions that `updateAll` had changed before the conflict; 0 for all other methods. */
  readonly done: number;

  constructor(
    message: string,
    options: {
      readonly reason: SessionConflictError["reason"];
      readonly done?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, causeOf(options));
    this.reason = options.reason;
    this.done = options.done ?? 0;
  }

  static {
    recognize(this, "ERR_SESSION_CONFLICT");
  }
}

/** The error for a failure of the backend. The session may exist or not: do not treat the user as logged out. */
export class SessionBackendError extends Error {
  override readonly name = "SessionBackendError" as const;
  /** Identifies the kind of error in every version and copy of this package. */
  readonly code = "ERR_SESSION_BACKEND" as const;
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
    super(message, causeOf(options));
    this.reason = options.reason;
    this.outcome = options.outcome;
    this.done = options.done ?? 0;
  }

  static {
    recognize(this, "ERR_SESSION_BACKEND");
  }
}

/**
 * The error of `require` for a request without a session. The middleware answers it with 401, unless the handler catches
 * it.
 */
export class SessionRequiredError extends Error {
  override readonly name = "SessionRequiredError" as const;
  /** Identifies the kind of error in every version and copy of this package. */
  readonly code = "ERR_SESSION_REQUIRED" as const;

  constructor(message = "Cannot handle the request as it has no session", options: { readonly cause?: unknown } = {}) {
    super(message, causeOf(options));
  }

  static {
    recognize(this, "ERR_SESSION_REQUIRED");
  }
}
