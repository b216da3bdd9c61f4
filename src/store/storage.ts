import type { Change } from "../backend.ts";
import type { Step } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import type { LimitedWrite } from "../indexes/limits.ts";
import { MAX_WRITE_DELAY_MS, type Registry } from "../indexes/members.ts";
import {
  type Absence,
  type Access,
  changedCopy,
  deadlineOf,
  expectation,
  indexEntries,
  isReserved,
  isReused,
  reserved,
  rotatedAt,
  type StoredSession,
  timeOf,
  timeText,
} from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import { isPlain } from "../schema/values.ts";
import type { Session } from "../session.ts";
import type { OpenRotations } from "./open-rotations.ts";
import type { Target } from "./runner.ts";
import { type Settings, UNLIMITED_SECONDS } from "./settings.ts";
import type { SizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";

const UNLIMITED_MS = UNLIMITED_SECONDS * 1000;

/** A change without `fields`, which are the same for all reads and writes of a store. */
export interface Edit extends Omit<Change, "fields"> {
  /** Called each time the change is sent, with the reply, which may come long after the operation timed out. */
  readonly sent?: ((reply: Promise<WriteReply>, edit: Edit) => void) | undefined;
}

/** The record before and after a write. */
export interface Written {
  readonly before: StoredSession;
  readonly after: StoredSession;
}

/** The reply of a backend to a write. */
export type WriteReply = Written | "changed" | "revoked" | "too_many_bytes" | Absence;

/** Reads and writes the records of one store, as steps of an operation. */
export interface Storage<T> {
  /** The user's fields that reads return; `null` for all, because `migrate` may need fields outside of the schema. */
  readonly fields: readonly string[] | null;
  accessTo(parsedToken: ParsedToken): Access;
  /**
   * Returns the backend's answer. If there is no session, reports an event and returns `null`. Asks again if the token
   * is reported as reused only because a rotation in this process is not decided yet.
   *
   * @throws {SessionDataError} If the reserved fields cannot be read.
   */
  ask<R extends object | string | number>(
    target: Target,
    effect: Parameters<Step>[0],
    call: () => Promise<R | Absence>,
  ): Promise<Exclude<R, NonNullable<Absence>> | null>;
  /**
   * Reads a record.
   *
   * @param maxAgeMs The maximum age of a cached copy, in milliseconds; default 0: no copy.
   */
  read(target: Target, touch: boolean, maxAgeMs?: number): Promise<StoredSession | null>;
  /** Reads a record and touches it if the touch interval is over. */
  readAndTouch(target: Target): Promise<StoredSession | null>;
  /**
   * Writes a change.
   *
   * @throws {SessionConflictError} With the reason `revoked`, if the change moves the session to another index value and
   * comes too late.
   * @throws {SessionDataError} With the origin `given`, if the record would be larger than the edit's `maxBytes`.
   */
  write(target: Target, edit: Edit): Promise<Written | "changed" | null>;
  /**
   * Writes a change, and moves the session to other index entries if it changes a field that an index reads.
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
  /**
   * Decodes a record. Data that does not fit is migrated and written back. Returns `null` if the session ended meanwhile.
   *
   * @throws {SessionDataError} If the data does not fit the schema.
   */
  decode(target: Target, record: StoredSession): Promise<{ readonly record: StoredSession; readonly data: T } | null>;
  /** Decodes a record into a session; `null` if there is none. */
  toSession(target: Target, record: StoredSession | null | undefined): Promise<Session<T> | null>;
}

export function createStorage<T>(
  settings: Settings,
  codec: Codec<T>,
  sizes: SizeLimit,
  registry: Registry,
  limitedWrite: LimitedWrite,
  rotations: OpenRotations,
): Storage<T> {
  const { backend, emit, migrate, time, touchIntervalMs } = settings;
  const { isDecided } = rotations;
  const fields = migrate === undefined ? codec.names : null;

  const accessTo: Storage<T>["accessTo"] = ({ verifier, previous = true }) => ({ verifier, previous, now: time() });

  const ask: Storage<T>["ask"] = async (target, effect, call) => {
    let answer = await target.step(effect, call);
    if (isReused(answer) && !(await isDecided(target))) answer = await target.step(effect, call);
    const event = { id: target.id, at: new Date(time()) };
    if (isReused(answer)) {
      emit({ ...event, type: "reused", rotatedAt: rotatedAt(answer) });
      return null;
    }
    if (answer === "wrong-secret") {
      if (!target.isInternal) emit({ ...event, type: "wrong-secret" });
      return null;
    }
    if (answer === "expired") {
      emit({ ...event, type: "expired", reason: "absolute" });
      return null;
    }
    if (answer === "invalid") {
      const issue = { code: "invalid_format", path: [], message: "the reserved fields cannot be read" };
      const message = "Cannot read a session as its key is not a hash or its session_deadline is not Unix milliseconds";
      throw new SessionDataError(message, { issues: [issue], origin: "stored" });
    }
    return answer as Exclude<typeof answer, NonNullable<Absence>>;
  };

  const read: Storage<T>["read"] = async (target, touch, maxAgeMs = 0) => {
    const call = () => backend.read(target.key, accessTo(target), { touch, fields, maxAgeMs });
    return await ask(target, touch ? "writes" : "reads", call);
  };

  const readAndTouch: Storage<T>["readAndTouch"] = async (target) => {
    // A copy of any age is enough, because an old one makes the touch due, and the touch reads again.
    const record = touchIntervalMs === 0 ? undefined : await read(target, false, Number.POSITIVE_INFINITY);
    if (record === null) return null;
    if (record !== undefined) {
      const age = time() - timeOf(record[reserved.lastAccessedAt]);
      if (age >= 0 && age < touchIntervalMs) return record;
    }
    try {
      return await read(target, true);
    } catch (error) {
      if (!(error instanceof SessionBackendError && error.reason === "rejected")) throw error;
      // A server that rejects writes, for example when it is full, can still be read. Only the touch is lost.
      const untouched = record ?? (await read(target, false));
      emit({ type: "unavailable", id: target.id, at: new Date(time()), reason: "rejected" });
      return untouched;
    }
  };

  const decode: Storage<T>["decode"] = async (target, record) => {
    sizes.checkStored(record);
    try {
      return { record, data: codec.decode(record) };
    } catch (error) {
      if (migrate === undefined || !(error instanceof SessionDataError)) throw error;
    }
    const set = migrated(record);
    const remove = codec.names.filter((name) => set[name] === undefined);
    const seen = Object.keys(record).filter((name) => !isReserved(name));
    const expect = expectation(record, [...codec.names, ...seen]);
    // Without limits, because the session is not new: only its stored form changes.
    const written = await writeIndexed(target, record, { set, remove, expect, touch: false }, false);
    const now = written === "changed" ? await read(target, false) : (written?.after ?? null);
    return now && (await decode(target, now));
  };

  function migrated(record: StoredSession): Record<string, string> {
    try {
      const data: unknown = migrate?.(codec.view(record));
      if (typeof data !== "object" || data === null || !isPlain(data)) return codec.encode(data);
      const named = Object.entries(data).filter(([name]) => codec.names.includes(name));
      const set = codec.encode(Object.fromEntries(named));
      sizes.checkGiven("store a session", set);
      registry.indexes.entriesOf(codec.decode(set));
      return set;
    } catch (cause) {
      const isUnfit = cause instanceof SessionDataError;
      const issues = isUnfit ? cause.issues : [{ code: "custom", path: [], message: "migrate threw an error" }];
      const why = isUnfit ? `the result of migrate does not fit the schema: ${codec.list(issues)}` : issues[0]?.message;
      throw new SessionDataError(`Cannot read a session as ${why}`, { issues, origin: "stored", cause });
    }
  }

  const toSession: Storage<T>["toSession"] = async (target, record) => {
    const decoded = record ? await decode(target, record) : null;
    return decoded && snapshot(target.id, decoded.record, decoded.data);
  };

  async function reply({ key, ...token }: Target, { sent: _, ...edit }: Edit): Promise<WriteReply> {
    const access = accessTo({ key, ...token });
    const before = await backend.write(key, access, { ...edit, fields });
    if (before === null || typeof before === "string") return before;
    const stamp: StoredSession = edit.touch === false ? {} : { [reserved.lastAccessedAt]: timeText(access.now) };
    return { before, after: changedCopy(before, { ...edit.set, ...stamp }, edit.remove) };
  }

  const write: Storage<T>["write"] = async (target, edit) => {
    if (edit.maxBytes !== undefined) sizes.checkGiven("update a session", edit.set);
    const written = await ask<Written | "changed" | "revoked" | "too_many_bytes">(target, "writes", () => {
      const replying = reply(target, edit);
      edit.sent?.(replying, edit);
      return replying;
    });
    if (written === "too_many_bytes") throw sizes.refusal("update a session");
    if (written === "revoked") {
      const why = `the write took more than ${MAX_WRITE_DELAY_MS / 1000} seconds`;
      throw new SessionConflictError(`Cannot move a session to another index value as ${why}`, { reason: "revoked" });
    }
    return written;
  };

  const writeIndexed: Storage<T>["writeIndexed"] = async (target, record, edit, isLimited = true) => {
    const { indexes } = registry;
    const names = [...Object.keys(edit.set), ...edit.remove];
    if (!names.some((name) => indexes.sources.has(name))) return await write(target, edit);
    const entries = indexes.entriesOf(codec.decode(changedCopy(record, edit.set, edit.remove)));
    const held = indexEntries(record);
    const now = time();
    const deadline = deadlineOf(record) ?? now + UNLIMITED_MS;
    const expect = { ...edit.expect, [reserved.index]: record[reserved.index] ?? null };
    const set = { ...edit.set, [reserved.index]: JSON.stringify(entries), [reserved.deadline]: String(deadline) };
    return await limitedWrite(target.step, {
      action: "move a session to another index value",
      key: target.key,
      entries: entries.filter((entry) => !held.includes(entry)),
      lifeMs: Math.max(deadline - now, 0),
      isLimited,
      write: (notAfter) => write(target, { ...edit, set, expect, notAfter }),
      isWritten: (written) => typeof written === "object" && written !== null,
    });
  };

  return { fields, accessTo, ask, read, readAndTouch, write, writeIndexed, decode, toSession };
}
