import type { StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { Session } from "../session.ts";
import type { Migrations } from "./migrations.ts";
import type { Moves } from "./moves.ts";
import type { Target } from "./runner.ts";
import type { SizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";
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
      return snapshot(target.id, await healed(target, decoded), decoded.data);
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
