import { pause } from "../base/step.ts";
import { serially } from "../base/turns.ts";
import type { PatchInput, SessionPatch } from "../data.ts";
import { SessionConflictError } from "../errors.ts";
import type { StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { Target } from "./runner.ts";
import { type Edit, expectation, type Storage, type Written } from "./storage.ts";

/** Of a compare-and-set that others get ahead of. */
const MAX_ATTEMPTS = 24;
const MAX_PAUSE_MS = 50;

/** Reserved fields that change in the same step as the data. */
interface Along extends Pick<Edit, "set" | "remove" | "touch" | "sent"> {
  /** Makes it a compare-and-set, and is called with the record before each attempt. */
  readonly reads?: ((record: StoredSession) => void) | undefined;
}

/** Writes patches: at once where that is safe, else by compare-and-set. */
export interface PatchWriter<T> {
  apply(target: Target, patch: PatchInput<T>, along?: Along): Promise<Written | null>;
  /**
   * @param update Gives `null` to leave the session as it is.
   * @throws {SessionConflictError} `contended`.
   */
  compareAndSet(
    target: Target,
    update: (data: Readonly<T>, record: StoredSession) => SessionPatch<T> | null,
    along?: Along,
  ): Promise<Written | null>;
}

const NOTHING: Along = { set: {}, remove: [] };

/**
 * @param whole Does a patch need the whole record? So it does where the schema checks objects as a whole, and where
 * `migrate` may have to see the record before the patch.
 * @param sources The fields whose change moves a session in the indexes.
 */
export function createPatchWriter<T>(
  storage: Storage<T>,
  codec: Codec<T>,
  sources: ReadonlySet<string>,
  whole: boolean,
): PatchWriter<T> {
  const { decode, indexed, read, write } = storage;
  const inTurn = serially();

  const apply: PatchWriter<T>["apply"] = async (target, patch, along = NOTHING) => {
    if (typeof patch === "function") return await compareAndSet(target, patch, along);
    const encoded = codec.encodePatch(patch);
    const names = Object.keys(patch);
    const together = whole ? names.length > 0 : names.some((name) => sources.has(name));
    if (together || along.reads !== undefined) return await compareAndSet(target, () => patch, along);
    const written = await write(target, merged(encoded, along));
    return written as Exclude<typeof written, "changed">;
  };

  const compareAndSet: PatchWriter<T>["compareAndSet"] = async (target, update, along = NOTHING) =>
    await inTurn(target.key, async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        if (attempt > 1) await pause(Math.random() * Math.min(2 ** attempt, MAX_PAUSE_MS));
        // A caller with the previous secret may be refused by the write, but learns first that its patch does not fit.
        const reading = { ...target, previous: true };
        const record = await read(reading, false);
        const old = record && (await decode(reading, record));
        if (old === null) return null;
        const patch = update(old.data, old.record);
        if (patch === null) return null;
        if (patch instanceof Promise) throw new TypeError("Cannot update a session by a function that is async");
        along.reads?.(old.record);
        const expect = expectation(old.record, [...codec.names, ...Object.keys(along.set)]);
        const change = { ...merged(codec.encodePatch(patch, old.data), along), expect };
        const written = await write(target, await indexed(target, old.record, change));
        if (written !== "changed") return written;
      }
      throw new SessionConflictError("Cannot update a session as others change it all the time", "contended");
    });

  function merged(patch: Edit, { set, remove, touch, sent }: Along): Edit {
    return { set: { ...patch.set, ...set }, remove: [...patch.remove, ...remove], touch, sent };
  }

  return { apply, compareAndSet };
}
