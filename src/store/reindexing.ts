import { callOptions } from "../base/checks.ts";
import type { Registry } from "../indexes/members.ts";
import { expectation, indexEntries } from "../record.ts";
import type { SessionStore } from "../session.ts";
import type { Decoder } from "./decoding.ts";
import { coveredUntil, coverMs } from "./extension.ts";
import { hasEntries, type Moves } from "./moves.ts";
import { MAX_ATTEMPTS } from "./patches.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";
import { visitAll } from "./walk.ts";

/** Creates the `reindex` method of a store. */
export function reindexing<T>(
  settings: Settings,
  runner: Runner,
  { read, write }: Storage,
  { decode }: Decoder<T>,
  { entriesAfter, move }: Moves,
  registry: Registry,
): SessionStore<T>["reindex"] {
  const action = "enter sessions into indexes";
  const { sources } = registry.indexes;

  /** Enters a session into the indexes that miss it. Returns whether there was one. */
  async function enter(target: Target): Promise<boolean> {
    let wasEntered = false;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const record = await runner.orReport(target.id, () => read(target));
      if (record === null) return wasEntered;
      // If the data cannot be read, the session keeps the entries that it has.
      const decoded = await runner.orReport(target.id, async () => decode(record));
      const held = indexEntries(record);
      const entries = decoded === null ? held : (entriesAfter(target.id, record, decoded.data) ?? held);
      if (!hasEntries(record, entries)) {
        const edit = { set: {}, remove: [], expect: expectation(record, [...sources]), touch: false };
        const moved = await move(target, record, entries, edit, false);
        if (moved !== "changed") return wasEntered || moved !== null;
        continue;
      }
      const { covered, wasLost } = await registry.extend(target.step, target.key, entries, coverMs(record));
      if (!wasLost) return wasEntered;
      wasEntered = true;
      if ((await write(target, { ...coveredUntil(covered, record), touch: false })) !== "changed") return true;
    }
    return wasEntered;
  }

  return async (given) => {
    const options = callOptions(action, given, ["signal", "onProgress"]);
    if (sources.size === 0) throw new TypeError(`Cannot ${action} as the store declares none: use the option indexes`);
    const progress = { seen: 0, done: 0 };
    await visitAll(action, settings, runner, options, progress, enter);
    return progress.done;
  };
}
