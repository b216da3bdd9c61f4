import * as core from "zod/v4/core";
import { nullObject } from "../base/null-object.ts";
import type { SessionIssue } from "../errors.ts";
import { isReserved, type StoredSession } from "../record.ts";
import type { Field, Plan } from "./fields.ts";
import { ABSENT, attempt, dataError, type Failure, failure, issuesOf, plainIssue } from "./issues.ts";
import { assertJson, deepFreeze, isPlain, legible, ownCopy, parseJson, Unstorable } from "./values.ts";

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

export function createCodec<T>(plan: Plan): Codec<T> {
  const names = [...plan.fields.keys()];

  function decode(record: StoredSession): T {
    const result = attempt(() => {
      // Nothing is inherited: with a polluted `Object.prototype` a missing field must stay missing.
      const wire = nullObject<unknown>();
      for (const [name, field] of plan.fields) {
        const text = record[name];
        if (text !== undefined) wire[name] = wireOf(field, text);
        else if (!field.omittable) return ABSENT;
      }
      return frozen(core.safeDecode(plan.schema, wire));
    });
    if (result.success) return result.data as T;
    // Field by field, as a codec that throws does not say where it stands.
    const issues = [...plan.fields.values()].flatMap((field) => {
      const read = attempt(() => readField(field, record[field.name]));
      return read.success ? [] : issuesOf(field, read);
    });
    if (issues.length === 0) issues.push(...result.error.issues.map(plainIssue));
    throw dataError("Cannot read a session", issues, "stored");
  }

  function encodeField(field: Field, value: unknown, issues: SessionIssue[]): Encoded {
    const result = attempt(() => {
      const encoded = core.safeEncode(field.schema, ownCopy(value, field.instances));
      if (!encoded.success) return encoded;
      const text = textOf(field, encoded.data);
      // A codec that does not know the way back must not make the session unreadable.
      const read = readField(field, text);
      return read.success ? { success: true as const, text, read: read.data } : read;
    });
    if (result.success) return result;
    issues.push(...issuesOf(field, result));
    return {};
  }

  /** The keys of the data that are fields, each read once. */
  function fieldsOf(data: unknown, what: string, issues: SessionIssue[]): Map<string, unknown> {
    const keys = attempt(() => {
      if (typeof data === "object" && data !== null && isPlain(data)) return Reflect.ownKeys(data);
      return failure("Invalid input: expected object", [], "invalid_type");
    });
    if (!Array.isArray(keys)) throw dataError(what, keys.error.issues.map(plainIssue), "given");
    const values = new Map<string, unknown>();
    for (const key of keys) {
      if (typeof key === "string" && plan.fields.has(key)) {
        try {
          values.set(key, (data as Record<string, unknown>)[key]);
        } catch {
          issues.push({ code: "custom", path: [key], message: "The value cannot be read" });
        }
      } else {
        const message = `Unrecognized key: ${legible(key)}`;
        issues.push({ code: "unrecognized_keys", path: [key], message });
      }
    }
    return values;
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
    const values = fieldsOf(data, what, issues);
    const set = nullObject();
    const whole: Record<string, unknown> = Object.create(null);
    for (const [name, field] of plan.fields) {
      let value = values.get(name);
      if (value === undefined) {
        const filled = attempt(() => readField(field, undefined));
        if (filled.success) value = filled.data;
        else if (issues.every((issue) => issue.path[0] !== name)) issues.push(...issuesOf(field, filled));
        if (value === undefined) continue;
      }
      const { text, read } = encodeField(field, value, issues);
      if (text !== undefined) set[name] = text;
      if (read !== undefined) whole[name] = read;
    }
    checkWhole(whole, issues);
    if (issues.length > 0) throw dataError(what, issues, "given");
    return set;
  }

  function encodePatch(patch: unknown, present?: T): { set: Record<string, string>; remove: string[] } {
    const what = "Cannot update a session";
    const issues: SessionIssue[] = [];
    const set = nullObject();
    const remove: string[] = [];
    const whole: Record<string, unknown> = Object.assign(Object.create(null), present);
    for (const [name, value] of fieldsOf(patch, what, issues)) {
      const field = plan.fields.get(name) as Field;
      if (value === undefined && !field.removable) {
        issues.push(...issuesOf(field, ABSENT));
        continue;
      }
      const { text, read } = value === undefined ? { read: absent(field) } : encodeField(field, value, issues);
      if (text === undefined) remove.push(name);
      else set[name] = text;
      if (read === undefined) delete whole[name];
      else whole[name] = read;
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
      const result = attempt(() => frozen(readField(field, text)));
      if (result.success) return result.data;
      throw dataError("Cannot read a session", issuesOf(field, result), "stored");
    },
    encode,
    encodePatch,
    absent(name) {
      const value = absent(plan.fields.get(name) as Field);
      return typeof value === "number" ? value : 0;
    },
    view(record) {
      const view: Record<string, unknown> = Object.create(null);
      for (const [name, text] of Object.entries(record)) {
        if (isReserved(name)) continue;
        const field = plan.fields.get(name);
        const decoded = field && attempt(() => readField(field, text));
        view[name] = decoded?.success ? decoded.data : field ? wireOf(field, text) : text;
      }
      return view;
    },
  };
}

type Read = { readonly success: true; readonly data: unknown } | Failure;

interface Encoded {
  /** `undefined` where a codec makes nothing of the value. */
  readonly text?: string | undefined;
  /** What will be read from it. */
  readonly read?: unknown;
}

function wireOf(field: Field, text: string): unknown {
  return field.wire === "text" ? text : parseJson(text);
}

function readField(field: Field, text: string | undefined): Read {
  if (text !== undefined) return core.safeDecode(field.schema, wireOf(field, text));
  if (!field.omittable) return ABSENT;
  const result = core.safeDecode(field.schema, undefined);
  return result.success ? result : { success: true, data: undefined };
}

/** What the schema fills in for an absent field. */
function absent(field: Field): unknown {
  const result = attempt(() => readField(field, undefined));
  return result.success ? result.data : undefined;
}

function frozen(result: Read): Read {
  if (result.success) deepFreeze(result.data);
  return result;
}

function textOf(field: Field, wire: unknown): string | undefined {
  if (field.wire === "text" && wire !== undefined) {
    if (!String(wire).isWellFormed()) throw new Unstorable("The string has a lone surrogate");
    return wire as string;
  }
  if (field.open) assertJson(wire);
  return JSON.stringify(wire);
}
