import type { Change, Ending, Insertion, SessionBackend } from "../backend.ts";
import {
  absoluteText,
  changedCopy,
  exceeds,
  idleSeconds,
  idleSecondsOrDefault,
  indexEntries,
  lifetime,
  reserved,
  type StoredSession,
  TOMBSTONE_FIELD,
  timeText,
} from "../record.ts";
import { type Absence, type Access, checkAccess, checkSecret } from "./access.ts";
import { nullObject } from "./null-object.ts";

/** A record, or a tombstone, and its expiration. */
export interface StoredRecord {
  readonly record: StoredSession;
  /** The last millisecond of its lifetime, as Unix milliseconds. */
  readonly expires: number;
}

/** The result of a step. */
export interface StepResult<Answer> {
  readonly answer: Answer;
  /** What to store under the key, or `null` to delete what is there. Absent if nothing changes. */
  readonly next?: StoredRecord | null;
  /** The session that the step ended, to report to the listeners of `notify` once the transaction is committed. */
  readonly ending?: Ending;
}

/**
 * Runs a step on what is stored under a key, as one transaction: reads it, calls `step` once, stores `next` and returns
 * `answer`.
 *
 * @param now The time of the caller's clock. A backend that several processes use passes the time of its own clock to `step`.
 * @param step Computes the result and has no effect of its own. `found` is what is stored, even if it has expired, or `null`.
 * @param effect A step that `"reads"` returns no `next`, so it needs no lock.
 */
export type RunTransaction = <Answer>(
  key: string,
  now: number,
  step: (found: StoredRecord | null, now: number) => StepResult<Answer>,
  effect: "reads" | "writes",
) => Promise<Answer>;

/** The methods of a backend that work on one session. */
export type SessionMethods = Pick<
  SessionBackend,
  "insert" | "read" | "touch" | "write" | "increment" | "remove" | "revoke"
> &
  Required<Pick<SessionBackend, "left">>;

type AnswerOf<Method extends keyof SessionMethods> = Awaited<ReturnType<SessionMethods[Method]>>;

/**
 * Creates the methods of a backend that work on one session, for storage with transactions. They make all checks, of secrets
 * and deadlines too, so the storage has to store texts and nothing else.
 */
export function sessionMethods(transact: RunTransaction): SessionMethods {
  /** Runs a step on a session that the access reaches. */
  function onSession<Answer>(
    key: string,
    given: Access,
    step: (session: StoredRecord, now: number) => StepResult<Answer>,
    effect: "reads" | "writes" = "writes",
  ): Promise<Answer | Absence> {
    return transact<Answer | Absence>(
      key,
      given.now,
      (found, now) => {
        const session = live(found, now);
        if (session === null) return { answer: null };
        const admitted = checkAccess(session.record, { ...given, now });
        return admitted === "open" ? step(session, now) : { answer: admitted };
      },
      effect,
    );
  }

  return {
    insert: (key, record, insertion, now) =>
      transact(key, now, (found, at) => inserted(live(found, at), record, insertion, at), "writes"),

    read: (key, access) => onSession(key, access, (session) => ({ answer: session.record }), "reads"),

    touch: (key, access) =>
      onSession(key, access, (session, now) => {
        const next = replaced(session, changedCopy(session.record, {}, []), now, true);
        return { answer: next?.record ?? null, next };
      }),

    write: (key, access, change) => onSession(key, access, (session, now) => changed(session, change, now)),

    increment: (key, access, { field, by, from, min, max, maxBytes = Number.POSITIVE_INFINITY }) =>
      onSession<AnswerOf<"increment">>(key, access, (session, now) => {
        const text = session.record[field];
        const present = text === undefined ? from : /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
        if (!Number.isSafeInteger(present)) return { answer: "invalid_type" };
        const sum = present + by || 0; // Turns -0 into 0, as in Redis.
        if (sum < min || sum > max) return { answer: sum < min ? "too_small" : "too_big" };
        const record = changedCopy(session.record, { [field]: String(sum) }, []);
        const isLonger = String(sum).length > (text ?? "").length;
        if (isLonger && exceeds(record, maxBytes)) return { answer: "too_many_bytes" };
        const next = replaced(session, record, now, true);
        return { answer: next?.record ?? null, next };
      }),

    remove: (key, access, ending, _fields, expect) =>
      transact<AnswerOf<"remove">>(
        key,
        access.now,
        (found, now) => {
          const session = live(found, now);
          if (session === null || isTombstone(session)) return { answer: null };
          const secret = checkSecret(session.record, { ...access, now });
          if (secret !== "open") return { answer: secret };
          if (!isOpen(session, now)) return { answer: null, next: null };
          return hasTexts(session.record, expect) ? ended(session, ending) : { answer: "changed" };
        },
        "writes",
      ),

    revoke: (key, entry, ending, tombstone, now) =>
      transact<AnswerOf<"revoke">>(
        key,
        now,
        (found, at) => {
          const session = live(found, at);
          if (session === null || isTombstone(session)) {
            const record = Object.freeze(Object.assign(nullObject(), { [TOMBSTONE_FIELD]: "1" }));
            return { answer: "nothing", next: tombstone > 0 ? { record, expires: at + tombstone } : null };
          }
          return indexEntries(session.record).includes(entry) ? ended(session, ending) : { answer: "other" };
        },
        "writes",
      ),

    left: (keys, now) =>
      Promise.all(keys.map((key) => transact(key, now, (found, at) => ({ answer: left(found, at) }), "reads"))),
  };
}

function live(found: StoredRecord | null, now: number): StoredRecord | null {
  if (found === null || now > found.expires) return null;
  // The properties that an object inherits must not pass for fields.
  return "constructor" in found.record ? { ...found, record: Object.assign(nullObject(), found.record) } : found;
}

/** Returns the remaining lifetime of a session in milliseconds, or -1 if there is none. */
function left(found: StoredRecord | null, now: number): number {
  const session = live(found, now);
  return session !== null && isOpen(session, now) ? session.expires - now : -1;
}

/** Whether there is a session that has not expired, even if it cannot be read. */
function isOpen({ record }: StoredRecord, now: number): boolean {
  return checkAccess(record, { verifier: null, previous: false, now }) !== null;
}

function isTombstone({ record }: StoredRecord): boolean {
  return record[TOMBSTONE_FIELD] !== undefined;
}

/** Whether each field has the expected text, or is absent where `null` is expected. */
function hasTexts(record: StoredSession, expect: Change["expect"] = {}): boolean {
  return Object.entries(expect).every(([field, text]) => (record[field] ?? null) === text);
}

function ended({ record }: StoredRecord, ending: Ending): StepResult<StoredSession> {
  return { answer: record, next: null, ending };
}

function inserted(
  found: StoredRecord | null,
  given: StoredSession,
  { absolute, covered, life = Number.POSITIVE_INFINITY, notAfter = Number.POSITIVE_INFINITY, stamp = [] }: Insertion,
  now: number,
): StepResult<AnswerOf<"insert">> {
  if (found !== null) return { answer: isTombstone(found) ? "revoked" : "taken" };
  if (now > notAfter) return { answer: "revoked" };
  const record: Record<string, string> = Object.assign(nullObject(), given);
  for (const name of [reserved.createdAt, reserved.lastAccessedAt, ...stamp]) record[name] = timeText(now);
  const end = absolute === undefined ? null : now + absolute;
  const deadline = Math.min(end ?? Number.POSITIVE_INFINITY, covered ?? Number.POSITIVE_INFINITY);
  if (deadline < Number.POSITIVE_INFINITY) record[reserved.deadline] = String(deadline);
  if (covered !== undefined) record[reserved.absolute] = absoluteText({ deadline: end, moves: 0 });
  const left = lifetime(record, idleSecondsOrDefault(record), now);
  if (left <= 0) return { answer: "revoked" };
  return { answer: Object.freeze(record), next: { record, expires: now + Math.min(left, life) } };
}

function changed(session: StoredRecord, change: Change, now: number): StepResult<AnswerOf<"write">> {
  const { expect, grace, maxBytes = Number.POSITIVE_INFINITY, notAfter = Number.POSITIVE_INFINITY } = change;
  if (!hasTexts(session.record, expect)) return { answer: "changed" };
  if (now > notAfter) return { answer: "revoked" };
  const set: Record<string, string> = Object.assign(nullObject(), change.set);
  for (const name of change.stamp ?? []) set[name] = timeText(now);
  if (grace !== undefined) set[reserved.grace] = String(now + grace);
  const record = changedCopy(session.record, set, change.remove);
  if (exceeds(record, maxBytes)) return { answer: "too_many_bytes" };
  const next = replaced(session, record, now, change.touch !== false);
  return { answer: next && { before: session.record, after: next.record }, next };
}

/** Returns the session with another record, or `null` if that leaves it no lifetime. */
function replaced(
  session: StoredRecord,
  record: Record<string, string>,
  now: number,
  isTouched: boolean,
): StoredRecord | null {
  // Without a readable idle timeout, the remaining time is used.
  const idle = idleSeconds(record) ?? Math.max(1, Math.ceil((session.expires - now) / 1000));
  if (isTouched) {
    record[reserved.idleTimeout] = String(idle);
    record[reserved.lastAccessedAt] = timeText(now);
  }
  const life = lifetime(record, idle, now);
  if (life <= 0) return null;
  const expires = isTouched ? now + life : Math.min(session.expires, now + life);
  return { record: Object.freeze(record), expires };
}
