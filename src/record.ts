/**
 * The stored form of a session: text fields beside ten reserved ones, compatible with the session-store guides of the
 * Redis documentation.
 *
 * @module
 */
import { nullObject } from "./base/null-object.ts";

/** A session as stored: every value text, reserved fields included. */
export type StoredSession = Readonly<Record<string, string>>;

/** The reserved fields. */
export const reserved = {
  /** RFC 3339. */
  createdAt: "created_at",
  /** RFC 3339; moved by every touch. */
  lastAccessedAt: "last_accessed_at",
  /** The idle timeout in seconds: plain digits. */
  idleTimeout: "session_ttl",
  /** When the session ends whatever happens, Unix milliseconds: plain digits. */
  deadline: "session_deadline",
  /** RFC 3339; absent while it is the creation. */
  authenticatedAt: "session_authenticated_at",
  /** SHA-256 of the secret that opens, base64url. */
  verifier: "session_verifier",
  /** The verifier before the last rotation. */
  previous: "session_previous",
  /** When the last rotation was, RFC 3339. */
  rotatedAt: "session_rotated_at",
  /** Until when the previous secret still opens, Unix milliseconds: plain digits. */
  grace: "session_grace",
  /** The index entries that this session is under: JSON, an array of `<name>:<value>`. */
  index: "session_index",
} as const;

/** In the order in which scripts and plain reads ask for them. */
export const RESERVED_FIELDS: readonly string[] = Object.values(reserved);

/** The one field of a tombstone, which is no session and keeps its key from becoming one. */
export const TOMBSTONE_FIELD = "session_revoked";

/** Idle timeout of a record that neither its own field nor its key's expiry tells: what the guides default to. */
export const FALLBACK_IDLE_SECONDS = 1800;

/** Names that no schema may use: those in use, and room for more. */
export function isReserved(field: string): boolean {
  return field === reserved.createdAt || field === reserved.lastAccessedAt || field.startsWith("session_");
}

/** Has it the three fields without which a hash is not a session? */
function isSession(record: StoredSession): boolean {
  return (
    record[reserved.createdAt] !== undefined &&
    record[reserved.lastAccessedAt] !== undefined &&
    record[reserved.idleTimeout] !== undefined
  );
}

/** The idle timeout in seconds, or `null` where the text is not what every program reads alike: 1 to 2147483647. */
export function idleSeconds(record: StoredSession): number | null {
  const text = record[reserved.idleTimeout] ?? "";
  return /^[1-9][0-9]{0,9}$/.test(text) && Number(text) <= 2_147_483_647 ? Number(text) : null;
}

/** The deadline in Unix milliseconds, `null` if there is none, `NaN` if it cannot be read. */
export function deadlineOf(record: StoredSession): number | null {
  const text = record[reserved.deadline];
  return text === undefined ? null : unixMilliseconds(text);
}

/** The index entries of a record; none if they cannot be read. */
export function indexEntries(record: StoredSession): readonly string[] {
  try {
    const entries: unknown = JSON.parse(record[reserved.index] ?? "[]");
    return Array.isArray(entries) ? entries : [];
  } catch {
    return [];
  }
}

/** The last moment that was put into words. */
let latest = { at: Number.NaN, text: "" };

/** A moment, Unix milliseconds, as RFC 3339. */
export function timeText(at: number): string {
  // Under load many are of one millisecond, and a conversion takes long beside the rest of a read.
  if (at !== latest.at) latest = { at, text: new Date(at).toISOString() };
  return latest.text;
}

/** Unix milliseconds of RFC 3339, and of what else programs write; `NaN` where there is none or it cannot be read. */
export function timeOf(text: string | undefined): number {
  return text === latest.text ? latest.at : Date.parse(text ?? "");
}

/** Who asks, and when. */
export interface Access {
  /** The verifier of the presented secret; `null` opens by key alone. */
  readonly verifier: string | null;
  /** Does the secret before the last rotation open while its grace lasts? */
  readonly previous: boolean;
  /** Unix milliseconds, of the store's one clock. */
  readonly now: number;
}

/** The secret was replaced by the last rotation, whose time follows as it is stored, if it is. */
export type Reused = "reused" | `reused at ${string}`;

/**
 * Why there is no answer: nothing that this access reaches (`null`), its secret was replaced by a rotation (`reused`), its
 * reserved fields cannot be read (`invalid`), or a record that was still there has passed its deadline (`expired`, which
 * is as good as `null`).
 */
export type Absence = null | Reused | "invalid" | "expired";

export function isReused(answer: unknown): answer is Reused {
  return answer === "reused" || (typeof answer === "string" && answer.startsWith(REUSED_AT));
}

const REUSED_AT = "reused at ";

/** When the rotation was that replaced the secret; `null` if that is not stored or cannot be read. */
export function rotatedAt(answer: Reused): Date | null {
  const at = timeOf(answer.slice(REUSED_AT.length));
  return Number.isNaN(at) ? null : new Date(at);
}

/** Does this access reach the record? Absence and a wrong secret are one: `null`. */
export function checkAccess(record: StoredSession, access: Access): "open" | Absence {
  if (!isSession(record)) return null;
  const secret = matchSecret(record, access);
  if (secret !== "open") return secret;
  const deadline = deadlineOf(record);
  if (Number.isNaN(deadline)) return "invalid";
  return deadline !== null && deadline <= access.now ? "expired" : "open";
}

/**
 * Is the presented secret the present one, or the previous one in its grace? In its grace it is never `reused`: where it
 * does not open, the request is merely late.
 */
export function matchSecret(record: StoredSession, access: Access): "open" | Reused | null {
  if (access.verifier === null || access.verifier === record[reserved.verifier]) return "open";
  if (access.verifier !== record[reserved.previous]) return null;
  const grace = unixMilliseconds(record[reserved.grace] ?? "");
  if (grace > access.now) return access.previous ? "open" : null;
  const at = record[reserved.rotatedAt];
  return at === undefined ? "reused" : `${REUSED_AT}${at}`;
}

/**
 * Milliseconds a session has left after a touch: min(idle timeout, deadline - now). A deadline that cannot be read says
 * nothing about that: it makes the session invalid.
 */
export function lifetime(record: StoredSession, idleTimeout: number, now: number): number {
  const deadline = deadlineOf(record);
  const idle = idleTimeout * 1000;
  return deadline === null || Number.isNaN(deadline) ? idle : Math.min(idle, deadline - now);
}

/** A copy with some fields set and some removed. */
export function changedCopy(
  record: StoredSession,
  set: StoredSession,
  remove: readonly string[],
): Record<string, string> {
  const next: Record<string, string> = Object.assign(nullObject(), record, set);
  for (const name of remove) delete next[name];
  return next;
}

/** Fifteen digits reach the year 33658. */
function unixMilliseconds(text: string): number {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
