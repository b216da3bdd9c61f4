import type { Change } from "../backend.ts";
import { type Step, withTimeout } from "../base/step.ts";
import { SessionBackendError } from "../errors.ts";
import type { Registry } from "../indexes/members.ts";
import {
  absoluteOf,
  changedCopy,
  deadlineOf,
  expectation,
  idleSecondsOrDefault,
  indexEntries,
  reserved,
  type StoredSession,
  timeOf,
} from "../record.ts";
import type { Target } from "./runner.ts";
import type { Settings } from "./settings.ts";

/** Attempts to extend indexes while the session moves to others at the same time. */
const MAX_ATTEMPTS = 2;

/** The reserved fields that a change of the index entries, or of their lifetime, compares and sets. */
export const INDEX_FIELDS: readonly string[] = [reserved.index, reserved.absolute, reserved.deadline];

/** Returns for how long the indexes of a session must hold it, in milliseconds: one and a half idle timeouts. */
export function coverMs(record: StoredSession): number {
  return idleSecondsOrDefault(record) * 1500;
}

/** Whether the session, touched a moment ago, ends early because its indexes are not known to hold it for longer. */
function isCutShort(record: StoredSession): boolean {
  const absolute = absoluteOf(record);
  const deadline = deadlineOf(record);
  if (absolute === null) return false;
  // Another program removed the deadline, and nothing else says when the indexes must live longer.
  if (deadline === null) return indexEntries(record).length > 0;
  const idleEnd = timeOf(record[reserved.lastAccessedAt]) + idleSecondsOrDefault(record) * 1000;
  const isCut = deadline < Math.min(idleEnd, absolute.deadline ?? Number.POSITIVE_INFINITY);
  return isCut && indexEntries(record).length > 0;
}

/** Returns the change by which a session lives as long as its indexes are known to hold it, and no longer than it may. */
export function coveredUntil(covered: number, record: StoredSession): Pick<Change, "set" | "remove" | "expect"> {
  const deadline = Math.min(covered, absoluteOf(record)?.deadline ?? Number.POSITIVE_INFINITY);
  return { ...settingDeadline(deadline), expect: expectation(record, INDEX_FIELDS) };
}

/** Returns the change that sets the deadline of a session, or removes it if it is infinite. */
export function settingDeadline(deadline: number): Pick<Change, "set" | "remove"> {
  return Number.isFinite(deadline)
    ? { set: { [reserved.deadline]: String(deadline) }, remove: [] }
    : { set: {}, remove: [reserved.deadline] };
}

/** Lets the indexes of a session that was just touched live as long as the session. Returns the record with its new deadline. */
export type Extend = (target: Target, record: StoredSession) => Promise<StoredSession>;

/**
 * Keeps the indexes of sessions alive. An index must not end before its sessions, and should end soon after the last one. So
 * the deadline of a session is never later than the time until which all of its indexes are known to hold it, and moves on
 * with them.
 */
export function createExtension(
  { backend, operationTimeoutMs, report, time }: Settings,
  fields: readonly string[],
  registry: Registry,
): Extend {
  const running = new Map<string, Promise<StoredSession | null>>();

  /** Returns the record with its new deadline; `null` if the session has ended. */
  async function extend(step: Step, key: string, record: StoredSession): Promise<StoredSession | null> {
    const access = { verifier: null, previous: false, now: time() };
    let present = record;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && isCutShort(present); attempt++) {
      const { covered } = await registry.extend(step, key, indexEntries(present), coverMs(present));
      const change = { ...coveredUntil(covered, present), fields };
      const written = await step("writes", () => backend.write(key, access, change));
      if (written !== null && typeof written === "object") return written.after;
      if (written !== "changed") return null;
      const found = await step("reads", () => backend.read(key, access, { fields }));
      if (found === null || typeof found === "string") return null;
      present = found;
    }
    return present;
  }

  /**
   * Extends the indexes of a session, in half of the time of an operation, so that a server that holds only an index and does
   * not answer fails no operation. Reports a failure as an event: the session keeps the time that it has, and its next touch
   * tries again.
   */
  async function extendInTime({ id, key }: Target, record: StoredSession): Promise<StoredSession | null> {
    const action = "extend the indexes of a session";
    try {
      return await withTimeout(action, operationTimeoutMs / 2, undefined, (step) => extend(step, key, record));
    } catch (error) {
      if (!(error instanceof SessionBackendError)) throw error;
      report(id, error);
      return null;
    }
  }

  return async (target, record) => {
    const { key } = target;
    let present = record;
    // The extension of another call may be too short for an idle timeout that this call has raised.
    for (let isOwn = false; !isOwn && isCutShort(present); ) {
      isOwn = !running.has(key);
      const extending =
        running.get(key) ??
        extendInTime(target, present).finally(() => {
          running.delete(key);
        });
      running.set(key, extending);
      const extended = await extending;
      if (extended === null) return record;
      // Nothing else is taken over: the other call may have read the session before this one changed it.
      present = withDeadlineOf(extended, record);
    }
    return present;
  };
}

/** Returns the record with the deadline of another one. */
function withDeadlineOf({ [reserved.deadline]: deadline }: StoredSession, record: StoredSession): StoredSession {
  return deadline === undefined
    ? changedCopy(record, {}, [reserved.deadline])
    : changedCopy(record, { [reserved.deadline]: deadline }, []);
}
