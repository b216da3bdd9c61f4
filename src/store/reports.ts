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
 * @param isHeard Whether the application listens to events. If not, the first backend failure and the first session that does
 * not fit are warnings on the console, because a wrong address or a new schema would otherwise leave no trace.
 */
export function createReport(emit: (event: SessionEvent) => void, time: () => number, isHeard: boolean): Report {
  const warned = new Set<string>();

  function warnOnce(kind: "session" | "failure", message: string): void {
    if (isHeard || warned.has(kind)) return;
    warned.add(kind);
    warn(`${message}. This is written once per store: pass onEvent to learn of each such ${kind}`);
  }

  return (id, error) => {
    if (error instanceof SessionBackendError) {
      // The application itself aborted the call.
      if (error.reason === "aborted") return;
      emit({ type: "unavailable", id, at: new Date(time()), error });
      warnOnce("failure", error.message);
    } else if (error instanceof SessionConflictError && id !== null) {
      emit({ type: "conflict", id, at: new Date(time()) });
    } else if (error instanceof SessionDataError && error.origin === "stored" && id !== null) {
      const issues = error.issues.map(({ code, path }) => ({ code, path }));
      emit({ type: "invalid", id, at: new Date(time()), issues });
      const codes = [...new Set(issues.map(({ code }) => code))].join(", ");
      warnOnce("session", `${error.message} (${codes})`);
    }
  };
}
