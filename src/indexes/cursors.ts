import { hash } from "node:crypto";
import { kindOf } from "../base/checks.ts";

/**
 * The cursors of lists of sessions. A cursor is the score of the last index member that was read, with a checksum of the
 * index entry, so that the cursor of another list is an error. It may be shown: it contains no ID and no index value.
 *
 * @module
 */

/** Returns the cursor of the page that follows the index member with this score. */
export function cursorAfter(entry: string, score: number): string {
  return `${score.toString(36)}.${hash("sha256", `${score} ${entry}`, "base64url").slice(0, 22)}`;
}

/**
 * Returns the score after which the page of a cursor begins; 0 without a cursor.
 *
 * @throws {TypeError} If the cursor is not a text.
 * @throws {RangeError} If the cursor is not one of this index entry.
 */
export function scoreAt(action: string, entry: string, cursor: unknown): number {
  if (cursor === undefined || cursor === null) return 0;
  if (typeof cursor !== "string") {
    throw new TypeError(`Cannot ${action} as cursor must be a text or null: received ${kindOf(cursor)}`);
  }
  const score = Number.parseInt(cursor, 36);
  if (!Number.isSafeInteger(score) || cursor !== cursorAfter(entry, score)) {
    const rule = "cursor must come from the page before, of the same index value";
    throw new RangeError(`Cannot ${action} as ${rule}: received another text`);
  }
  return score;
}
