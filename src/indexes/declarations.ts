import { kindOf, knownOptions, wholeNumber } from "../base/checks.ts";
import { ownProperty } from "../base/null-object.ts";
import { ignore, isPromise } from "../base/promises.ts";
import { SessionDataError } from "../errors.ts";
import type { Codec } from "../schema/codec.ts";
import type { Plan } from "../schema/fields.ts";
import type { SessionLimit } from "../store-options.ts";

/** The declared indexes of a store. An index entry is a string `<name>:<value>`. */
export interface Indexes {
  /** The fields that index values are taken from; empty without indexes. */
  readonly sources: ReadonlySet<string>;
  /**
   * Returns the index entries of a session with this data.
   *
   * @throws {SessionDataError} With the origin `given`, if there are more than `maxIndexEntries`.
   * @throws {TypeError} If an index value is not a string of 1 to 512 bytes.
   */
  entriesOf(data: unknown): string[];
  /**
   * Returns the index entry that a query selects.
   *
   * @throws {TypeError} If the query does not name exactly one declared index, or its value is not a string of 1 to 512
   * bytes.
   * @throws {SessionDataError} With the origin `given`, if the field of the index cannot have the value.
   */
  queriedEntry(query: unknown): string;
  /**
   * Returns the index entries of a session with this data, and those stored entries whose indexes this store does not
   * declare: another version of the application does.
   *
   * @throws As `entriesOf`.
   */
  entriesAfter(stored: readonly string[], data: unknown): string[];
  /** The field that the values of the entry's index are taken from. */
  sourceOf(entry: string): string;
  /** Whether a session has the index entry if the source field of the index has this value. */
  includes(entry: string, field: unknown): boolean;
  /** Returns the limit of the entry's index; `null` if it has none. */
  limitOf(entry: string): SessionLimit | null;
}

/** Returns the name of the index that an entry belongs to. */
export function indexName(entry: string): string {
  return entry.slice(0, entry.indexOf(":"));
}

const ACTION = "create a session store";
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_VALUE_BYTES = 512;

interface Index {
  readonly name: string;
  readonly from: string;
  readonly values: (field: unknown) => unknown;
  /** Whether the only value is the text of the field itself. */
  readonly isText: boolean;
  readonly limit: SessionLimit | null;
}

/**
 * Validates the option `indexes`.
 *
 * @param hasEarlierValues Whether sessions may have values that only an earlier schema allows.
 * @throws {TypeError} If an index does not name a field of the schema, or an option is unknown or has the wrong type.
 * @throws {RangeError} If a limit is not a whole number from 1 to 100,000.
 */
export function createIndexes(
  plan: Plan,
  codec: Pick<Codec<unknown>, "valueOf">,
  declared: Readonly<Record<string, unknown>> = {},
  maxEntries: number = Number.POSITIVE_INFINITY,
  hasEarlierValues = false,
): Indexes {
  const names = Object.keys(knownOptions(ACTION, declared, Object.keys(declared ?? {}), "indexes"));
  const indexes = names.map((name) => readIndex(plan, name, declared[name]));
  const byName = new Map(indexes.map((index) => [index.name, index]));

  function entriesOf(data: unknown): string[] {
    const entries = new Set<string>();
    for (const index of indexes) {
      for (const entry of entriesIn(index, ownProperty(data, index.from))) {
        entries.add(entry);
        if (entries.size > maxEntries) throw tooManyEntries(index.from, maxEntries);
      }
    }
    return [...entries].sort();
  }

  return {
    sources: new Set(indexes.map(({ from }) => from)),
    entriesOf,
    entriesAfter: (stored, data) => [...entriesOf(data), ...stored.filter((entry) => !byName.has(indexName(entry)))],
    sourceOf: (entry) => byName.get(indexName(entry))?.from ?? "",
    includes(entry, field) {
      const index = byName.get(indexName(entry));
      return index !== undefined && [...entriesIn(index, field)].includes(entry);
    },
    queriedEntry(query) {
      const [name = "", ...more] = Object.keys(query ?? {});
      const index = byName.get(name);
      if (index === undefined || more.length > 0) {
        const known = names.join(", ") || "none";
        throw new TypeError(`Cannot look up sessions as the query must name one declared index: declared are ${known}`);
      }
      const value = (query as Record<string, unknown>)[name];
      const entry = indexEntry(name, value);
      if (!index.isText) return entry;
      try {
        // The schema may change a text, for example to lower case.
        return indexEntry(name, codec.valueOf("look up sessions", index.from, value));
      } catch (error) {
        if (hasEarlierValues) return entry;
        throw error;
      }
    },
    limitOf: (entry) => byName.get(indexName(entry))?.limit ?? null,
  };
}

/** Yields the entries of one index for the value of its source field. */
function* entriesIn({ name, values }: Index, field: unknown): Generator<string, void, void> {
  const given = values(field) ?? [];
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  for (const value of list) if (isPromise(value)) ignore(value);
  for (const value of list) yield indexEntry(name, value);
}

function tooManyEntries(field: string, max: number): SessionDataError {
  const issue = { code: "too_big", path: [field], message: `expected at most ${max} index entries` };
  const message = `Cannot store a session as it must have at most ${max} index entries (maxIndexEntries): ${field} adds more`;
  return new SessionDataError(message, { issues: [issue], origin: "given" });
}

function indexEntry(name: string, value: unknown): string {
  if (typeof value !== "string" || value === "") {
    const received = value === "" ? "an empty string" : isPromise(value) ? "a promise" : kindOf(value);
    throw new TypeError(
      `Cannot use a value of the index "${name}" as it must be a non-empty string: received ${received}`,
    );
  }
  const bytes = new TextEncoder().encode(value).length;
  if (bytes > MAX_VALUE_BYTES) {
    throw new TypeError(
      `Cannot use a value of the index "${name}" as it must have at most ${MAX_VALUE_BYTES} bytes: received ${bytes}`,
    );
  }
  if (!value.isWellFormed()) {
    throw new TypeError(
      `Cannot use a value of the index "${name}" as it must be well-formed: received a lone surrogate`,
    );
  }
  return `${name}:${value}`;
}

function readIndex(plan: Plan, name: string, declared: unknown): Index {
  const option = `indexes.${name}`;
  const refuse = (what: string, why: string): never => {
    throw new TypeError(`Cannot ${ACTION} as ${what} must ${why}`);
  };
  if (!NAME.test(name)) refuse("each name in indexes", "consist of 1 to 64 letters, digits, _ and -");
  const isField = typeof declared === "string";
  const names = ["from", "values", "limit"] as const;
  const given = isField ? { from: declared } : knownOptions(ACTION, declared as Partial<Index>, names, option);
  const { from, values = ownValue, limit }: Partial<Index> = given;
  const field = typeof from === "string" ? plan.fields.get(from) : undefined;
  if (field === undefined) return refuse(isField ? option : `${option}.from`, "be the name of a field of the schema");
  if (typeof values !== "function") return refuse(`${option}.values`, `be a function: received ${kindOf(values)}`);
  const isText = values === ownValue && field.wire === "text";
  return { name, from: field.name, values, isText, limit: readLimit(`${option}.limit`, limit) };
}

function ownValue(field: unknown): unknown {
  return field;
}

function readLimit(option: string, declared: unknown): SessionLimit | null {
  if (declared === undefined) return null;
  const { max, whenFull } = knownOptions(ACTION, declared as Partial<SessionLimit>, ["max", "whenFull"], option);
  if (whenFull !== "evict-oldest" && whenFull !== "reject") {
    throw new TypeError(`Cannot ${ACTION} as ${option}.whenFull must be "evict-oldest" or "reject"`);
  }
  return { max: wholeNumber(ACTION, `${option}.max`, max, 1, 100_000), whenFull };
}
