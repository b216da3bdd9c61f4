/**
 * Who may access a record: the check of the secret, of the device and of the deadline.
 *
 * @module
 */
import { deadlineOf, isSession, NO_SECRET, reserved, type StoredSession, timeOf, unixMilliseconds } from "../record.ts";

/** The caller's credentials and the current time. */
export interface Access {
  /**
   * The verifier of the presented secret. `"none"` gives access only to sessions that have no verifier, and `null` gives
   * access by the key alone.
   */
  readonly verifier: string | null;
  /** Whether the secret before the last rotation is accepted during its grace period. */
  readonly previous: boolean;
  /** The SHA-256 hash, in base64url, of what proves that the request comes from the device of the session. Default: none. */
  readonly proof?: string | null | undefined;
  /** Whether a session that is bound to a device is accessed without a proof, for example to end it. Default false. */
  readonly unproven?: boolean | undefined;
  /** The time of the store's clock, in Unix milliseconds. A backend that has a clock of its own ignores it. */
  readonly now: number;
}

/**
 * The answer for a secret that the last rotation replaced, with the stored time of that rotation if the record has it.
 */
export type Reused = "reused" | `reused at ${string}`;

/** The session exists, but the secret is not its secret. */
export type WrongSecret = Reused | "wrong-secret";

/**
 * The reason why no session is returned: `null` if it does not exist; `wrong-secret` if its secret is another; `reused` if
 * the secret was replaced by a rotation; `unproven` if the session is bound to a device and there is no valid proof of it;
 * `invalid` if the reserved fields cannot be read. Callers treat `wrong-secret` and `unproven` as `null`, but may report them.
 */
export type Absence = null | WrongSecret | "unproven" | "invalid";

export function isReused(answer: unknown): answer is Reused {
  return answer === "reused" || (typeof answer === "string" && answer.startsWith(REUSED_AT));
}

const REUSED_AT = "reused at ";

/** Returns the time of the rotation that replaced the secret; `null` if it is not stored or cannot be read. */
export function rotatedAt(answer: Reused): Date | null {
  const at = timeOf(answer.slice(REUSED_AT.length));
  return Number.isNaN(at) ? null : new Date(at);
}

/** Checks whether the caller may access the record. */
export function checkAccess(record: StoredSession, access: Access): "open" | Absence {
  if (!isSession(record)) return null;
  const secret = checkSecret(record, access);
  if (secret !== "open") return secret;
  const deadline = deadlineOf(record);
  if (Number.isNaN(deadline)) return "invalid";
  return deadline !== null && deadline <= access.now ? null : "open";
}

/**
 * Checks the presented secret against the current one, and against the previous one in its grace period. During the grace
 * period the previous secret is never `reused`: if it is not accepted, the request is merely late. Then checks the proof of
 * the device. Access by the key alone needs neither.
 */
export function checkSecret(record: StoredSession, access: Access): "open" | WrongSecret | "unproven" | null {
  if (access.verifier === null) return "open";
  const secret = secretAnswer(record, access);
  return secret === "open" && !isProven(record, access) ? "unproven" : secret;
}

function secretAnswer(record: StoredSession, access: Access): "open" | WrongSecret | null {
  if (access.verifier === (record[reserved.verifier] ?? NO_SECRET)) return "open";
  if (access.verifier !== record[reserved.previous]) {
    return record[reserved.verifier] === undefined ? null : "wrong-secret";
  }
  const grace = unixMilliseconds(record[reserved.grace] ?? "");
  if (grace > access.now) return access.previous ? "open" : null;
  const at = record[reserved.rotatedAt];
  return at === undefined ? "reused" : `${REUSED_AT}${at}`;
}

/** Whether the session is not bound to a device, or the access has a proof of it that has not expired or needs none. */
function isProven(record: StoredSession, { now, proof, unproven = false }: Access): boolean {
  const bound = record[reserved.bound] ?? "";
  if (unproven || !bound.startsWith("!")) return true;
  return bound
    .slice(1)
    .split(" ")
    .some((value) => {
      const match = /^([^.]+)\.([0-9]+)$/.exec(value);
      return match !== null && match[1] === proof && unixMilliseconds(match[2] ?? "") > now;
    });
}
