import * as core from "zod/v4/core";
import { SessionDataError, type SessionIssue } from "./errors.ts";
import { isReserved, type StoredSession } from "./record.ts";
import type { Field, Plan } from "./schema.ts";
import { assertJson, deepFreeze, ownCopy, parseJson, Unstorable } from "./value.ts";

/**
 * Data to stored text and back. A field whose values are strings is stored as it is, any other as JSON; zod decides
 * what fits, in both directions.
 */
export interface Codec<T> {
  /** The names of the schema's fields. */
  readonly names: readonly string[];
  /** @throws {SessionDataError} Of stored data. */
  decode(record: StoredSession): T;
  /** The text of one field as data. @throws {SessionDataError} Of stored data. */
  decodeField(name: string, text: string): unknown;
  /** Whole data as text, defaults written out. @throws {SessionDataError} Of given data. */
  encode(data: unknown): Record<string, string>;
  /** The fields of a patch as text, checked as part of the present data if the schema checks objects as a whole. @throws {SessionDataError} Of given data. */
  encodePatch(patch: unknown, present?: T): { set: Record<string, string>; remove: string[] };
  /** What an absent number field counts as: its default, else 0. */
  absent(name: string): number;
  /** The user fields of a record for `migrate`: decoded where they fit, as stored elsewhere. */
  view(record: StoredSession): Readonly<Record<string, unknown>>;
}

export function codecOf<T>(plan: Plan): Codec<T> {
  const names = [...plan.fields.keys()];

  /** Nothing is inherited: with a polluted `Object.prototype` a missing field must stay missing. */
  function wireOf(record: StoredSession, issues: SessionIssue[]): Record<string, unknown> {
    const wire: Record<string, unknown> = Object.create(null);
    for (const [name, field] of plan.fields) {
      const text = record[name];
      if (text !== undefined) wire[name] = field.wire === "text" ? text : parseJson(text);
      else if (!field.omittable) issues.push(missing(name));
    }
    return wire;
  }

  function decode(record: StoredSession): T {
    const issues: SessionIssue[] = [];
    const result = attempt(() => {
      const wire = wireOf(record, issues);
      return issues.length > 0 ? null : core.safeDecode(plan.schema, wire);
    });
    if (result?.success) return deepFreeze(result.data) as T;
    if (result?.success === false) issues.push(...result.error.issues.map(plainIssue));
    throw dataError("Cannot read a session", issues, "stored");
  }

  /** `undefined` where a codec makes nothing of the value, or where there are issues. */
  function encodeField(field: Field, value: unknown, issues: SessionIssue[]): string | undefined {
    const result = attempt(() => {
      const encoded = core.safeEncode(field.schema, ownCopy(value, field.instances));
      return encoded.success ? { success: true as const, text: textOf(field, encoded.data) } : encoded;
    });
    if (result.success) return result.text;
    for (const issue of result.error.issues) issues.push({ ...plainIssue(issue), path: [field.name, ...issue.path] });
    return undefined;
  }

  function refuseUnknown(data: unknown, what: string, issues: SessionIssue[]): asserts data is object {
    if (typeof data !== "object" || data === null || Array.isArray(data)) {
      throw dataError(what, [{ code: "invalid_type", path: [], message: "Invalid input: expected object" }], "given");
    }
    for (const key of Reflect.ownKeys(data)) {
      if (typeof key === "string" && plan.fields.has(key)) continue;
      issues.push({
        code: "unrecognized_keys",
        path: [key],
        message: `Unrecognized key: ${JSON.stringify(String(key))}`,
      });
    }
  }

  /** What the object as a whole has to say, once its fields are known to fit. */
  function checkWhole(data: Record<string, unknown>, issues: SessionIssue[]): void {
    if (!plan.refined || issues.length > 0) return;
    const result = attempt(() => core.safeEncode(plan.schema, data as never));
    if (!result.success) issues.push(...result.error.issues.map(plainIssue));
  }

  function encode(data: unknown): Record<string, string> {
    const what = "Cannot store a session";
    const issues: SessionIssue[] = [];
    refuseUnknown(data, what, issues);
    const set: Record<string, string> = Object.create(null);
    const whole: Record<string, unknown> = Object.create(null);
    for (const [name, field] of plan.fields) {
      let value = own(data, name, issues);
      if (value === undefined && field.omittable) {
        const filled = attempt(() => core.safeDecode(field.schema, undefined));
        if (filled.success) value = filled.data;
      }
      if (value === undefined) {
        if (!field.omittable && issues.every((issue) => issue.path[0] !== name)) issues.push(missing(name));
        continue;
      }
      whole[name] = value;
      const text = encodeField(field, value, issues);
      if (text !== undefined) set[name] = text;
    }
    checkWhole(whole, issues);
    if (issues.length > 0) throw dataError(what, issues, "given");
    return set;
  }

  function encodePatch(patch: unknown, present?: T): { set: Record<string, string>; remove: string[] } {
    const what = "Cannot update a session";
    const issues: SessionIssue[] = [];
    refuseUnknown(patch, what, issues);
    const set: Record<string, string> = Object.create(null);
    const remove: string[] = [];
    const whole: Record<string, unknown> = Object.assign(Object.create(null), present);
    for (const name of Object.keys(patch)) {
      const field = plan.fields.get(name);
      if (field === undefined) continue;
      const value = own(patch, name, issues);
      if (value === undefined) {
        delete whole[name];
        if (field.removable) remove.push(name);
        else if (issues.length === 0) issues.push(missing(name));
        continue;
      }
      whole[name] = value;
      const text = encodeField(field, value, issues);
      if (text !== undefined) set[name] = text;
      else remove.push(name);
    }
    if (present !== undefined) checkWhole(whole, issues);
    if (issues.length > 0) throw dataError(what, issues, "given");
    return { set, remove };
  }

  return {
    names,
    decode,
    decodeField(name, text) {
      const field = plan.fields.get(name) as Field;
      const result = attempt(() => core.safeDecode(field.schema, field.wire === "text" ? text : parseJson(text)));
      if (result.success) return deepFreeze(result.data);
      const issues = result.error.issues.map((issue) => ({ ...plainIssue(issue), path: [name, ...issue.path] }));
      throw dataError("Cannot read a session", issues, "stored");
    },
    encode,
    encodePatch,
    absent(name) {
      const filled = attempt(() => core.safeDecode((plan.fields.get(name) as Field).schema, undefined));
      return filled.success && typeof filled.data === "number" ? filled.data : 0;
    },
    view(record) {
      const view: Record<string, unknown> = Object.create(null);
      for (const [name, text] of Object.entries(record)) {
        if (isReserved(name)) continue;
        const field = plan.fields.get(name);
        const wire = field?.wire === "json" ? parseJson(text) : text;
        const decoded = field && attempt(() => core.safeDecode(field.schema, wire));
        view[name] = decoded?.success ? decoded.data : wire;
      }
      return view;
    },
  };
}

// ------------------------------------------------------------------------------------------ issues

function dataError(what: string, issues: readonly SessionIssue[], origin: "given" | "stored"): SessionDataError {
  const list = issues.slice(0, 5).map(({ code, path }) => `${path.map(String).join(".") || "the whole"}: ${code}`);
  if (issues.length > list.length) list.push(`and ${issues.length - list.length} more`);
  return new SessionDataError(`${what} as its data does not fit the schema: ${list.join(", ")}`, issues, { origin });
}

function missing(name: string): SessionIssue {
  return { code: "invalid_type", path: [name], message: "Invalid input: expected a value, received undefined" };
}

/** Without `input` and whatever else an issue may carry of the value. */
function plainIssue({
  code,
  path,
  message,
}: {
  code?: string;
  path: readonly PropertyKey[];
  message: string;
}): SessionIssue {
  return { code: code ?? "custom", path, message };
}

type Failure = { readonly success: false; readonly error: { readonly issues: readonly SessionIssue[] } };

/** Codecs and checks may throw, and what they throw may quote the value: it goes no further. */
function attempt<R>(validate: () => R): R | Failure {
  try {
    return validate();
  } catch (error) {
    if (error instanceof Unstorable) return failure(error.message, error.path);
    if (error instanceof RangeError) return failure("The value is too deep or refers to itself");
    return failure("A codec or check of the schema threw");
  }
}

function failure(message: string, path: readonly PropertyKey[] = []): Failure {
  return { success: false, error: { issues: [{ code: "custom", path, message }] } };
}

// ------------------------------------------------------------------------------------------ fields

function own(data: object, name: string, issues: SessionIssue[]): unknown {
  try {
    return Object.hasOwn(data, name) ? (data as Record<string, unknown>)[name] : undefined;
  } catch {
    issues.push({ code: "custom", path: [name], message: "The value cannot be read" });
    return undefined;
  }
}

function textOf(field: Field, wire: unknown): string | undefined {
  if (field.wire === "text" && wire !== undefined) {
    if (!String(wire).isWellFormed()) throw new Unstorable("The string has a lone surrogate");
    return wire as string;
  }
  if (field.open) assertJson(wire);
  return JSON.stringify(wire);
}
