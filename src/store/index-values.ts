import { ownProperty } from "../base/null-object.ts";
import type { Indexes } from "../indexes/declarations.ts";
import type { StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { Decoder } from "./decoding.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";

/**
 * Tells from the data of sessions whether they have an index value. Their index entries may miss it, because the index was
 * declared later, or still have it, because a version of the application that does not declare the index changed the data.
 */
export interface IndexValues {
  /** The user's fields that `has` needs; `null` for all. */
  fieldsFor(entry: string): readonly string[] | null;
  /** Whether the data has the value of the entry; `null` if the data cannot be read without more. */
  has(entry: string, record: StoredSession | null): boolean | null;
  /** Like `has`, but migrates the data if necessary. */
  hasNow(target: Target, entry: string, record: StoredSession): Promise<boolean | null>;
}

export function createIndexValues<T>(
  { migrate }: Settings,
  { orReport }: Runner,
  { decode }: Decoder<T>,
  codec: Codec<T>,
  indexes: Indexes,
): IndexValues {
  const has: IndexValues["has"] = (entry, record) => {
    if (record === null || migrate !== undefined) return null;
    const source = indexes.sourceOf(entry);
    const text = record[source];
    try {
      return indexes.includes(entry, text === undefined ? codec.absent(source) : codec.decodeField(source, text));
    } catch {
      return null;
    }
  };

  return {
    fieldsFor: (entry) => (migrate === undefined ? [indexes.sourceOf(entry)] : null),
    has,
    async hasNow(target, entry, record) {
      if (migrate === undefined) return has(entry, record);
      const decoded = await orReport(target.id, () => decode(target, record));
      return decoded && indexes.includes(entry, ownProperty(decoded.data, indexes.sourceOf(entry)));
    },
  };
}
