/**
 * The stored form of a session: a record of text with reserved fields and the fields of the user. It is compatible
 * with the session-store guides of the Redis documentation.
 *
 * @module
 */
import { nullObject } from "./base/null-object.ts";

/** The stored form of a session: all fields as text, including the reserved ones. */
export type StoredSession = Readonly<Record<string, string>>;

/** The names of the reserved fields. */
export const reserved = {
  /** The time of creation in RFC 3339 format. */
  createdAt: "created_at",
  /** The time of the last touch in RFC 3339 format. */
  lastAccessedAt: "last_accessed_at",
  /** The idle timeout in seconds, as digits. */
  idleTimeout: "session_ttl",
  /**
   * The time at which the session ends although it is in use, as Unix milliseconds. Without index entries this is the absolute
   * timeout. With index entries it is the earlier of the absolute timeout and the time until which the indexes are known to
   * hold the session.
   */
  deadline: "session_deadline",
  /** The SHA-256 hash of the current secret, in base64url. */
  verifier: "session_verifier",
  /**
   * The proofs of the device that are valid: `!<hash>.<end> <hash>.<end>`, with ends in Unix milliseconds. If the text begins
   * with `!`, the session cannot be accessed by its secret without one of them.
   */
  bound: "session_bound",
  /**
   * Only in a session that has or had index entries: `<absolute timeout>/<moves>`. The absolute timeout is as in
   * `session_deadline`, or empty if there is none; `moves` counts the changes of `session_index`.
   */
  absolute: "session_absolute",
  /**
   * "1" if `create` gave the session an absolute timeout of its own. The absolute timeout of the store then does not apply to
   * it, even if that is shorter.
   */
  ownDeadline: "session_own_deadline",
  /** The time of the last authentication in RFC 3339 format; absent if the user did not authenticate in this session. */
  authenticatedAt: "session_authenticated_at",
  /** The verifier before the last rotation. */
  previous: "session_previous",
  /** The time of the last rotation, RFC 3339. */
  rotatedAt: "session_rotated_at",
  /** The end of the grace period of the previous secret as Unix milliseconds, as digits. */
  grace: "session_grace",
  /** The index entries of the session: a JSON array of strings `<name>:<value>`. */
  index: "session_index",
  /** The version of the schema that the data was written by, as digits; absent for version 1. */
  version: "session_version",
  /** The device that the session is bound to. */
  device: "session_device",
} as const;

/** The reserved fields in the order in which scripts and plain reads request them. */
export const RESERVED_FIELDS: readonly string[] = Object.values(reserved);

/** The reserved fields that decide whether the present secret gives access. They come first among `RESERVED_FIELDS`. */
export const ACCESS_FIELDS: readonly string[] = RESERVED_FIELDS.slice(0, 6);

/** The fields that a touch may change. */
const TOUCHED_FIELDS = [reserved.lastAccessedAt, reserved.idleTimeout, reserved.deadline] as const;

/** Returns the record with the fields that a touch of the same session has returned. */
export function withTouch(touched: StoredSession, record: StoredSession): StoredSession {
  const next = changedCopy(record, {}, TOUCHED_FIELDS);
  for (const name of TOUCHED_FIELDS) if (touched[name] !== undefined) next[name] = touched[name];
  return next;
}

/** The verifier of an access that has no secret. It never is the hash of one. */
export const NO_SECRET = "none";

/** The only field of a tombstone. A tombstone is not a session and prevents the insert of one under its key. */
export const TOMBSTONE_FIELD = "session_revoked";

/** Whether a field name is not allowed in schemas: the reserved fields, and names kept for later versions. */
export function isReserved(field: string): boolean {
  return field === reserved.createdAt || field === reserved.lastAccessedAt || field.startsWith("session_");
}

/** Whether the record has `created_at`, `last_accessed_at` and `session_ttl`, as every session has. */
export function isSession(record: StoredSession): boolean {
  return (
    record[reserved.createdAt] !== undefined &&
    record[reserved.lastAccessedAt] !== undefined &&
    record[reserved.idleTimeout] !== undefined
  );
}

/** Returns the idle timeout in seconds; `null` if the text is not a plain number from 1 to 2147483647. */
export function idleSeconds(record: StoredSession): number | null {
  const text = record[reserved.idleTimeout] ?? "";
  return /^[1-9][0-9]{0,9}$/.test(text) && Number(text) <= 2_147_483_647 ? Number(text) : null;
}

/** The idle timeout of a record that has no readable one: the default of the guides. */
export const DEFAULT_IDLE_SECONDS = 1800;

/** Returns the idle timeout in seconds, `DEFAULT_IDLE_SECONDS` if the text cannot be read. */
export function idleSecondsOrDefault(record: StoredSession): number {
  return idleSeconds(record) ?? DEFAULT_IDLE_SECONDS;
}

/** Returns the deadline in Unix milliseconds; `null` if there is none, `NaN` if it cannot be read. */
export function deadlineOf(record: StoredSession): number | null {
  const text = record[reserved.deadline];
  return text === undefined ? null : unixMilliseconds(text);
}

/** The content of `session_absolute`. */
export interface Absolute {
  /** The absolute timeout in Unix milliseconds; `null` if there is none. */
  readonly deadline: number | null;
  /** How often the index entries changed. */
  readonly moves: number;
}

/** Returns the content of `session_absolute`; `null` if it is absent or cannot be read. */
export function absoluteOf(record: StoredSession): Absolute | null {
  const match = /^([0-9]{1,15})?\/([0-9]{1,15})$/.exec(record[reserved.absolute] ?? "");
  if (match === null) return null;
  return { deadline: match[1] === undefined ? null : Number(match[1]), moves: Number(match[2]) };
}

/** Formats the content of `session_absolute`. */
export function absoluteText({ deadline, moves }: Absolute): string {
  return `${deadline ?? ""}/${moves}`;
}

/** Returns the index entries of a record; none if they cannot be read. Anything but text in them is left out. */
export function indexEntries(record: StoredSession): readonly string[] {
  try {
    const entries: unknown = JSON.parse(record[reserved.index] ?? "[]");
    return Array.isArray(entries) ? entries.filter((entry) => typeof entry === "string") : [];
  } catch {
    return [];
  }
}

/** The last result of `timeText`. */
let latest = { at: Number.NaN, text: "" };

/** Formats Unix milliseconds as RFC 3339. */
export function timeText(at: number): string {
  // Under load, many calls are in the same millisecond, and formatting is slow compared to the rest of a read.
  if (at !== latest.at) latest = { at, text: new Date(at).toISOString() };
  return latest.text;
}

/** Parses a time in RFC 3339 or another format of `Date.parse` to Unix milliseconds; `NaN` if it is absent or invalid. */
export function timeOf(text: string | undefined): number {
  return text === latest.text ? latest.at : Date.parse(text ?? "");
}

/**
 * Returns the remaining lifetime after a touch in milliseconds: min(idle timeout, deadline - now). Ignores a deadline that
 * cannot be read, because it makes the session invalid anyway.
 *
 * @param idleTimeout In seconds.
 */
export function lifetime(record: StoredSession, idleTimeout: number, now: number): number {
  const deadline = deadlineOf(record);
  const idle = idleTimeout * 1000;
  return deadline === null || Number.isNaN(deadline) ? idle : Math.min(idle, deadline - now);
}

/**
 * Whether the session lives for more than half of its idle timeout without a touch. False if its times cannot be read, or if
 * its last access is in the future.
 */
export function isFarFromEnd(record: StoredSession, now: number): boolean {
  const idle = (idleSeconds(record) ?? Number.NaN) * 1000;
  const idleEnd = timeOf(record[reserved.lastAccessedAt]) + idle;
  return idleEnd - now <= idle && Math.min(idleEnd, deadlineOf(record) ?? idleEnd) - now > idle / 2;
}

/** Copies a record with some fields set and some removed. */
export function changedCopy(
  record: StoredSession,
  set: StoredSession,
  remove: readonly string[],
): Record<string, string> {
  const next: Record<string, string> = Object.assign(nullObject(), record, set);
  for (const name of remove) delete next[name];
  return next;
}

/** Returns the text that a compare-and-set expects in each field; `null` for an absent field. */
export function expectation(record: StoredSession, names: readonly string[]): Record<string, string | null> {
  const text = nullObject<string | null>();
  for (const name of names) text[name] = record[name] ?? null;
  return text;
}

/** Whether the user's fields have more than `maxBytes` bytes, names and texts in UTF-8. */
export function exceeds(record: StoredSession, maxBytes: number): boolean {
  let units = 0;
  for (const name in record) units += name.length + (record[name] as string).length;
  // A UTF-16 unit takes at most three bytes in UTF-8, so most records need no count.
  if (3 * units <= maxBytes) return false;
  const encoder = new TextEncoder();
  let bytes = 0;
  for (const [name, text] of Object.entries(record)) {
    if (!isReserved(name)) bytes += encoder.encode(name).length + encoder.encode(text).length;
  }
  return bytes > maxBytes;
}

/** Parses Unix milliseconds of up to fifteen digits, which reach the year 33658; `NaN` for other text. */
export function unixMilliseconds(text: string): number {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
