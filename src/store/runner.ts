import { callOptions } from "../base/checks.ts";
import { type Step, withTimeout } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import type { CallOptions } from "../call-options.ts";
import { SessionDataError } from "../errors.ts";
import type { Settings } from "./settings.ts";

/** The session of an operation, identified by its parsed token, with the operation's access to the backend. */
export interface Target extends ParsedToken {
  readonly step: Step;
  /** Whether nobody presented the token: it is of a rotation under way, or an ID of the store itself. Default false. */
  readonly isInternal?: boolean;
}

/** Runs operations with a timeout and reports failures as events. */
export interface Runner {
  /**
   * Runs an operation.
   *
   * @param id The session ID for the events; `null` if there is none.
   */
  run<R>(
    action: string,
    id: string | null,
    signal: AbortSignal | undefined,
    operation: (step: Step) => Promise<R>,
  ): Promise<R>;
  /** Runs an operation on the session of a token. Returns `null` for a malformed token without calling the backend. */
  withToken<R>(
    action: string,
    token: string,
    options: CallOptions | undefined,
    operation: (target: Target) => Promise<R>,
  ): Promise<R | null>;
  /** Returns the session under a key that the store itself found, not a caller with a token. */
  ofKey(key: string, step: Step): Target;
  /** Returns the result of the operation. If stored data does not fit the schema, reports it and returns `null`. */
  orReport<R>(id: string, operation: () => Promise<R>): Promise<R | null>;
}

export function createRunner({ operationTimeoutMs, report, tokens }: Settings): Runner {
  const run: Runner["run"] = async (action, id, signal, operation) => {
    try {
      return await withTimeout(action, operationTimeoutMs, signal, operation);
    } catch (error) {
      report(id, error);
      throw error;
    }
  };

  return {
    run,
    withToken(action, token, options, operation) {
      const { signal } = callOptions(action, options);
      const parsedToken = tokens.read(token);
      if (parsedToken === null) return Promise.resolve(null);
      return run(action, parsedToken.id, signal, (step) => operation({ ...parsedToken, step }));
    },
    ofKey: (key, step) => ({ ...tokens.ofKey(key), isInternal: true, step }),
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
