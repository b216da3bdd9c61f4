import type * as core from "zod/v4/core";
import { SessionDataError, type SessionIssue } from "../errors.ts";
import type { Field } from "./fields.ts";
import { printPath } from "./paths.ts";
import { expectedType, expectedValues, reasonOf } from "./reasons.ts";
import { Unstorable } from "./values.ts";

const MAX_LISTED = 10;

/** The codes of zod. A refinement may report any text as a code, which may be data. */
const CODES: readonly string[] = [
  "invalid_type",
  "too_big",
  "too_small",
  "invalid_format",
  "not_multiple_of",
  "unrecognized_keys",
  "invalid_union",
  "invalid_key",
  "invalid_element",
  "invalid_value",
] satisfies core.$ZodIssue["code"][];

/** Lists the path and the reason of each issue for an error message, without showing data. */
export function listIssues(schema: core.$ZodType, issues: readonly SessionIssue[]): string {
  const list = issues.slice(0, MAX_LISTED).map(({ path, message }) => `${printPath(schema, path)}: ${message}`);
  if (issues.length > list.length) list.push(`and ${issues.length - list.length} more`);
  return list.join("; ");
}

export function dataError(
  schema: core.$ZodType,
  action: string,
  issues: readonly SessionIssue[],
  origin: "given" | "stored",
): SessionDataError {
  const message = `Cannot ${action} as its data does not fit the schema: ${listIssues(schema, issues)}`;
  return new SessionDataError(message, { issues, origin });
}

export function issuesOf(field: Field, failure: Failure): SessionIssue[] {
  return sessionIssues(failure).map((issue) => ({ ...issue, path: [field.name, ...issue.path] }));
}

/**
 * Returns the issues with messages of our own, and without `input` and the other parts of a zod issue that may contain
 * data.
 */
export function sessionIssues(failure: Failure): SessionIssue[] {
  if ("own" in failure) return [failure.own];
  return failure.error.issues.map((issue) => {
    return { code: CODES.includes(issue.code) ? issue.code : "custom", path: issue.path, message: reasonOf(issue) };
  });
}

export type Failure =
  | { readonly success: false; readonly error: { readonly issues: readonly core.$ZodIssue[] } }
  | { readonly success: false; readonly own: SessionIssue };

/** Runs a validation. Errors that codecs and checks throw may quote the value, so they are replaced. */
export function attempt<R>(validate: () => R): R | Failure {
  try {
    return validate();
  } catch (error) {
    if (error instanceof Unstorable) return failure(error.message, error.path.slice(0, error.depth));
    const isOverflow = error instanceof RangeError && /call stack/i.test(error.message);
    return failure(isOverflow ? "is nested too deeply" : "a codec or check of the schema threw an error");
  }
}

export function failure(message: string, path: readonly PropertyKey[] = [], code = "custom"): Failure {
  return { success: false, own: { code, path, message } };
}

/**
 * Returns the failure of a required field that is absent. Does not ask zod, whose versions differ in this.
 *
 * @param side The side of a codec that is missing: `in` for stored text, `out` for data.
 */
export function missing(field: Field, side: "in" | "out"): Failure {
  return failure(expected(field.schema, side), [], "invalid_type");
}

function expected(schema: core.$ZodType, side: "in" | "out", depth = 0): string {
  const { def } = (schema as core.$ZodTypes)._zod;
  if (depth > 64) return expectedType("nonoptional");
  if ("innerType" in def) return expected(def.innerType, side, depth + 1);
  switch (def.type) {
    case "lazy":
      return expected(def.getter(), side, depth + 1);
    case "pipe":
      return expected(def[side], side, depth + 1);
    case "enum":
      return expectedValues(Object.values(def.entries));
    case "literal":
      return expectedValues(def.values);
    case "template_literal":
      return expectedType("string");
    case "any":
    case "unknown":
    case "custom":
    case "union":
    case "intersection":
      return expectedType("nonoptional");
    default:
      return expectedType(def.type);
  }
}
