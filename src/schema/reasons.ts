import type * as core from "zod/v4/core";

const MAX_LISTED_LENGTH = 80;
const NAME = /^[\w-]{1,40}$/;

const TYPES: Readonly<Record<string, string>> = { nan: "NaN", never: "no value", nonoptional: "a value" };
const UNITS: Readonly<Record<string, string>> = {
  string: " characters",
  array: " items",
  set: " items",
  map: " entries",
  file: " bytes",
};
/** Formats whose name does not tell the user what is expected. */
const PATTERNS: readonly unknown[] = ["regex", "starts_with", "ends_with", "includes", "template_literal"];

/**
 * Returns why a value does not fit, using only the code, the expected type and the bounds of the schema. Never uses the
 * message of the issue, and checks the other parts, because a refinement may report an issue that quotes the data.
 */
export function reasonOf(issue: core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return expectedType(issue.expected);
    case "invalid_value":
      return expectedValues(issue.values);
    case "too_small":
      return `expected ${bound(issue, issue.minimum, "at least", "more than")}`;
    case "too_big":
      return `expected ${bound(issue, issue.maximum, "at most", "less than")}`;
    case "not_multiple_of":
      return `expected a multiple of ${number(issue.divisor)}`;
    case "invalid_format":
      return expectedFormat(issue.format);
    case "unrecognized_keys":
      return unrecognizedKeys(Array.isArray(issue.keys) ? issue.keys.length : 1);
    case "invalid_key":
      return "the key does not fit the schema";
    case "invalid_union":
      if ("options" in issue) return expectedValues(issue.options);
      return `fits ${issue.inclusive === false ? "more than one option" : "no option"} of the union`;
    case "custom":
      return "does not pass a check of the schema";
    default:
      return "does not fit the schema";
  }
}

export function expectedType(type: unknown): string {
  const isName = typeof type === "string" && NAME.test(type);
  return `expected ${isName ? (TYPES[type] ?? type) : "another type"}`;
}

/** Lists the literals that the schema allows, or counts them if the list is too long. */
export function expectedValues(values: unknown): string {
  if (!Array.isArray(values)) return "expected another value";
  const list = values.map((value) => (typeof value === "string" ? JSON.stringify(value) : String(value))).join(", ");
  const isShort = list.length <= MAX_LISTED_LENGTH && !/[\p{C}\p{Zl}\p{Zp}]/u.test(list);
  if (values.length === 1) return `expected ${isShort ? list : "a certain value"}`;
  return `expected one of ${isShort ? list : `${values.length} values`}`;
}

export function unrecognizedKeys(count: number): string {
  return count === 1 ? "unrecognized key" : `${count} unrecognized keys`;
}

function expectedFormat(format: unknown): string {
  if (PATTERNS.includes(format)) return "does not match the pattern of the schema";
  return typeof format === "string" && NAME.test(format)
    ? `expected a valid ${format}`
    : "does not have the right format";
}

function bound(
  { exact, inclusive, origin }: core.$ZodIssueTooSmall | core.$ZodIssueTooBig,
  limit: unknown,
  including: string,
  excluding: string,
): string {
  const size = `${number(limit, origin)}${UNITS[origin] ?? ""}`;
  if (exact) return `exactly ${size}`;
  return `${inclusive === false ? excluding : including} ${size}`;
}

/** Formats a bound of a value. zod gives the bounds of a date as a `Date` or in Unix milliseconds, depending on its version. */
function number(given: unknown, origin?: unknown): string {
  const limit = given instanceof Date ? given.getTime() : given;
  if (typeof limit !== "number" && typeof limit !== "bigint") return "another number";
  const isTime = origin === "date" && Math.abs(Number(limit)) <= 8.64e15;
  return isTime ? new Date(Number(limit)).toISOString() : String(limit);
}
