import type { StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { Session } from "../session.ts";
import type { Migrations } from "./migrations.ts";
import type { Moves } from "./moves.ts";
import type { Target } from "./runner.ts";
import type { SizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";
import type { Storage } from "./storage.ts";
import type { Decoded } from "./upgrade.ts";

/** Turns records into sessions. */
export interface Decoder<T> {
  /**
   * Decodes a record. The data of an earlier version is migrated.
   *
   * @throws {SessionDataError} If the data does not fit the schema.
   */
  decode(stored: StoredSession): Decoded<T>;
  /** Decodes a record into a session; `null` if there is none. */
  toSession(target: Target, stored: StoredSession | null | undefined): Session<T> | null;
  /** As `toSession`. Also stores a session of an earlier version in its present form, and heals its index entries. */
  toHealed(target: Target, stored: StoredSession | null | undefined): Promise<Session<T> | null>;
}

export function createDecoder<T>(
  codec: Codec<T>,
  sizes: SizeLimit,
  { upgraded }: Migrations,
  { read }: Storage,
  { healed }: Moves,
): Decoder<T> {
  function decode(stored: StoredSession): Decoded<T> {
    sizes.checkStored(stored);
    const record = upgraded(stored);
    return { stored, record, data: codec.decode(record) };
  }

  return {
    decode,
    toSession({ id }, stored) {
      return stored ? snapshot(id, stored, decode(stored).data) : null;
    },
    async toHealed(target, stored) {
      if (!stored) return null;
      const decoded = decode(stored);
      const record = await healed(target, decoded);
      if (record !== "changed") return snapshot(target.id, record, decoded.data);
      // Perhaps by the touch behind this answer. If it changes once more, the next call heals it.
      const present = await read(target);
      if (present === null) return null;
      const again = decode(present);
      const last = await healed(target, again);
      return snapshot(target.id, last === "changed" ? present : last, again.data);
    },
  };
}

/**
 * Whether a stored text may have bytes that are not valid UTF-8. They are read as U+FFFD, so a compare-and-set that expects
 * the text never finds it.
 */
export function isDamaged(text: string | undefined): boolean {
  return text?.includes("\ufffd") ?? false;
}
