import * as core from "zod/v4/core";
import { ignore, isPromise } from "../base/promises.ts";
import { type Failure, failure } from "./issues.ts";

export type Validated = { readonly success: true; readonly data: unknown } | Failure;

/** A schema, and whether it calls functions of the application. */
export interface Validator {
  readonly schema: core.$ZodType;
  readonly calls: boolean;
}

/** Decodes stored values by a schema, or encodes data. A promise that a function of the schema returns is a failure. */
export function validate({ schema, calls }: Validator, value: unknown, direction: "forward" | "backward"): Validated {
  if (!calls) return direction === "forward" ? core.safeDecode(schema, value) : core.safeEncode(schema, value);
  // The synchronous mode of zod loses a promise that it meets, whose rejection would end the process. This mode returns it.
  const context = { async: true, direction };
  const result = schema._zod.run({ value, issues: [] }, context);
  if (result instanceof Promise) return refused(result);
  if (isPromise(result.value)) return refused(result.value);
  if (result.issues.length === 0) return { success: true, data: result.value };
  const issues = result.issues.map((issue) => core.util.finalizeIssue(issue, context, core.config()));
  return { success: false, error: { issues } };
}

function refused(promise: unknown): Failure {
  ignore(promise);
  return failure("a codec or check of the schema returned a promise");
}
