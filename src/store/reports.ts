import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import type { SessionEvent } from "../store-options.ts";

/**
 * Reports a failed operation as an event. An error that has no event is ignored.
 *
 * @param id The session ID for the event; `null` if there is none.
 */
export type Report = (id: string | null, error: unknown) => void;

export function createReport(emit: (event: SessionEvent) => void, time: () => number): Report {
  return (id, error) => {
    if (error instanceof SessionBackendError) {
      // The application itself aborted the call.
      if (error.reason !== "aborted") emit({ type: "unavailable", id, at: new Date(time()), error });
    } else if (error instanceof SessionConflictError && id !== null) {
      emit({ type: "conflict", id, at: new Date(time()) });
    } else if (error instanceof SessionDataError && error.origin === "stored" && id !== null) {
      const issues = error.issues.map(({ code, path }) => ({ code, path }));
      emit({ type: "invalid", id, at: new Date(time()), issues });
    }
  };
}
