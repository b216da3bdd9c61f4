/**
 * What to use in place of values that have no JSON form, for error messages.
 *
 * @module
 */
import { ignore } from "../base/promises.ts";

/** A kind of values: one of them, what it is, and what to use instead. */
type Kind = readonly [sample: unknown, what: string, instead: string];

const codec = (call: string): string => `${call} from zession/codecs`;
const [DATE, BIGINT, MAP, SET, BYTES, URL_CODEC] = [
  codec("date()"),
  codec("bigint()"),
  codec("map(key, value)"),
  codec("set(item)"),
  codec("bytes()"),
  codec("url()"),
];

/** The replacements of types of a schema, by their names in zod. */
export const INSTEAD_OF: Readonly<Record<string, string>> = {
  date: DATE,
  bigint: BIGINT,
  map: MAP,
  set: SET,
  symbol: "z.string or z.enum",
  undefined: ".optional()",
  void: ".optional()",
  nan: "z.number().nullable()",
  file: "z.codec with a string as its input",
  function: "a field that holds data",
};

const KINDS: readonly Kind[] = [
  [new Date(0), "a Date", DATE],
  [0n, "a bigint", BIGINT],
  [new Map(), "a Map", MAP],
  [new Set(), "a Set", SET],
  [new Uint8Array(), "a Uint8Array", BYTES],
  [new URL("https://a.example"), "a URL", URL_CODEC],
  [() => {}, "a function", "data"],
  [Symbol(), "a symbol", "a string"],
];

/** Says what a value without a JSON form is, and what to use instead. Shows nothing of the value. */
export function whyNotStored(value: unknown): string {
  if (value === undefined) return "is undefined, which JSON cannot express: use null";
  if (typeof value === "number") return "is NaN or infinite, which JSON cannot express: use null";
  const kind = KINDS.find(([sample]) =>
    typeof sample === "object" ? value instanceof (sample as object).constructor : typeof sample === typeof value,
  );
  if (kind !== undefined) return `is ${kind[1]}, which is not stored as it is: use ${kind[2]}`;
  const what = Object.hasOwn(value as object, "toJSON") ? "has a method toJSON" : "is an instance of a class";
  return `${what}, which needs a codec`;
}

/** Finds the kind of values without a JSON form that a check of the application accepts, if it accepts no JSON value. */
export function onlyKindOf(check: (value: never) => unknown): Kind | undefined {
  const accepts = (value: unknown): boolean => {
    try {
      const result = check(value as never);
      ignore(result);
      return Boolean(result);
    } catch {
      return false;
    }
  };
  return [null, true, 1, "a", [], {}].some(accepts) ? undefined : KINDS.find(([sample]) => accepts(sample));
}
