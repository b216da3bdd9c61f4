import type { Change, ReadRequest, Written } from "../backend.ts";
import { type Absence, type Access, isReused, rotatedAt } from "../base/access.ts";
import { kindOf } from "../base/checks.ts";
import type { Step } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionConflictError, SessionDataError } from "../errors.ts";
import { MAX_WRITE_DELAY_MS } from "../indexes/members.ts";
import {
  absoluteOf,
  absoluteText,
  deadlineOf,
  expectation,
  isSession,
  reserved,
  type StoredSession,
  timeOf,
} from "../record.ts";
import { type Extend, INDEX_FIELDS } from "./extension.ts";
import type { OpenRotations } from "./open-rotations.ts";
import type { Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { SizeLimit } from "./sizes.ts";
import { versionOf } from "./upgrade.ts";

/** A change without `fields`, which are the same for all reads and writes of a store. */
export interface Edit extends Omit<Change, "fields"> {
  /** Called each time the change is sent, with the reply, which may come long after the operation timed out. */
  readonly sent?: ((reply: Promise<WriteReply>, edit: Edit) => void) | undefined;
}

/** The reply of a backend to a write. */
export type WriteReply = Written | "changed" | "revoked" | "too_many_bytes" | Absence;

/** Reads and writes the records of one store, as steps of an operation. */
export interface Storage {
  /** The user's fields that reads return. */
  readonly fields: readonly string[];
  accessTo(parsedToken: ParsedToken): Access;
  /**
   * Returns the backend's answer. If there is no session, reports an event and returns `null`. Asks again if the token
   * is reported as reused only because a rotation in this process is not decided yet.
   *
   * @throws {SessionDataError} If the reserved fields cannot be read.
   */
  ask<R extends object | string>(
    target: Target,
    effect: Parameters<Step>[0],
    call: () => Promise<R | Absence>,
  ): Promise<Exclude<R, NonNullable<Absence>> | null>;
  /**
   * Reads a record.
   *
   * @param accepts As in a `ReadRequest`.
   */
  read(target: Target, accepts?: ReadRequest["accepts"]): Promise<StoredSession | null>;
  /**
   * Writes a change.
   *
   * @throws {SessionConflictError} With the reason `revoked`, if the change moves the session to another index value and
   * comes too late.
   * @throws {SessionDataError} With the origin `given`, if the record would be larger than the edit's `maxBytes`.
   */
  write(target: Target, edit: Edit): Promise<Written | "changed" | null>;
  /**
   * Brings the deadline of a session that was just read or changed up to date: it becomes earlier if the absolute timeout of
   * the store is shorter now. After a touch, it becomes later together with the indexes. Returns the present record; `null`
   * if the session has ended.
   */
  settled(target: Target, record: StoredSession, isTouched: boolean): Promise<StoredSession | null>;
  /** Returns the record with the deadline that `settled` would write; the record itself if it has that. */
  shortened(record: StoredSession): StoredSession;
}

/** What a backend may answer to a change that it refuses. */
const REFUSALS: ReadonlySet<string> = new Set([
  "changed",
  "revoked",
  "too_many_bytes",
  "too_small",
  "too_big",
  "invalid_type",
]);
/** The latest time that a deadline can be, in Unix milliseconds. */
const MAX_DEADLINE = 999_999_999_999_999;

export function createStorage(
  settings: Settings,
  fields: readonly string[],
  sizes: SizeLimit,
  extended: Extend,
  { isDecided }: OpenRotations,
): Storage {
  const { absoluteTimeout, backend, emit, time } = settings;

  const accessTo: Storage["accessTo"] = ({ verifier, previous = true, unproven = false }) => ({
    verifier,
    previous,
    unproven,
    now: time(),
  });

  const ask: Storage["ask"] = async (target, effect, call) => {
    let answer: unknown = await target.step(effect, call);
    if (isReused(answer) && !(await isDecided(target))) answer = await target.step(effect, call);
    const event = { id: target.id, at: new Date(time()) };
    if (isReused(answer)) {
      emit({ ...event, type: "reused", rotatedAt: rotatedAt(answer) });
      return null;
    }
    if (answer === "wrong-secret" || answer === "unproven") {
      if (!target.isInternal) emit({ ...event, type: answer });
      return null;
    }
    if (answer === "invalid") {
      const issue = { code: "invalid_format", path: [], message: "the reserved fields cannot be read" };
      const message = "Cannot read a session as its key is not a hash or its session_deadline is not Unix milliseconds";
      throw new SessionDataError(message, { issues: [issue], origin: "stored" });
    }
    if (typeof answer === "string") {
      // An absence that a later version of the contract knows must not pass for a session.
      if (!REFUSALS.has(answer)) return null;
    } else if (typeof answer !== "object") {
      throw new TypeError(`Cannot use a session as the backend returned ${kindOf(answer)}`);
    }
    return answer as never;
  };

  const read: Storage["read"] = async (target, accepts) => {
    const record = await ask(target, "reads", () => backend.read(target.key, accessTo(target), { fields, accepts }));
    return record && isSession(record) ? await settled(target, record, false) : null;
  };

  const settled: Storage["settled"] = async (target, record, isTouched) => {
    const set = earlierDeadline(record);
    if (set === null) return isTouched ? await extended(target, record) : record;
    // By its key, because the secret was checked, and a rotation may have replaced it.
    const reached = { ...target, verifier: null, isInternal: true };
    const change = { set, remove: [], expect: expectation(record, INDEX_FIELDS), touch: false, fields };
    const written = await ask(reached, "writes", () => backend.write(target.key, accessTo(reached), change));
    if (written === null) return null;
    if (typeof written === "object") return isTouched ? await extended(target, written.after) : written.after;
    const present = await read(reached);
    return present && isTouched ? await extended(target, present) : present;
  };

  /**
   * Returns the fields to write if the session was created under a longer absolute timeout of the store. Its creation and its
   * deadline are times of the same clock, the backend's.
   */
  function earlierDeadline(record: StoredSession): StoredSession | null {
    if (absoluteTimeout === undefined || record[reserved.ownDeadline] !== undefined) return null;
    const createdAt = record[reserved.createdAt] ?? "";
    // Date.parse reads much else as a date, for example "0" as the year 2000.
    if (!/^\d{4}-\d\d-\d\dT/.test(createdAt)) return null;
    const latest = timeOf(createdAt) + absoluteTimeout * 1000;
    const present = deadlineOf(record) ?? Number.POSITIVE_INFINITY;
    const known = absoluteOf(record);
    const isTooLate = (known === null ? present : (known.deadline ?? Number.POSITIVE_INFINITY)) > latest;
    if (!isTooLate) return null;
    const deadline = Math.min(Math.max(latest, 0), MAX_DEADLINE);
    const set = { [reserved.deadline]: String(Math.min(present, deadline)) };
    return known === null ? set : { ...set, [reserved.absolute]: absoluteText({ ...known, deadline }) };
  }

  const write: Storage["write"] = async (target, edit) => {
    if (edit.maxBytes !== undefined) sizes.checkGiven("update a session", edit.set);
    const { sent, ...change } = edit;
    const written = await ask<Written | "changed" | "revoked" | "too_many_bytes">(target, "writes", () => {
      const reply = backend.write(target.key, accessTo(target), { ...change, fields });
      sent?.(reply, edit);
      return reply;
    });
    if (written === "too_many_bytes") throw sizes.refusal("update a session");
    if (written === "revoked") {
      const why = `the write took more than ${MAX_WRITE_DELAY_MS / 1000} seconds`;
      throw new SessionConflictError(`Cannot move a session to another index value as ${why}`, { reason: "revoked" });
    }
    if (written === null || written === "changed") return written;
    const version = versionOf(written.before);
    if (versionOf(written.after) > version) emit({ type: "migrated", id: target.id, at: new Date(time()), version });
    if (edit.touch === false) return written;
    const after = await settled(target, written.after, true);
    return after && { ...written, after };
  };

  const shortened: Storage["shortened"] = (record) => {
    const set = earlierDeadline(record);
    return set === null ? record : { ...record, ...set };
  };

  return { fields, accessTo, ask, read, write, settled, shortened };
}
