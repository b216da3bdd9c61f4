import type { Written } from "../backend.ts";
import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import type { LimitedWrite } from "../indexes/limits.ts";
import type { Registry } from "../indexes/members.ts";
import {
  absoluteOf,
  absoluteText,
  changedCopy,
  deadlineOf,
  expectation,
  indexEntries,
  reserved,
  type StoredSession,
} from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import { coverMs, INDEX_FIELDS, settingDeadline } from "./extension.ts";
import type { Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Edit, Storage } from "./storage.ts";
import { type Decoded, differenceOf, versionOf } from "./upgrade.ts";

/** Writes changes that move sessions to other index entries. */
export interface Moves {
  /**
   * Writes a change, and moves the session to other index entries if it changes a field that an index reads, or the version.
   *
   * @param record The record as it was read.
   * @param isLimited Whether the limits of the indexes apply to the new entries; default true.
   * @throws {SessionConflictError} As `write`; with the reason `limit`, if an index with a `reject` limit is full.
   */
  writeIndexed(
    target: Target,
    record: StoredSession,
    edit: Edit,
    isLimited?: boolean,
  ): Promise<Written | "changed" | null>;
  /** Writes a change that moves the session to these index entries. Enters the ones that the record does not have. */
  move(
    target: Target,
    record: StoredSession,
    entries: readonly string[],
    edit: Edit,
    isLimited: boolean,
  ): Promise<Written | "changed" | null>;
  /**
   * Returns the index entries of a record with this data: those of the data, and those of indexes that the store does not
   * declare. A record of another version of the schema keeps all that it has, because that version alone knows its index values.
   * Reports data that has none, for example an empty string, and returns `null`.
   */
  entriesAfter(id: string, record: StoredSession, data: unknown): string[] | null;
  /**
   * Stores a session of an earlier version in its present form, and moves it to the index entries of its data if it has
   * others, because the index was declared later, or another version of the application, which does not declare it, has
   * changed the data. Reports failures as events. Returns the stored record, or `changed` if another call changed the session
   * meanwhile.
   */
  healed(target: Target, decoded: Decoded<unknown>): Promise<StoredSession | "changed">;
}

export function createMoves<T>(
  { report, version }: Settings,
  codec: Codec<T>,
  { indexes }: Registry,
  limitedWrite: LimitedWrite,
  { fields, write }: Storage,
): Moves {
  const writeIndexed: Moves["writeIndexed"] = async (target, record, edit, isLimited = true) => {
    const names = [...Object.keys(edit.set), ...edit.remove];
    const isMoving = names.some((name) => name === reserved.version || indexes.sources.has(name));
    if (!isMoving) return await write(target, edit);
    const after = changedCopy(record, edit.set, edit.remove);
    return await move(target, record, entriesOf(after, codec.decode(after)), edit, isLimited);
  };

  function entriesOf(record: StoredSession, data: unknown): string[] {
    const held = indexEntries(record);
    const entries = indexes.entriesAfter(held, data);
    return versionOf(record) === version ? entries : [...new Set([...entries, ...held])];
  }

  const move: Moves["move"] = async (target, record, entries, edit, isLimited) => {
    const held = indexEntries(record);
    if (hasEntries(record, entries)) {
      const expect = { ...edit.expect, ...expectation(record, [reserved.index]) };
      return await write(target, { ...edit, expect });
    }
    const present = deadlineOf(record);
    const known = absoluteOf(record);
    const { deadline: absolute, moves } = known ?? { deadline: present, moves: 0 };

    /** @param covered Until when the new indexes are known to hold the session; absent if there are none. */
    function moving(covered: number): Pick<Edit, "set" | "remove"> {
      const end = entries.length === 0 ? absolute : present;
      const change = settingDeadline(Math.min(end ?? Number.POSITIVE_INFINITY, covered));
      const set = {
        ...edit.set,
        ...change.set,
        [reserved.index]: JSON.stringify(entries),
        [reserved.absolute]: absoluteText({ deadline: absolute, moves: moves + 1 }),
      };
      return { set, remove: [...edit.remove, ...change.remove] };
    }

    return await limitedWrite(target.step, {
      action: "move a session to another index value",
      key: target.key,
      entries: entries.filter((entry) => known === null || !held.includes(entry)),
      coverMs: coverMs(changedCopy(record, edit.set, edit.remove)),
      isLimited,
      write(entered) {
        const expect = { ...edit.expect, ...expectation(record, INDEX_FIELDS) };
        const { covered = Number.POSITIVE_INFINITY, notAfter } = entered ?? {};
        return write(target, { ...edit, ...moving(covered), expect, notAfter });
      },
      isWritten: (written) => typeof written === "object" && written !== null,
    });
  };

  const entriesAfter: Moves["entriesAfter"] = (id, record, data) => {
    try {
      return entriesOf(record, data);
    } catch (error) {
      const message = "an index value is not a string of 1 to 512 bytes, or its function threw an error";
      const issues = error instanceof SessionDataError ? error.issues : [{ code: "custom", path: [], message }];
      report(id, new SessionDataError(`Cannot index a session as ${message}`, { issues, origin: "stored" }));
      return null;
    }
  };

  const healed: Moves["healed"] = async (target, { stored, record, data }) => {
    // The fields of this version may be stale in a session of a later version, which alone knows its index values.
    if (versionOf(stored) > version) return stored;
    const entries = entriesAfter(target.id, record, data);
    if (entries === null) return stored;
    const isUpgraded = stored !== record;
    if (!isUpgraded && hasEntries(stored, entries)) return stored;
    const expect = expectation(stored, isUpgraded ? [...fields, reserved.version] : [...indexes.sources]);
    try {
      const edit = { ...differenceOf(stored, record), expect };
      const written = await move(target, stored, entries, edit, false);
      if (written === null) return stored;
      return written === "changed" ? written : written.after;
    } catch (error) {
      if (error instanceof SessionConflictError) return stored;
      if (!(error instanceof SessionBackendError)) throw error;
      // The session keeps its form and its index entries, and the next touch tries again.
      report(target.id, error);
      return stored;
    }
  };

  return { writeIndexed, move, entriesAfter, healed };
}

/** Whether a record has exactly these index entries, and its deadline depends on them. */
export function hasEntries(record: StoredSession, entries: readonly string[]): boolean {
  const held = indexEntries(record);
  const isSame = held.length === entries.length && held.every((entry) => entries.includes(entry));
  return isSame && (held.length === 0 || absoluteOf(record) !== null);
}
