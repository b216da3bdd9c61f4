import { SessionDataError } from "../errors.ts";
import type { Indexes } from "../indexes/declarations.ts";
import { expectation, isReserved, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import { isPlain } from "../schema/values.ts";
import type { Session } from "../session.ts";
import type { Moves } from "./moves.ts";
import type { Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { SizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";
import type { Storage } from "./storage.ts";

/** A record with its decoded data. */
export interface Decoded<T> {
  readonly record: StoredSession;
  readonly data: T;
}

/** Turns records into sessions. */
export interface Decoder<T> {
  /**
   * Decodes a record. Data that does not fit is migrated and written back. Returns `null` if the session ended meanwhile.
   *
   * @throws {SessionDataError} If the data does not fit the schema.
   */
  decode(target: Target, record: StoredSession): Promise<Decoded<T> | null>;
  /** Decodes a record into a session; `null` if there is none. */
  toSession(target: Target, record: StoredSession | null | undefined): Promise<Session<T> | null>;
}

export function createDecoder<T>(
  { migrate }: Settings,
  codec: Codec<T>,
  sizes: SizeLimit,
  indexes: Indexes,
  { read }: Storage,
  { writeIndexed }: Moves,
): Decoder<T> {
  const decode: Decoder<T>["decode"] = async (target, record) => {
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
      indexes.entriesOf(codec.decode(set));
      return set;
    } catch (cause) {
      const isUnfit = cause instanceof SessionDataError;
      const issues = isUnfit ? cause.issues : [{ code: "custom", path: [], message: "migrate threw an error" }];
      const why = isUnfit ? `the result of migrate does not fit the schema: ${codec.list(issues)}` : issues[0]?.message;
      throw new SessionDataError(`Cannot read a session as ${why}`, { issues, origin: "stored", cause });
    }
  }

  return {
    decode,
    async toSession(target, record) {
      const decoded = record ? await decode(target, record) : null;
      return decoded && snapshot(target.id, decoded.record, decoded.data);
    },
  };
}
