/**
 * Checks that the data of a zod schema can be stored and read back. Every part of the schema must have a JSON form, work
 * in both directions, be synchronous, and share no object between sessions.
 *
 * @module
 */
import type * as core from "zod/v4/core";
import { ignore, isPromise } from "../base/promises.ts";
import { INSTEAD_OF, onlyKindOf } from "./replacements.ts";

type Path = readonly (string | number)[];

interface Walk {
  /** The side of a codec: `wire` for what is stored, `data` for what the application sees. */
  readonly side: "wire" | "data";
  readonly traits: { instances: boolean; open: boolean; calls: boolean };
  readonly seen: { readonly wire: Set<unknown>; readonly data: Set<unknown> };
}

/** Types that cannot be encoded, and their replacements. */
const ONE_WAY: Readonly<Record<string, readonly [what: string, instead: string]>> = {
  transform: ["a transform or preprocess", "z.codec, which works in both directions"],
  success: ["z.success", "z.boolean"],
  promise: ["z.promise", "the schema of the value that the promise resolves to"],
};

/**
 * Walks a schema on both sides of each pipe.
 *
 * @throws {TypeError} For the first part that cannot be stored and read back.
 */
export function inspect(schema: core.$ZodType, path: Path, walk: Walk): void {
  if (walk.seen[walk.side].has(schema)) return;
  walk.seen[walk.side].add(schema);
  walk.traits.calls = refuseAsync(schema, path) || walk.traits.calls;
  const { def } = (schema as core.$ZodTypes)._zod;
  const into = (inner: core.$ZodType, ...step: (string | number)[]): void => inspect(inner, [...path, ...step], walk);
  const oneWay = ONE_WAY[def.type];
  if (oneWay !== undefined) refuse(path, ...oneWay);
  const instead = INSTEAD_OF[def.type];
  if (instead !== undefined) {
    walk.traits.instances = true;
    if (walk.side === "wire") refuse(path, `z.${def.type}`, instead);
    return;
  }
  switch (def.type) {
    case "string":
    case "template_literal":
    case "number":
    case "boolean":
    case "null":
    case "never":
      return;
    case "enum":
      if (walk.side === "wire") Object.values(def.entries).forEach((value) => void refuseLiteral(value, path));
      return;
    case "literal":
      if (walk.side === "wire") def.values.forEach((value) => void refuseLiteral(value, path));
      return;
    case "custom":
    case "any":
    case "unknown":
      if (walk.side === "wire" && def.type === "custom") refuseInstances(schema as core.$ZodCustom, path);
      walk.traits.open ||= walk.side === "wire";
      walk.traits.instances = true;
      return;
    case "object":
      for (const key of Object.keys(def.shape)) into(def.shape[key] as core.$ZodType, key);
      if (def.catchall !== undefined) into(def.catchall, "*");
      return;
    case "array":
      refuseHoles(def.element, [...path, "[]"], walk);
      into(def.element, "[]");
      return;
    case "tuple":
      def.items.forEach((item, at) => {
        refuseHoles(item, [...path, at], walk);
        into(item, at);
      });
      if (def.rest) into(def.rest, "[]");
      return;
    case "record":
      into(def.keyType, "(key)");
      into(def.valueType, "*");
      return;
    case "union":
      for (const option of def.options) into(option);
      return;
    case "intersection":
      into(def.left);
      into(def.right);
      return;
    case "default":
    case "prefault":
    case "catch":
      refuseSharedValue(def, path);
      into(def.innerType);
      return;
    case "optional":
    case "nullable":
    case "nonoptional":
    case "readonly":
      into(def.innerType);
      return;
    case "lazy":
      into(def.getter());
      return;
    case "pipe": {
      if ("coerce" in def.out._zod.def && def.out._zod.def.coerce === true) {
        refuse(path, "a pipe into z.coerce", "z.codec, or z.coerce alone");
      }
      walk.traits.instances = true;
      into(def.in);
      inspect(def.out, path, { ...walk, side: "data" });
      return;
    }
    default:
      refuse(path, `a schema of the unknown type "${(def as core.$ZodTypeDef).type}"`, "z.codec");
  }
}

/** Refuses literals that JSON cannot express. */
function refuseLiteral(value: unknown, path: Path): void {
  if (typeof value === "bigint" || value === undefined) {
    refuse(path, `a literal ${typeof value}`, INSTEAD_OF[typeof value]);
  }
  if (typeof value === "number" && !Number.isFinite(value)) refuse(path, `a literal ${value}`, "null or a string");
}

/** Refuses a z.instanceof, and a z.custom that accepts values without a JSON form but no others. */
function refuseInstances({ _zod }: core.$ZodCustom, path: Path): void {
  const [, what, instead] = onlyKindOf(_zod.def.fn) ?? [];
  if (what !== undefined) refuse(path, what, instead);
  if (typeof _zod.bag["Class"] === "function") refuse(path, "z.instanceof", "z.codec with a JSON value as its input");
}

/** Refuses optional elements, because JSON turns `undefined` in an array into `null`. */
function refuseHoles(element: core.$ZodType, path: Path, walk: Walk): void {
  if (walk.side === "wire" && unwrap(element, "out", ["optional"]) !== null) {
    refuse(path, "an optional element", ".nullable()");
  }
}

/**
 * Refuses a default, prefault or catch that returns a promise. Also refuses a default or catch that returns the same object
 * each time, because sessions would share it.
 */
function refuseSharedValue(def: core.$ZodDefaultDef | core.$ZodPrefaultDef | core.$ZodCatchDef, path: Path): void {
  const read = (): unknown =>
    def.type !== "catch"
      ? def.defaultValue
      : def.catchValue({ value: undefined, issues: [], error: { issues: [] }, input: undefined });
  let values: [unknown, unknown];
  try {
    values = [read(), read()];
  } catch {
    return; // A catch function that reads its input throws here. Functions are accepted.
  }
  for (const value of values) ignore(value);
  if (values.some(isPromise)) refuse(path, "an async function", SYNCHRONOUS);
  // A prefault is parsed, which makes a copy.
  if (def.type !== "prefault" && sharesObject(...values))
    refuse(
      path,
      `a shared ${def.type} value`,
      `a function that returns a new value each time: .${def.type}(() => ...)`,
    );
}

function sharesObject(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return false;
  if (a === b) return true;
  return Object.keys(a).some((key) => sharesObject((a as never)[key], (b as never)[key]));
}

/** The checks that call functions of the application, directly or in a schema of their own. */
const CALLING: readonly unknown[] = ["custom", "overwrite", "property", "properties"];

/**
 * Refuses async functions, because validation is synchronous. Returns whether the schema calls any functions of the
 * application: each may still return a promise.
 */
export function refuseAsync(schema: core.$ZodType, path: Path): boolean {
  const def: Partial<Record<"fn" | "transform" | "reverseTransform", unknown>> & core.$ZodTypeDef = schema._zod.def;
  const checks = def.checks ?? [];
  const own = [def.fn, def.transform, def.reverseTransform].filter((one) => typeof one === "function");
  const functions = checks.flatMap(({ _zod }) => ["fn" in _zod.def ? _zod.def.fn : null, _zod.check]);
  if ([...own, ...functions].some((one) => typeof one === "function" && one.constructor.name === "AsyncFunction")) {
    refuse(path, "an async function", SYNCHRONOUS);
  }
  return own.length > 0 || checks.some(({ _zod }) => CALLING.includes(_zod.def.check));
}

const SYNCHRONOUS = "a synchronous one, and make async checks before you write the session";

export function refuse(path: Path, what: string, instead: string | undefined): never {
  const where = path.length === 0 ? "the schema" : `"${path.join(".")}"`;
  throw new TypeError(`Cannot create a session store as ${where} has ${what}, which cannot be stored: use ${instead}`);
}

/**
 * Finds the outermost schema of one of the types, through wrappers that pass `undefined` on; `null` if there is none.
 *
 * @param side The end of a pipe to follow.
 */
export function unwrap(
  schema: core.$ZodType,
  side: "in" | "out",
  types: readonly string[],
  depth = 0,
): core.$ZodType | null {
  const { def } = (schema as core.$ZodTypes)._zod;
  if (types.includes(def.type)) return schema;
  if (depth > 64) return null;
  switch (def.type) {
    case "nullable":
    case "readonly":
    case "catch":
      return unwrap(def.innerType, side, types, depth + 1);
    case "lazy":
      return unwrap(def.getter(), side, types, depth + 1);
    case "pipe":
      return unwrap(def[side], side, types, depth + 1);
    case "union":
      return def.options.reduce<core.$ZodType | null>(
        (found, one) => found ?? unwrap(one, side, types, depth + 1),
        null,
      );
    default:
      return null;
  }
}
