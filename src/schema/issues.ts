import { SessionDataError, type SessionIssue } from "../errors.ts";
import type { Field } from "./fields.ts";
import { legible, Unstorable } from "./values.ts";

export function dataError(what: string, issues: readonly SessionIssue[], origin: "given" | "stored"): SessionDataError {
  const list = issues.slice(0, 5).map(({ code, path }) => `${path.map(legible).join(".") || "the whole"}: ${code}`);
  if (issues.length > list.length) list.push(`and ${issues.length - list.length} more`);
  return new SessionDataError(`${what} as its data does not fit the schema: ${list.join(", ")}`, issues, { origin });
}

export function issuesOf(field: Field, { error }: Failure): SessionIssue[] {
  return error.issues.map((issue) => ({ ...plainIssue(issue), path: [field.name, ...issue.path] }));
}

type Issue = Omit<SessionIssue, "code"> & { readonly code?: string | undefined };

/** Without `input` and whatever else an issue may carry of the value. */
export function plainIssue({ code = "custom", path, message }: Issue): SessionIssue {
  return { code, path, message };
}

export type Failure = { readonly success: false; readonly error: { readonly issues: readonly Issue[] } };

/** Codecs and checks may throw, and what they throw may quote the value: it goes no further. */
export function attempt<R>(validate: () => R): R | Failure {
  try {
    return validate();
  } catch (error) {
    if (error instanceof Unstorable) return failure(error.message, error.path);
    if (error instanceof RangeError) return failure("The value is too deep or refers to itself");
    return failure("A codec or check of the schema threw");
  }
}

export function failure(message: string, path: readonly PropertyKey[] = [], code = "custom"): Failure {
  return { success: false, error: { issues: [{ code, path, message }] } };
}

export const ABSENT: Failure = failure("Invalid input: expected a value, received undefined", [], "invalid_type");
