import { nullObject } from "../base/null-object.ts";
import { reserved, type StoredSession } from "../record.ts";

/** A record with its decoded data. */
export interface Decoded<T> {
  /** The record as it is stored. */
  readonly stored: StoredSession;
  /** The record in the form of the present version: the same object, unless the session is of an earlier version. */
  readonly record: StoredSession;
  readonly data: T;
}

/** Returns the version of the schema that the data was written by; `NaN` if it cannot be read. */
export function versionOf(record: StoredSession): number {
  const text = record[reserved.version];
  if (text === undefined) return 1;
  return /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : Number.NaN;
}

/** Returns the change that turns one record into another. */
export function differenceOf(
  before: StoredSession,
  after: StoredSession,
): { readonly set: StoredSession; readonly remove: readonly string[] } {
  const set = nullObject();
  for (const [name, text] of Object.entries(after)) {
    if (before[name] !== text) set[name] = text;
  }
  return { set, remove: Object.keys(before).filter((name) => after[name] === undefined) };
}
