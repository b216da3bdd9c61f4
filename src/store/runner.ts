import { type Step, withTimeout } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import type { CallOptions } from "../session.ts";
import type { Settings } from "./settings.ts";

/** The session that an operation is about: what its token leads to, and the operation's way to the backend. */
export interface Target extends ParsedToken {
  readonly step: Step;
}

/** Runs operations in time, and reports what went wrong. */
export interface Runner {
  /** @param id The session it is about, for the events. */
  run<R>(
    action: string,
    id: string | null,
    signal: AbortSignal | undefined,
    operation: (step: Step) => Promise<R>,
  ): Promise<R>;
  /** On the session of a token; `null` for a malformed one, which never reaches the backend. */
  withToken<R>(
    action: string,
    token: string,
    options: CallOptions | undefined,
    operation: (target: Target) => Promise<R>,
  ): Promise<R | null>;
  /** What the operation gives, or `null`, reported, if the session's stored data does not fit. */
  orReport<R>(id: string, operation: () => Promise<R>): Promise<R | null>;
}

export function createRunner({ emit, operationTimeoutMs, time, tokens }: Settings): Runner {
  const run: Runner["run"] = async (action, id, signal, operation) => {
    try {
      return await withTimeout(action, operationTimeoutMs, signal, operation);
    } catch (error) {
      report(id, error);
      throw error;
    }
  };

  function report(id: string | null, error: unknown): void {
    if (error instanceof SessionBackendError) {
      emit({ type: "unavailable", id, at: new Date(time()), reason: error.reason });
    } else if (error instanceof SessionConflictError && id !== null) {
      emit({ type: "conflict", id, at: new Date(time()) });
    } else if (error instanceof SessionDataError && error.origin === "stored" && id !== null) {
      emit({ type: "invalid", id, at: new Date(time()), issues: error.issues });
    }
  }

  return {
    run,
    withToken(action, token, options, operation) {
      const parsedToken = tokens.read(token);
      if (parsedToken === null) return Promise.resolve(null);
      return run(action, parsedToken.id, options?.signal, (step) => operation({ ...parsedToken, step }));
    },
    async orReport(id, operation) {
      try {
        return await operation();
      } catch (error) {
        if (!(error instanceof SessionDataError && error.origin === "stored")) throw error;
        report(id, error);
        return null;
      }
    },
  };
}
