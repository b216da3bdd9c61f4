import type { Written } from "../backend.ts";
import { ignore, isPromise } from "../base/promises.ts";
import { pause } from "../base/step.ts";
import { serially } from "../base/turns.ts";
import type { PatchInput, SessionPatch } from "../data.ts";
import { SessionConflictError, SessionDataError } from "../errors.ts";
import { changedCopy, expectation, reserved, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import { type Decoder, isDamaged } from "./decoding.ts";
import type { Moves } from "./moves.ts";
import type { Target } from "./runner.ts";
import type { SizeLimit } from "./sizes.ts";
import type { Edit, Storage } from "./storage.ts";
import { differenceOf } from "./upgrade.ts";

/** Attempts to change or end a session that others change at the same time. */
export const MAX_ATTEMPTS = 24;
const MAX_PAUSE_MS = 50;
const ACTION = "update a session";

/** Changes of reserved fields that are written in the same step as the patch. */
interface Along extends Pick<Edit, "set" | "remove" | "stamp" | "grace" | "touch" | "sent"> {
  /** Makes the change a compare-and-set. Called with the record before each attempt. */
  readonly reads?: ((record: StoredSession) => void) | undefined;
}

/** Writes patches to sessions. */
export interface PatchWriter<T> {
  /**
   * Writes a patch in one step if that is safe, else by compare-and-set. A session of an earlier version is migrated in the
   * same write; `before` is then its present form before the patch.
   */
  apply(target: Target, patch: PatchInput<T>, along?: Along): Promise<Written | null>;
  /**
   * Reads the session and writes the patch only if nothing changed in between; otherwise tries again.
   *
   * @param update Returns `UNCHANGED` to leave the session as it is.
   * @throws {TypeError} If `update` returns a promise.
   * @throws {SessionConflictError} With the reason `contended`, after too many attempts.
   * @throws {SessionDataError} With the origin `stored`, if a field is not valid UTF-8.
   */
  compareAndSet(
    target: Target,
    update: (data: Readonly<T>, record: StoredSession) => SessionPatch<T> | typeof UNCHANGED,
    along?: Along,
  ): Promise<Written | null>;
}

/** The result of an update that changes nothing. It is a symbol, so that no function of the application returns it. */
export const UNCHANGED: unique symbol = Symbol("unchanged");

const NOTHING: Along = { set: {}, remove: [] };

/**
 * Creates a patch writer.
 *
 * @param sources The fields that indexes are built from.
 * @param whole Whether every patch needs the whole record, for refinements of the whole object.
 * @param version The version of the schema.
 */
export function createPatchWriter<T>(
  { fields, read, write }: Storage,
  { writeIndexed }: Moves,
  { decode }: Decoder<T>,
  codec: Codec<T>,
  sizes: SizeLimit,
  sources: ReadonlySet<string>,
  whole: boolean,
  version: number,
): PatchWriter<T> {
  const inTurn = serially();

  const apply: PatchWriter<T>["apply"] = async (target, patch, along = NOTHING) => {
    if (typeof patch === "function") return await compareAndSet(target, patch, along);
    const encoded = codec.encodePatch(patch);
    const names = Object.keys(patch);
    const together = whole ? names.length > 0 : names.some((name) => sources.has(name));
    if (together || along.reads !== undefined) return await compareAndSet(target, () => patch, along);
    // A session of another version may have to be migrated first.
    const expect = version > 1 && names.length > 0 ? { [reserved.version]: String(version) } : undefined;
    const written = await write(target, { ...merged(encoded, along), expect });
    return written === "changed" ? await compareAndSet(target, () => patch, along) : written;
  };

  const compareAndSet: PatchWriter<T>["compareAndSet"] = async (target, update, along = NOTHING) =>
    await inTurn(target.key, async () => {
      let before: StoredSession = {};
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        if (attempt > 1) await pause(Math.random() * Math.min(2 ** attempt, MAX_PAUSE_MS));
        // The previous secret may read here, so that an invalid patch is reported even if the write rejects the secret.
        const reading = { ...target, previous: true };
        const record = await read(reading);
        if (record === null) return null;
        const old = decode(record);
        if (attempt > 0) refuseDamaged(before, record);
        before = record;
        const patch = update(old.data, record);
        if (patch === UNCHANGED) return null;
        if (isPromise(patch)) {
          ignore(patch);
          throw new TypeError("Cannot update a session as the function must return a patch: received a promise");
        }
        along.reads?.(record);
        const isUpgraded = old.record !== record;
        const names = isUpgraded ? [...fields, reserved.version] : codec.names;
        const expect = expectation(record, [...names, ...Object.keys(along.set)]);
        const change = { ...merged(codec.encodePatch(patch, old.data), along), expect };
        const after = changedCopy(old.record, change.set, change.remove);
        // Checked here as well, so that a session that is too large enters no index.
        if (change.maxBytes !== undefined) sizes.checkGiven(ACTION, after);
        // A migration alone is not limited, as in a read.
        const isLimited = Object.keys(patch).some((name) => sources.has(name));
        const edit = isUpgraded ? { ...change, ...differenceOf(record, after) } : change;
        const written = await writeIndexed(target, record, edit, isLimited);
        if (written === null) return null;
        if (written !== "changed") return { before: old.record, after: written.after };
      }
      const times = `${MAX_ATTEMPTS} times in a row`;
      throw new SessionConflictError(`Cannot update a session as it was changed concurrently ${times}`, {
        reason: "contended",
      });
    });

  /** @throws {SessionDataError} If a write found other text than expected although the record did not change. */
  function refuseDamaged(before: StoredSession, now: StoredSession): void {
    const isChanged = Object.keys({ ...before, ...now }).some((name) => before[name] !== now[name]);
    const damaged = fields.filter((name) => isDamaged(now[name]));
    if (isChanged || damaged.length === 0) return;
    const issues = damaged.map((name) => ({ code: "invalid_format", path: [name], message: "is not valid UTF-8" }));
    const message = `Cannot update a session as its data does not fit the schema: ${codec.list(issues)}`;
    throw new SessionDataError(message, { issues, origin: "stored" });
  }

  function merged(patch: Edit, { set, remove, ...along }: Along): Edit {
    // Only a field that is set makes a record larger.
    const limit = Object.keys(patch.set).length > 0 ? { maxBytes: sizes.maxBytes } : {};
    return { ...along, set: { ...patch.set, ...set }, remove: [...patch.remove, ...remove], ...limit };
  }

  return { apply, compareAndSet };
}
