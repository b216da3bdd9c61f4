import { absoluteOf, deadlineOf, idleSecondsOrDefault, reserved, type StoredSession, timeOf } from "../record.ts";
import type { Session } from "../session.ts";

/** Creates the `Session` that callers receive from a record and its decoded data. */
export function snapshot<T>(id: string, record: StoredSession, data: T): Session<T> {
  const createdAt = timestamp(record[reserved.createdAt]);
  const lastAccessedAt = timestamp(record[reserved.lastAccessedAt]);
  const idleTimeout = idleSecondsOrDefault(record);
  const end = deadlineOf(record);
  // With index entries, the end moves on with the indexes.
  const absolute = absoluteOf(record);
  const deadline = absolute === null ? end : absolute.deadline;
  const idleEnd = lastAccessedAt.getTime() + idleTimeout * 1000;
  const authenticatedAt = timeOf(record[reserved.authenticatedAt]);
  return Object.freeze({
    id,
    data,
    createdAt,
    lastAccessedAt,
    authenticatedAt: Number.isNaN(authenticatedAt) ? null : new Date(authenticatedAt),
    idleTimeout,
    expiresAt: new Date(Math.min(idleEnd, end ?? Number.POSITIVE_INFINITY)),
    deadline: deadline === null ? null : new Date(deadline),
  });
}

/** Parses a time. Returns the epoch for unknown formats of other programs, which must not make the session unreadable. */
function timestamp(text: string | undefined): Date {
  const time = timeOf(text);
  return new Date(Number.isNaN(time) ? 0 : time);
}
