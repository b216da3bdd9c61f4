import type { Change } from "../backend.ts";
import { nullObject } from "../base/null-object.ts";
import type { Step } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import type { Registry } from "../indexes/members.ts";
import {
  type Absence,
  type Access,
  changedCopy,
  deadlineOf,
  FALLBACK_IDLE_SECONDS,
  idleSeconds,
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
import type { Settings } from "./settings.ts";

/** The deadline of every session of a store with indexes that gives it none; an index has to end some day. */
export const UNLIMITED_SECONDS: number = 400 * 86_400;
const UNLIMITED_MS = UNLIMITED_SECONDS * 1000;

/** A change as the parts of a store say it: the fields to answer are those of every read. */
export interface Edit extends Omit<Change, "fields"> {
  /** Called whenever the change is sent, with the reply, which may come when the operation has long been given up. */
  readonly sent?: ((reply: Promise<WriteReply>, edit: Edit) => void) | undefined;
}

/** What a write changed. */
export interface Written {
  readonly before: StoredSession;
  readonly after: StoredSession;
}

/** What a backend replies to a write. */
export type WriteReply = Written | "changed" | "revoked" | Absence;

/** Record and data that belong together. */
interface Decoded<T> {
  readonly record: StoredSession;
  readonly data: T;
}

/** Reads and writes the records of one store, as steps of an operation. */
export interface Storage<T> {
  /** The user fields that reads ask for: all, where `migrate` has to see what the schema does not name. */
  readonly fields: readonly string[] | null;
  accessTo(parsedToken: ParsedToken): Access;
  /**
   * A backend's answer, once the ways of not being there are dealt with. Asks again if a rotation of this process was
   * in the way, and nobody knew yet whether its token reaches anybody.
   */
  ask<R extends object | string | number>(
    target: Target,
    effect: Parameters<Step>[0],
    call: () => Promise<R | Absence>,
  ): Promise<Exclude<R, NonNullable<Absence>> | null>;
  /** @param maxAgeMs What a near copy may be; default 0, none. */
  read(target: Target, touch: boolean, maxAgeMs?: number): Promise<StoredSession | null>;
  /** A touch that is not due yet is left out; one that is due decides what there is. */
  readAndTouch(target: Target): Promise<StoredSession | null>;
  /** @throws {SessionConflictError} `revoked`. */
  write(target: Target, edit: Edit): Promise<Written | "changed" | null>;
  /** The change to a record, with what it means for the indexes, whose new entries it has entered. */
  indexed(target: Target, record: StoredSession, edit: Edit): Promise<Edit>;
  /** The data of a record, migrated and written back where that makes it fit; `null` if the session ended meanwhile. */
  decode(target: Target, record: StoredSession): Promise<Decoded<T> | null>;
  /** The session of a record. */
  toSession(target: Target, record: StoredSession | null | undefined): Promise<Session<T> | null>;
}

export function createStorage<T>(
  settings: Settings,
  codec: Codec<T>,
  registry: Registry,
  rotations: OpenRotations,
): Storage<T> {
  const { backend, emit, migrate, time, touchInterval } = settings;
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
    if (answer === "expired") {
      emit({ ...event, type: "expired", reason: "absolute" });
      return null;
    }
    if (answer === "invalid") {
      const issue = { code: "invalid_format", path: [], message: "Invalid reserved fields" };
      const message = "Cannot read a session as its key holds no session, or one with no readable deadline";
      throw new SessionDataError(message, [issue], { origin: "stored" });
    }
    return answer as Exclude<typeof answer, NonNullable<Absence>>;
  };

  const read: Storage<T>["read"] = async (target, touch, maxAgeMs = 0) => {
    const call = () => backend.read(target.key, accessTo(target), { touch, fields, maxAgeMs });
    return await ask(target, touch ? "writes" : "reads", call);
  };

  const readAndTouch: Storage<T>["readAndTouch"] = async (target) => {
    // Any copy will do: one that is too old is touched, which decides.
    const record = touchInterval === 0 ? undefined : await read(target, false, Number.POSITIVE_INFINITY);
    if (record === null) return null;
    if (record !== undefined) {
      const age = time() - timeOf(record[reserved.lastAccessedAt]);
      if (age >= 0 && age < touchInterval * 1000) return record;
    }
    try {
      return await read(target, true);
    } catch (error) {
      if (!(error instanceof SessionBackendError && error.reason === "rejected")) throw error;
      // A server that takes no writes now can still say whose session it is, which ends no later than it would.
      const untouched = record ?? (await read(target, false));
      emit({ type: "unavailable", id: target.id, at: new Date(time()), reason: error.reason });
      return untouched;
    }
  };

  const decode: Storage<T>["decode"] = async (target, record) => {
    try {
      return { record, data: codec.decode(record) };
    } catch (error) {
      if (migrate === undefined || !(error instanceof SessionDataError)) throw error;
    }
    const set = migrated(record);
    const remove = codec.names.filter((name) => set[name] === undefined);
    const seen = Object.keys(record).filter((name) => !isReserved(name));
    const expect = expectation(record, [...codec.names, ...seen]);
    const change = await indexed(target, record, { set, remove, expect, touch: false });
    const written = await write(target, change);
    const now = written === "changed" ? await read(target, false) : (written?.after ?? null);
    return now && (await decode(target, now));
  };

  function migrated(record: StoredSession): Record<string, string> {
    try {
      const data: unknown = migrate?.(codec.view(record));
      if (typeof data !== "object" || data === null || !isPlain(data)) return codec.encode(data);
      const named = Object.entries(data).filter(([name]) => codec.names.includes(name));
      const set = codec.encode(Object.fromEntries(named));
      codec.decode(set);
      return set;
    } catch (cause) {
      const unfit = cause instanceof SessionDataError;
      const issues = unfit ? cause.issues : [{ code: "custom", path: [], message: "migrate threw" }];
      const message = "Cannot read a session as its data does not fit the schema, and migrate did not make it fit";
      throw new SessionDataError(message, issues, { origin: "stored", cause });
    }
  }

  const toSession: Storage<T>["toSession"] = async (target, record) => {
    const decoded = record ? await decode(target, record) : null;
    return decoded && sessionOf(target.id, decoded.record, decoded.data);
  };

  async function reply({ key, ...token }: Target, { sent: _, ...edit }: Edit): Promise<WriteReply> {
    const access = accessTo({ key, ...token });
    const before = await backend.write(key, access, { ...edit, fields });
    if (before === null || typeof before === "string") return before;
    const stamp: StoredSession = edit.touch === false ? {} : { [reserved.lastAccessedAt]: timeText(access.now) };
    return { before, after: changedCopy(before, { ...edit.set, ...stamp }, edit.remove) };
  }

  const write: Storage<T>["write"] = async (target, edit) => {
    const written = await ask<Written | "changed" | "revoked">(target, "writes", () => {
      const replying = reply(target, edit);
      edit.sent?.(replying, edit);
      return replying;
    });
    if (written === "revoked") {
      throw new SessionConflictError("Cannot move a session to another index value as it took too long", "revoked");
    }
    return written;
  };

  const indexed: Storage<T>["indexed"] = async (target, record, edit) => {
    const { indexes } = registry;
    if (![...Object.keys(edit.set), ...edit.remove].some((name) => indexes.sources.has(name))) return edit;
    const entries = indexes.entriesOf(codec.decode(changedCopy(record, edit.set, edit.remove)));
    const held = indexEntries(record);
    const added = entries.filter((entry) => !held.includes(entry));
    const now = time();
    const deadline = deadlineOf(record) ?? now + UNLIMITED_MS;
    const lifeMs = Math.max(deadline - now, 0);
    const entered = added.length > 0 ? await registry.enter(target.step, target.key, added, lifeMs) : null;
    const expect = { ...edit.expect, [reserved.index]: record[reserved.index] ?? null };
    const set = { ...edit.set, [reserved.index]: JSON.stringify(entries), [reserved.deadline]: String(deadline) };
    return { ...edit, set, expect, notAfter: entered?.notAfter };
  };

  return { fields, accessTo, ask, read, readAndTouch, write, indexed, decode, toSession };
}

export function sessionOf<T>(id: string, record: StoredSession, data: T): Session<T> {
  const createdAt = timestamp(record[reserved.createdAt]);
  const lastAccessedAt = timestamp(record[reserved.lastAccessedAt]);
  const idleTimeout = idleSeconds(record) ?? FALLBACK_IDLE_SECONDS;
  const deadline = deadlineOf(record);
  const idleEnd = lastAccessedAt.getTime() + idleTimeout * 1000;
  const authenticated = record[reserved.authenticatedAt];
  return Object.freeze({
    id,
    data,
    createdAt,
    lastAccessedAt,
    authenticatedAt: authenticated === undefined ? createdAt : timestamp(authenticated),
    idleTimeout,
    expiresAt: new Date(Math.min(idleEnd, deadline ?? Number.POSITIVE_INFINITY)),
    deadline: deadline === null ? null : new Date(deadline),
  });
}

/** A time that another program wrote in its own way is unknown, which must not end the session: it is the epoch. */
function timestamp(text: string | undefined): Date {
  const time = timeOf(text);
  return new Date(Number.isNaN(time) ? 0 : time);
}

/** What a compare-and-set has to find. */
export function expectation(record: StoredSession, names: readonly string[]): Record<string, string | null> {
  const text = nullObject<string | null>();
  for (const name of names) text[name] = record[name] ?? null;
  return text;
}
