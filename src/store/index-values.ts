import { ownProperty } from "../base/null-object.ts";
import type { Indexes } from "../indexes/declarations.ts";
import { indexEntries, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { Decoder } from "./decoding.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";
import { versionOf } from "./upgrade.ts";

/**
 * Tells from the data of sessions whether they have an index value. Their index entries may miss it, because the index was
 * declared later, or still have it, because a version of the application that does not declare the index changed the data.
 */
export interface IndexValues {
  /** The user's fields that `hasNow` needs. */
  fieldsFor(entry: string): readonly string[];
  /** Whether the data has the value of the entry; `null` if it cannot be read or is of another version of the schema. */
  has(entry: string, record: StoredSession | null): boolean | null;
  /**
   * Like `has` for a session of this version. One of an earlier version has the value if its migrated data has it, or if its
   * index entries do.
   */
  hasNow(target: Target, entry: string, record: StoredSession): Promise<boolean | null>;
}

export function createIndexValues<T>(
  { version }: Settings,
  { orReport }: Runner,
  { fields }: Storage,
  { decode }: Decoder<T>,
  codec: Codec<T>,
  indexes: Indexes,
): IndexValues {
  const has: IndexValues["has"] = (entry, record) => {
    if (record === null || versionOf(record) !== version) return null;
    const source = indexes.sourceOf(entry);
    const text = record[source];
    try {
      return indexes.includes(entry, text === undefined ? codec.absent(source) : codec.decodeField(source, text));
    } catch {
      return null;
    }
  };

  return {
    // A migration needs all fields.
    fieldsFor: (entry) => (version === 1 ? [indexes.sourceOf(entry)] : fields),
    has,
    async hasNow({ id }, entry, record) {
      if (!(versionOf(record) < version)) return has(entry, record);
      if (indexEntries(record).includes(entry)) return true;
      const decoded = await orReport(id, async () => decode(record));
      return decoded && indexes.includes(entry, ownProperty(decoded.data, indexes.sourceOf(entry)));
    },
  };
}
