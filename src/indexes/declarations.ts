import { kindOf, knownOptions, wholeNumber } from "../base/checks.ts";
import type { Plan } from "../schema/fields.ts";
import type { SessionLimit } from "../store-options.ts";

/** The declared indexes of a store. An entry is `<name>:<value>`. */
export interface Indexes {
  /** The fields that entries are taken from; empty without indexes. */
  readonly sources: ReadonlySet<string>;
  /** The entries that a session with this data is under. @throws {TypeError} If an index value is not 1 to 512 bytes of text. */
  entriesOf(data: unknown): string[];
  /** The entry that a query names. @throws {TypeError} */
  queriedEntry(query: unknown): string;
  limitOf(entry: string): SessionLimit | null;
}

const ACTION = "create a session store";
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MAX_VALUE_BYTES = 512;

interface Index {
  readonly name: string;
  readonly from: string;
  readonly values: (field: unknown) => unknown;
  readonly limit: SessionLimit | null;
}

/** @throws {TypeError | RangeError} If a declaration is not of its kind or names no field. */
export function createIndexes(
  plan: Plan,
  declared: Readonly<Record<string, unknown>> = {},
  limits: Readonly<Record<string, unknown>> = {},
): Indexes {
  const names = Object.keys(knownOptions(ACTION, declared, Object.keys(declared)));
  knownOptions(`${ACTION} with limits`, limits, names);
  const indexes = names.map((name) => {
    const limit = Object.hasOwn(limits, name) ? readLimit(name, limits[name]) : null;
    return readIndex(plan, name, declared[name], limit);
  });
  const byName = new Map(indexes.map((index) => [index.name, index]));
  return {
    sources: new Set(indexes.map(({ from }) => from)),
    entriesOf(data) {
      const entries = indexes.flatMap(({ name, from, values }) => {
        const field = (data as Readonly<Record<string, unknown>>)[from];
        const given = values(field) ?? [];
        return (Array.isArray(given) ? given : [given]).map((value) => indexEntry(name, value));
      });
      return [...new Set(entries)].sort();
    },
    queriedEntry(query) {
      const [name, ...more] = Object.keys(query ?? {});
      if (name === undefined || more.length > 0 || !byName.has(name)) {
        throw new TypeError(
          `Cannot look up sessions as the query must name one index of: ${names.join(", ") || "none"}`,
        );
      }
      return indexEntry(name, (query as Record<string, unknown>)[name]);
    },
    limitOf: (entry) => byName.get(entry.slice(0, entry.indexOf(":")))?.limit ?? null,
  };
}

function indexEntry(name: string, value: unknown): string {
  if (typeof value !== "string" || value === "") {
    const received = value === "" ? "an empty string" : kindOf(value);
    throw new TypeError(
      `Cannot use a value of the index ${name} as it must be a non-empty string: received ${received}`,
    );
  }
  if (!value.isWellFormed() || new TextEncoder().encode(value).length > MAX_VALUE_BYTES) {
    throw new TypeError(
      `Cannot use a value of the index ${name} as it must be ${MAX_VALUE_BYTES} bytes at most, well-formed`,
    );
  }
  return `${name}:${value}`;
}

function readIndex(plan: Plan, name: string, declared: unknown, limit: SessionLimit | null): Index {
  const refuse = (why: string): never => {
    throw new TypeError(`Cannot ${ACTION} as the index ${NAME.test(name) ? name : "name"} ${why}`);
  };
  if (!NAME.test(name)) refuse("must be 1 to 64 letters, digits, _ and -");
  if (typeof declared === "string") {
    const field = plan.fields.get(declared) ?? refuse("must name a field of the schema");
    return { name, from: field.name, values: (value) => value, limit };
  }
  const { from, values } = knownOptions(`${ACTION} with the index ${name}`, declared as Partial<Index>, [
    "from",
    "values",
  ]);
  if (typeof from !== "string" || !plan.fields.has(from)) refuse("must have a field of the schema as from");
  if (typeof values !== "function") return refuse(`must have a function as values: received ${kindOf(values)}`);
  return { name, from: from as string, values, limit };
}

function readLimit(name: string, declared: unknown): SessionLimit | null {
  if (declared === undefined) return null;
  const action = `${ACTION} with the limit ${name}`;
  const { max, whenFull } = knownOptions(action, declared as Partial<SessionLimit>, ["max", "whenFull"]);
  if (whenFull !== "evict-oldest" && whenFull !== "reject") {
    throw new TypeError(`Cannot ${action} as whenFull must be "evict-oldest" or "reject"`);
  }
  return { max: wholeNumber(action, "max", max, 1, 100_000), whenFull };
}
