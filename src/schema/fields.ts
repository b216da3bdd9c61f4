import type * as core from "zod/v4/core";
import { kindOf } from "../base/checks.ts";
import type { SessionSchema } from "../data.ts";
import { isReserved } from "../record.ts";
import { inspect, refuse, refuseAsync, unwrap } from "./storable.ts";

/** The plan of one field: how it is stored, and which operations it allows. */
export interface Field {
  readonly name: string;
  readonly schema: core.$ZodType;
  /** How a value is stored: as the string itself or as JSON. */
  readonly wire: "text" | "json";
  /** Whether the field may be absent, in stored and in given data. */
  readonly omittable: boolean;
  /** Whether a patch may remove the field. */
  readonly removable: boolean;
  /** Whether the data may contain instances of classes, for example a `Date`, which a codec converts. */
  readonly instances: boolean;
  /** Whether the schema accepts any value, as `z.unknown()` does, so that each value has to be checked. */
  readonly open: boolean;
  /** Whether the schema calls functions of the application, which may return a promise. */
  readonly calls: boolean;
  /** The bounds of a plain number field; `null` for any other field. */
  readonly counter: Counter | null;
}

/** The bounds within which a number field can be incremented. */
interface Counter {
  /** The smallest allowed value, a safe integer. */
  readonly min: number;
  /** The largest allowed value, a safe integer. */
  readonly max: number;
  /** Whether the schema checks nothing but the bounds. If `false`, each sum is validated before it is written. */
  readonly complete: boolean;
}

/** The stored form of a schema. */
export interface Plan {
  readonly schema: core.$ZodObject;
  readonly fields: ReadonlyMap<string, Field>;
  /** Whether the object as a whole has refinements. */
  readonly refined: boolean;
  /** Whether the schema calls functions of the application. */
  readonly calls: boolean;
}

/**
 * The maximum number of fields in a schema. A Redis script receives all fields of a session as arguments of one
 * command.
 */
const MAX_FIELDS = 1000;
const ACTION = "create a session store";
/** The advice for a schema that is not an object, by its type. */
const INSTEAD: Readonly<Record<string, string>> = {
  intersection: "z.object({ ...one.shape, ...other.shape })",
  pipe: "z.codec in the fields that have to be converted",
  readonly: ".readonly() on the arrays and objects in the fields",
  union: "a z.object with a field that is the union",
};

/**
 * Plans how the fields of a schema are stored. Walks the schema through `_zod.def`, which zod documents for libraries.
 *
 * @param option The option that the schema is given in, for messages.
 * @throws {TypeError} If a part of the schema cannot be stored and read back. The message names the path and a
 * replacement.
 */
export function planSchema(given: SessionSchema, option = "schema"): Plan {
  const def = objectDef(given, option);
  const root = option === "schema" ? [] : [option];
  const names = Object.keys(def.shape);
  if (def.catchall !== undefined && def.catchall._zod.def.type !== "never") {
    refuse(root, "a loose schema or a catchall", "z.object, and z.record in a field of its own");
  }
  if (Object.getOwnPropertySymbols(def.shape).length > 0) refuse(root, "a symbol key", "string keys");
  if (names.length > MAX_FIELDS) refuse(root, `${names.length} fields`, `at most ${MAX_FIELDS}, or a z.record in one`);
  refuseAsync(given as core.$ZodObject, root);
  const fields = new Map<string, Field>();
  for (const name of names) {
    if (name === "" || !name.isWellFormed() || name === "__proto__") {
      refuse([...root, name], "a name that is empty, not well-formed or __proto__", "another name");
    }
    if (isReserved(name)) refuse([...root, name], "a reserved name", "another name");
    fields.set(name, planField(name, def.shape[name] as core.$ZodType, root));
  }
  const refined = (def.checks?.length ?? 0) > 0;
  const calls = refined || [...fields.values()].some((field) => field.calls);
  return { schema: given as core.$ZodObject, fields, refined, calls };
}

function objectDef(given: SessionSchema, option: string): core.$ZodObjectDef {
  if (typeof given !== "object" || given === null) {
    throw new TypeError(`Cannot ${ACTION} as ${option} must be a zod 4 object schema: received ${kindOf(given)}`);
  }
  if (given._zod?.def === undefined) {
    const origin = "_def" in given ? "a schema of zod 3" : "no zod schema";
    throw new TypeError(`Cannot ${ACTION} as ${option} must be a zod 4 object schema: received ${origin}`);
  }
  const def: core.$ZodTypeDef = (given as core.$ZodObject)._zod.def;
  if (def.type !== "object") {
    const instead = INSTEAD[def.type];
    const hint = instead === undefined ? "" : `. Use ${instead}`;
    throw new TypeError(
      `Cannot ${ACTION} as ${option} must be a z.object: received a schema of type ${def.type}${hint}`,
    );
  }
  return def as core.$ZodObjectDef;
}

function planField(name: string, schema: core.$ZodType, root: readonly string[]): Field {
  const traits = { instances: false, open: false, calls: false };
  inspect(schema, [...root, name], { side: "wire", traits, seen: { wire: new Set(), data: new Set() } });
  const omittable = unwrap(schema, "in", ["optional", "default", "prefault", "catch"]) !== null;
  const removable = unwrap(schema, "out", ["optional"]) !== null;
  if (removable && !omittable) refuse([...root, name], "an optional inside a codec", ".optional() around the codec");
  return {
    name,
    schema,
    wire: isText(schema) ? "text" : "json",
    omittable,
    removable,
    ...traits,
    counter: counterOf(schema),
  };
}

/** Wrappers that do not change a value that is present. */
const TRANSPARENT: readonly string[] = ["readonly", "optional", "nonoptional", "default", "prefault", "catch"];

/** Whether all values of the schema are stored as strings. */
function isText(schema: core.$ZodType, depth = 0): boolean {
  const { def } = (schema as core.$ZodTypes)._zod;
  if (depth > 64) return false;
  if (TRANSPARENT.includes(def.type) && "innerType" in def) return isText(def.innerType, depth + 1);
  switch (def.type) {
    case "string":
    case "template_literal":
      return true;
    case "enum":
      return Object.values(def.entries).every((entry) => typeof entry === "string");
    case "literal":
      return def.values.every((value) => typeof value === "string");
    case "lazy":
      return isText(def.getter(), depth + 1);
    case "pipe":
      return isText(def.in, depth + 1);
    case "union":
      return def.options.every((option) => isText(option, depth + 1));
    case "intersection":
      return isText(def.left, depth + 1) && isText(def.right, depth + 1);
    default:
      return false;
  }
}

const FORMATS: Readonly<Record<string, readonly [min: number, max: number] | undefined>> = {
  safeint: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  int32: [-2_147_483_648, 2_147_483_647],
  uint32: [0, 4_294_967_295],
};

/** Returns the bounds of a number field, rounded inward to integers; `null` for any other field. */
function counterOf(schema: core.$ZodType, depth = 0): Counter | null {
  const { def } = (schema as core.$ZodTypes)._zod;
  if (depth > 64) return null;
  if (def.type === "lazy") return counterOf(def.getter(), depth + 1);
  const wrapped = TRANSPARENT.includes(def.type) && "innerType" in def;
  const inner = wrapped ? counterOf(def.innerType, depth + 1) : null;
  if (def.type !== "number" && inner === null) return null;
  let { min, max, complete } = inner ?? {
    min: Number.MIN_SAFE_INTEGER,
    max: Number.MAX_SAFE_INTEGER,
    complete: true,
  };
  const checks = (def.checks ?? []).map((check) => check._zod.def as { check: string } & Record<string, unknown>);
  if (def.type === "number" && "check" in def) checks.push(def as never);
  for (const check of checks) {
    const bounds = FORMATS[String(check["format"])];
    const value = Number(check["value"]);
    if (check.check === "greater_than") {
      min = Math.max(min, check["inclusive"] ? Math.ceil(value) : Math.floor(value) + 1);
    } else if (check.check === "less_than") {
      max = Math.min(max, check["inclusive"] ? Math.floor(value) : Math.ceil(value) - 1);
    } else if (check.check === "number_format" && bounds !== undefined) {
      min = Math.max(min, bounds[0]);
      max = Math.min(max, bounds[1]);
    } else {
      complete = false;
    }
  }
  return { min, max, complete };
}
