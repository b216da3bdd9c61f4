import { SessionBackendError } from "../errors.ts";
import type { Registry } from "../indexes/members.ts";
import {
  absoluteOf,
  deadlineOf,
  expectation,
  FALLBACK_IDLE_SECONDS,
  idleSeconds,
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
  return (idleSeconds(record) ?? FALLBACK_IDLE_SECONDS) * 1500;
}

/** Whether the session, touched a moment ago, ends early because its indexes are not known to hold it for longer. */
function isCutShort(record: StoredSession): boolean {
  const absolute = absoluteOf(record);
  const deadline = deadlineOf(record);
  if (absolute === null || deadline === null) return false;
  const idleEnd = timeOf(record[reserved.lastAccessedAt]) + (idleSeconds(record) ?? FALLBACK_IDLE_SECONDS) * 1000;
  return deadline < Math.min(idleEnd, absolute.deadline ?? Number.POSITIVE_INFINITY);
}

/** Lets the indexes of a session that was just touched live as long as the session. Returns the present record. */
export type Extend = (target: Target, record: StoredSession) => Promise<StoredSession>;

/**
 * Keeps the indexes of sessions alive. An index must not end before its sessions, and should end soon after the last one. So
 * the deadline of a session is never later than the time until which all of its indexes are known to hold it, and moves on
 * with them.
 */
export function createExtension(
  { backend, emit, time }: Settings,
  fields: readonly string[] | null,
  registry: Registry,
): Extend {
  const running = new Map<string, Promise<StoredSession>>();

  async function extend({ key, step }: Target, record: StoredSession): Promise<StoredSession> {
    const access = { verifier: null, previous: false, now: time() };
    let present = record;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && isCutShort(present); attempt++) {
      const { covered } = await registry.extend(step, key, indexEntries(present), coverMs(present));
      const deadline = Math.min(covered, absoluteOf(present)?.deadline ?? Number.POSITIVE_INFINITY);
      const change = {
        set: { [reserved.deadline]: String(deadline) },
        remove: [],
        expect: expectation(present, INDEX_FIELDS),
        fields,
      };
      const written = await step("writes", () => backend.write(key, access, change));
      if (written !== null && typeof written === "object") return written.after;
      if (written !== "changed") return record;
      const found = await step("writes", () => backend.read(key, access, { touch: true, fields }));
      if (found === null || typeof found === "string") return record;
      present = found;
    }
    return present;
  }

  return async (target, record) => {
    if (!isCutShort(record)) return record;
    const { id, key } = target;
    const extending =
      running.get(key) ??
      extend(target, record).finally(() => {
        running.delete(key);
      });
    running.set(key, extending);
    try {
      return await extending;
    } catch (error) {
      if (!(error instanceof SessionBackendError)) throw error;
      // The session keeps the time that it has, and the next touch tries again.
      if (error.reason !== "aborted") emit({ type: "unavailable", id, at: new Date(time()), reason: error.reason });
      return record;
    }
  };
}
