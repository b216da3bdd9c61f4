import { SessionDataError } from "../errors.ts";
import { exceeds, type StoredSession } from "../record.ts";

/** Refuses records whose data is too large. */
export interface SizeLimit {
  readonly maxBytes: number;
  /** Creates the error for data that the caller gave. Nothing was written. */
  refusal(action: string): SessionDataError;
  /** @throws {SessionDataError} With the origin `given`. */
  checkGiven(action: string, set: StoredSession): void;
  /** @throws {SessionDataError} With the origin `stored`. */
  checkStored(record: StoredSession): void;
}

/** @param maxBytes The maximum size of the user's fields, names and texts. */
export function sizeLimit(maxBytes: number): SizeLimit {
  const issue = { code: "too_many_bytes", path: [], message: `expected at most ${maxBytes} bytes` };
  function refuse(action: string, origin: SessionDataError["origin"]): SessionDataError {
    const message = `Cannot ${action} as its data must have at most ${maxBytes} bytes (maxBytes): received more`;
    return new SessionDataError(message, { issues: [issue], origin });
  }
  return {
    maxBytes,
    refusal: (action) => refuse(action, "given"),
    checkGiven(action, set) {
      if (exceeds(set, maxBytes)) throw refuse(action, "given");
    },
    checkStored(record) {
      if (exceeds(record, maxBytes)) throw refuse("read a session", "stored");
    },
  };
}
