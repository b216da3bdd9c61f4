import { knownOptions, ofType } from "../base/checks.ts";
import { ignore, isPromise } from "../base/promises.ts";
import type { SessionSchema } from "../data.ts";
import { SessionDataError, type SessionIssue } from "../errors.ts";
import type { Indexes } from "../indexes/declarations.ts";
import { changedCopy, exceeds, reserved, type StoredSession } from "../record.ts";
import { type Codec, createCodec } from "../schema/codec.ts";
import { planSchema } from "../schema/fields.ts";
import { isPlain } from "../schema/values.ts";
import type { Settings } from "./settings.ts";
import type { SizeLimit } from "./sizes.ts";
import { versionOf } from "./upgrade.ts";

/** Brings records of earlier versions of the schema into the form of the present version. */
export interface Migrations {
  /** The user's fields of the present schema and of the earlier ones, which reads return. */
  readonly fields: readonly string[];
  /**
   * Returns the record in its present form. That is the record itself, unless it is of an earlier version.
   *
   * @throws {SessionDataError} With the origin `stored`, if there is no migration or it fails.
   */
  upgraded(record: StoredSession): StoredSession;
}

interface Migration {
  /** The option, for messages. */
  readonly name: string;
  readonly old: Codec<unknown>;
  readonly to: (old: unknown) => unknown;
}

const ACTION = "create a session store";

/**
 * Validates the option `migrations`.
 *
 * @throws {TypeError} If an entry has no schema that can be stored or no synchronous function.
 * @throws {RangeError} If an entry is not named by a version below that of the store.
 */
export function createMigrations<T>(
  { version, migrations = {} }: Settings,
  codec: Codec<T>,
  indexes: Indexes,
  sizes: SizeLimit,
): Migrations {
  const declared = knownOptions(ACTION, migrations, Object.keys(migrations ?? {}), "migrations");
  const byVersion = new Map(
    Object.entries(declared).map(([key, value]) => [Number(key), readMigration(version, key, value)]),
  );
  const earlier = [...byVersion.values()].flatMap(({ old }) => old.names);

  /** Returns the text of all fields of the present schema. */
  function migrated({ name, old, to }: Migration, record: StoredSession): Record<string, string> {
    const data = fitting(`its data does not fit ${name}.from`, old, () => old.decode(record));
    const result = called(name, to, data);
    return fitting(`the result of ${name}.to does not fit the schema`, codec, () => {
      const isObject = typeof result === "object" && result !== null && isPlain(result);
      // What is left of the old data is dropped. Any other unknown key is perhaps a misspelled one, and an error.
      const isKept = (key: string): boolean => codec.names.includes(key) || !old.names.includes(key);
      const { set, data } = codec.encode(
        isObject ? Object.fromEntries(Object.entries(result).filter(([key]) => isKept(key))) : result,
      );
      sizes.checkGiven("store a session", set);
      indexes.entriesOf(data);
      return set;
    });
  }

  return {
    fields: [...new Set([...codec.names, ...earlier])],
    upgraded(record) {
      const from = versionOf(record);
      if (version === 1 || from >= version) return record;
      const migration = byVersion.get(from);
      if (migration === undefined) {
        const message = Number.isNaN(from)
          ? "its version cannot be read"
          : `migrations has no entry for version ${from}`;
        throw unreadable(message, [{ code: "unknown_version", path: [], message }]);
      }
      const set = { ...migrated(migration, record), [reserved.version]: String(version) };
      const present = Object.assign(changedCopy(record, {}, codec.names), set);
      if (!exceeds(present, sizes.maxBytes)) return present;
      const names = migration.old.names.filter((name) => !codec.names.includes(name));
      return changedCopy(present, {}, names);
    },
  };
}

function readMigration(version: number, key: string, given: unknown): Migration {
  const name = `migrations[${key}]`;
  if (!/^[1-9][0-9]{0,8}$/.test(key) || Number(key) >= version) {
    throw new RangeError(
      `Cannot ${ACTION} as each key of migrations must be a version below the option version, which is ${version}: received ${key}`,
    );
  }
  const { from, to } = knownOptions(
    ACTION,
    given as { from: SessionSchema; to: Migration["to"] },
    ["from", "to"],
    name,
  );
  const old = createCodec<unknown>(planSchema(from, `${name}.from`));
  ofType(ACTION, `${name}.to`, to, "function");
  if (to.constructor.name === "AsyncFunction") {
    throw new TypeError(`Cannot ${ACTION} as ${name}.to must be synchronous: received an async function`);
  }
  return { name, old, to };
}

/** Calls the function of a migration. */
function called(name: string, to: Migration["to"], data: unknown): unknown {
  let result: unknown;
  try {
    result = to(data);
  } catch (cause) {
    throw unreadable(`${name}.to threw an error`, undefined, cause);
  }
  if (!isPromise(result)) return result;
  ignore(result);
  throw unreadable(`${name}.to returned a promise`);
}

/** Runs a step that needs data to fit a schema. */
function fitting<R>(why: string, codec: Codec<unknown>, step: () => R): R {
  try {
    return step();
  } catch (cause) {
    // Not of the schema: a getter or an index function threw it, or an index value is invalid.
    if (!(cause instanceof SessionDataError)) throw unreadable(why, undefined, cause);
    throw unreadable(`${why}: ${codec.list(cause.issues)}`, cause.issues, cause);
  }
}

function unreadable(
  why: string,
  issues: readonly SessionIssue[] = [{ code: "custom", path: [], message: why }],
  cause?: unknown,
): SessionDataError {
  return new SessionDataError(`Cannot migrate a session as ${why}`, { issues, origin: "stored", cause });
}
