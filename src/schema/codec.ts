import { nullObject } from "../base/null-object.ts";
import type { SessionIssue } from "../errors.ts";
import type { StoredSession } from "../record.ts";
import type { Field, Plan } from "./fields.ts";
import { attempt, dataError, failure, issuesOf, listIssues, missing, sessionIssues } from "./issues.ts";
import { unrecognizedKeys } from "./reasons.ts";
import { type Validated, validate } from "./validation.ts";
import { assertJson, deepFreeze, isPlain, ownCopy, parseJson, Unstorable } from "./values.ts";

/**
 * Converts session data to stored text and back. Fields whose values are strings are stored as they are, all others as
 * JSON. zod validates in both directions.
 */
export interface Codec<T> {
  /** The names of the schema's fields. */
  readonly names: readonly string[];
  /**
   * Decodes all fields of a record.
   *
   * @throws {SessionDataError} With the origin `stored`.
   */
  decode(record: StoredSession): T;
  /**
   * Decodes the text of one field.
   *
   * @throws {SessionDataError} With the origin `stored`.
   */
  decodeField(name: string, text: string): unknown;
  /**
   * Returns the value that a session has in a field after it was given this one.
   *
   * @param action Completes "Cannot <action> as ..." in the error message.
   * @throws {SessionDataError} With the origin `given`.
   */
  valueOf(action: string, name: string, given: unknown): unknown;
  /**
   * Encodes the data of a new session, defaults included. Also returns the data as `decode` returns it.
   *
   * @throws {SessionDataError} With the origin `given`.
   */
  encode(data: unknown): { readonly set: Record<string, string>; readonly data: T };
  /**
   * Encodes the fields of a patch.
   *
   * @param present The present data, needed to run the refinements of the whole object.
   * @throws {SessionDataError} With the origin `given`.
   */
  encodePatch(patch: unknown, present?: T): { set: Record<string, string>; remove: string[] };
  /** Returns the number that an absent field counts as: its default, else 0. */
  absent(name: string): number;
  /** Lists the path and the reason of each issue for an error message, without showing data. */
  list(issues: readonly SessionIssue[]): string;
}

export function createCodec<T>(plan: Plan): Codec<T> {
  const names = [...plan.fields.keys()];

  function decode(record: StoredSession): T {
    const result = attempt(() => {
      // Has no prototype, so that a missing field stays missing if `Object.prototype` is polluted.
      const wire = nullObject<unknown>();
      for (const [name, field] of plan.fields) {
        const text = record[name];
        if (text !== undefined) wire[name] = wireOf(field, text);
        else if (!field.omittable) return missing(field, "in");
      }
      return frozen(validate(plan, wire, "forward"));
    });
    if (result.success) return result.data as T;
    // Decodes again field by field, because a codec that throws does not name its field.
    const issues = [...plan.fields.values()].flatMap((field) => {
      const read = attempt(() => readField(field, record[field.name]));
      return read.success ? [] : issuesOf(field, read);
    });
    if (issues.length === 0) issues.push(...sessionIssues(result));
    throw dataError(plan.schema, "read a session", issues, "stored");
  }

  function encodeField(field: Field, value: unknown, issues: SessionIssue[]): Encoded {
    const result = attempt(() => {
      const encoded = validate(field, ownCopy(value, field.instances), "backward");
      if (!encoded.success) return encoded;
      const text = textOf(field, encoded.data);
      // A codec that cannot decode what it encoded would make the session unreadable.
      const read = readField(field, text);
      return read.success ? { success: true as const, text, read: read.data } : read;
    });
    if (result.success) return result;
    issues.push(...issuesOf(field, result));
    return {};
  }

  /**
   * Returns the values of all fields in the data. Reads each property only once, because a getter may return another
   * value the next time.
   */
  function fieldsOf(data: unknown, action: string, issues: SessionIssue[]): Map<string, unknown> {
    const keys = attempt(() => {
      if (typeof data === "object" && data !== null && isPlain(data)) return Reflect.ownKeys(data);
      return failure("expected object", [], "invalid_type");
    });
    if (!Array.isArray(keys)) throw dataError(plan.schema, action, sessionIssues(keys), "given");
    const values = new Map<string, unknown>();
    for (const key of keys) {
      if (typeof key === "string" && plan.fields.has(key)) {
        try {
          values.set(key, (data as Record<string, unknown>)[key]);
        } catch {
          issues.push({ code: "custom", path: [key], message: "cannot be read as its getter threw an error" });
        }
      } else {
        issues.push({ code: "unrecognized_keys", path: [key], message: unrecognizedKeys(1) });
      }
    }
    return values;
  }

  /** Runs the refinements of the whole object. They require that each field fits the schema. */
  function checkWhole(data: Record<string, unknown>, issues: SessionIssue[]): void {
    if (!plan.refined || issues.length > 0) return;
    const result = attempt(() => validate(plan, data, "backward"));
    if (!result.success) issues.push(...sessionIssues(result));
  }

  function encode(data: unknown): ReturnType<Codec<T>["encode"]> {
    const action = "store a session";
    const issues: SessionIssue[] = [];
    const values = fieldsOf(data, action, issues);
    const set = nullObject();
    const whole: Record<string, unknown> = Object.create(null);
    // Without refinements of the whole object, the data is what was read back of each field.
    let isComplete = !plan.refined;
    for (const [name, field] of plan.fields) {
      let value = values.get(name);
      if (value === undefined) {
        // What the schema fills in may not fit it.
        const filled = field.omittable ? attempt(() => validate(field, undefined, "forward")) : missing(field, "out");
        if (filled.success) value = filled.data;
        // An exact optional field fits only if it is absent, which the whole object shows.
        else if (field.removable) isComplete = false;
        else if (issues.every((issue) => issue.path[0] !== name)) issues.push(...issuesOf(field, filled));
        if (value === undefined) continue;
      }
      const { text, read } = encodeField(field, value, issues);
      if (text !== undefined) set[name] = text;
      if (read !== undefined) whole[name] = read;
      else if (text !== undefined) isComplete = false;
    }
    checkWhole(whole, issues);
    if (issues.length > 0) throw dataError(plan.schema, action, issues, "given");
    if (!isComplete) return { set, data: decode(set) };
    const read = { ...whole };
    deepFreeze(read);
    return { set, data: read as T };
  }

  function encodePatch(patch: unknown, present?: T): { set: Record<string, string>; remove: string[] } {
    const action = "update a session";
    const issues: SessionIssue[] = [];
    const set = nullObject();
    const remove: string[] = [];
    const whole: Record<string, unknown> = Object.assign(Object.create(null), present);
    for (const [name, value] of fieldsOf(patch, action, issues)) {
      const field = plan.fields.get(name) as Field;
      if (value === undefined && !field.removable) {
        issues.push(...issuesOf(field, missing(field, "out")));
        continue;
      }
      const { text, read } = value === undefined ? { read: absent(field) } : encodeField(field, value, issues);
      if (text === undefined) remove.push(name);
      else set[name] = text;
      if (read === undefined) delete whole[name];
      else whole[name] = read;
    }
    if (present !== undefined) checkWhole(whole, issues);
    if (issues.length > 0) throw dataError(plan.schema, action, issues, "given");
    return { set, remove };
  }

  return {
    names,
    decode,
    decodeField(name, text) {
      const field = plan.fields.get(name) as Field;
      const result = attempt(() => frozen(readField(field, text)));
      if (result.success) return result.data;
      throw dataError(plan.schema, "read a session", issuesOf(field, result), "stored");
    },
    valueOf(action, name, given) {
      const issues: SessionIssue[] = [];
      const { read } = encodeField(plan.fields.get(name) as Field, given, issues);
      if (issues.length > 0) throw dataError(plan.schema, action, issues, "given");
      return read;
    },
    encode,
    encodePatch,
    list: (issues) => listIssues(plan.schema, issues),
    absent(name) {
      const value = absent(plan.fields.get(name) as Field);
      return typeof value === "number" ? value : 0;
    },
  };
}

interface Encoded {
  /** The encoded text; `undefined` if a codec encodes the value as `undefined`. */
  readonly text?: string | undefined;
  /** The value that decoding the text returns. */
  readonly read?: unknown;
}

function wireOf(field: Field, text: string): unknown {
  return field.wire === "text" ? text : parseJson(text);
}

function readField(field: Field, text: string | undefined): Validated {
  if (text !== undefined) return validate(field, wireOf(field, text), "forward");
  if (!field.omittable) return missing(field, "in");
  const result = validate(field, undefined, "forward");
  return result.success ? result : { success: true, data: undefined };
}

/** Returns the value that the schema fills in for an absent field. */
function absent(field: Field): unknown {
  const result = attempt(() => readField(field, undefined));
  return result.success ? result.data : undefined;
}

function frozen(result: Validated): Validated {
  if (result.success) deepFreeze(result.data);
  return result;
}

function textOf(field: Field, wire: unknown): string | undefined {
  if (field.wire === "text" && wire !== undefined) {
    if (!String(wire).isWellFormed()) throw new Unstorable("contains a lone surrogate, which cannot be stored");
    return wire as string;
  }
  if (field.open) assertJson(wire);
  return JSON.stringify(wire);
}
