import { warn } from "../base/warnings.ts";
import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import type { SessionEvent } from "../store-options.ts";

/**
 * Reports a failed operation as an event. An error that has no event is ignored.
 *
 * @param id The session ID for the event; `null` if there is none.
 */
export type Report = (id: string | null, error: unknown) => void;

/**
 * Creates a report of one store.
 *
 * @param isHeard Whether the application listens to events. If not, the first session that does not fit is a warning on the
 * console, because a new schema would otherwise log everybody out without a trace.
 */
export function createReport(emit: (event: SessionEvent) => void, time: () => number, isHeard: boolean): Report {
  let isWarned = isHeard;

  function warnOfInvalid({ message, issues }: SessionDataError): void {
    if (isWarned) return;
    isWarned = true;
    const codes = [...new Set(issues.map(({ code }) => code))].join(", ");
    warn(`${message} (${codes}). This is written once per store: pass onEvent to learn of each such session`);
  }

  return (id, error) => {
    if (error instanceof SessionBackendError) {
      // The application itself aborted the call.
      if (error.reason !== "aborted") emit({ type: "unavailable", id, at: new Date(time()), error });
    } else if (error instanceof SessionConflictError && id !== null) {
      emit({ type: "conflict", id, at: new Date(time()) });
    } else if (error instanceof SessionDataError && error.origin === "stored" && id !== null) {
      const issues = error.issues.map(({ code, path }) => ({ code, path }));
      emit({ type: "invalid", id, at: new Date(time()), issues });
      warnOfInvalid(error);
    }
  };
}
