import type * as core from "zod/v4/core";
import { legible } from "./values.ts";

const MAX_SEGMENTS = 8;
/** Replaces a segment that is data, for example the key of a record, which may be a mail address. */
const UNNAMED = "[key]";

/**
 * Prints the path of an issue for an error message. Only keys that the schema declares and array indexes are shown. Every
 * other segment is printed as `[key]`, and segments after the eighth are left out.
 */
export function printPath(schema: core.$ZodType, path: readonly PropertyKey[]): string {
  if (path.length === 0) return "the session data";
  let schemas = new Set([schema]);
  const printed = path.slice(0, MAX_SEGMENTS).map((segment) => {
    const parts = new Set<core.$ZodType>();
    for (const one of schemas) unwrapInto(parts, one);
    schemas = new Set([...parts].flatMap((part) => childrenOf(part, segment)));
    return isNamed([...parts].map(defOf), segment) ? legible(segment) : UNNAMED;
  });
  return printed.join(".") + (path.length > MAX_SEGMENTS ? "..." : "");
}

type Def = core.$ZodTypes["_zod"]["def"];

function defOf(schema: core.$ZodType): Def {
  return (schema as core.$ZodTypes)._zod.def;
}

/** Adds every schema that the next segment may belong to: all options of a union, and both sides of a pipe. */
function unwrapInto(parts: Set<core.$ZodType>, schema: core.$ZodType): void {
  if (parts.has(schema)) return;
  parts.add(schema);
  for (const inner of wrappedBy(defOf(schema))) unwrapInto(parts, inner);
}

function wrappedBy(def: Def): readonly core.$ZodType[] {
  switch (def.type) {
    case "union":
      return def.options;
    case "intersection":
      return [def.left, def.right];
    case "pipe":
      return [def.in, def.out];
    case "lazy":
      return [def.getter()];
    case "set":
      // zod adds no segment to the path for the items of a set.
      return [def.valueType];
    default:
      return "innerType" in def ? [def.innerType] : [];
  }
}

function isNamed(defs: readonly Def[], segment: PropertyKey): boolean {
  if (typeof segment === "number") {
    // The keys of a map are data, even if they are numbers.
    return defs.some(({ type }) => INDEXED.includes(type)) && defs.every(({ type }) => type !== "map");
  }
  return defs.some((def) => {
    if (def.type === "object") return Object.hasOwn(def.shape, segment);
    return def.type === "record" && isDeclaredKey(def.keyType, segment);
  });
}

/** Types in which a number in a path is the index of an array. */
const INDEXED: readonly string[] = ["array", "tuple", "any", "unknown", "custom"];

function isDeclaredKey(keys: core.$ZodType, segment: PropertyKey): boolean {
  const def = defOf(keys);
  if (def.type === "enum") return Object.values(def.entries).some((entry) => entry === segment);
  return def.type === "literal" && def.values.some((value) => value === segment);
}

function childrenOf(schema: core.$ZodType, segment: PropertyKey): readonly core.$ZodType[] {
  const def = defOf(schema);
  switch (def.type) {
    case "object": {
      const child = Object.hasOwn(def.shape, segment) ? def.shape[String(segment)] : def.catchall;
      return child === undefined ? [] : [child];
    }
    case "array":
      return [def.element];
    case "tuple": {
      const child = (typeof segment === "number" ? def.items[segment] : undefined) ?? def.rest;
      return child === null ? [] : [child];
    }
    case "record":
    case "map":
      return [def.valueType];
    case "any":
    case "unknown":
    case "custom":
      return [schema];
    default:
      return [];
  }
}
