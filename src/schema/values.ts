/**
 * Helpers for values that pass between the application, zod and JSON. Copies have no prototype, so that a missing property
 * stays missing if `Object.prototype` is polluted.
 *
 * @module
 */
import { nullObject } from "../base/null-object.ts";
import { ignore, isPromise } from "../base/promises.ts";
import { whyNotStored } from "./replacements.ts";

/** The error for a value that cannot be stored. Its message follows "<path>: " and shows no data. */
export class Unstorable extends Error {
  readonly path: PropertyKey[] = [];
  /** The number of path segments that lead to the object to which a circular reference points. */
  readonly depth: number | undefined;

  constructor(message: string, depth?: number) {
    super(message);
    this.depth = depth;
  }
}

const DANGEROUS: readonly string[] = ["__proto__", "constructor", "prototype"];

/**
 * The maximum nesting depth. It is fixed, because stack sizes differ: every runtime must be able to read what another
 * one stored.
 */
const MAX_DEPTH = 128;

/**
 * Copies own properties only, so that zod does not read inherited ones.
 *
 * @param instances Whether instances of classes are kept as they are.
 * @throws {Unstorable}
 */
export function ownCopy(value: unknown, instances: boolean): unknown {
  return within([], () => copyWithin([], value, instances));
}

/** @param ancestors The objects that contain the value. */
function copyWithin(ancestors: object[], value: unknown, instances: boolean): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (ancestors.length > MAX_DEPTH) throw tooDeep(value, ancestors);
  const copyOf = (item: unknown): unknown => copyWithin(ancestors, item, instances);
  ancestors.push(value);
  const copy = Array.isArray(value)
    ? Array.from(value, (item, at) => within([at], () => copyOf(item)))
    : copyOfObject(value, instances, copyOf);
  ancestors.pop();
  return copy;
}

function copyOfObject(value: object, instances: boolean, copyOf: (item: unknown) => unknown): unknown {
  if (!isPlain(value)) {
    if (isPromise(value)) {
      ignore(value);
      throw new Unstorable("is a promise: await it first");
    }
    if (instances) return value;
    throw new Unstorable(whyNotStored(value));
  }
  const copy: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(value)) {
    copy[key] = within([key], () => {
      if (DANGEROUS.includes(key)) throw new Unstorable("this key cannot be stored");
      return copyOf((value as Record<string, unknown>)[key]);
    });
  }
  return copy;
}

function tooDeep(value: object, ancestors: readonly object[]): Unstorable {
  const depth = ancestors.indexOf(value);
  if (depth === -1) return new Unstorable(`is nested more than ${MAX_DEPTH} levels deep`);
  return new Unstorable("contains a circular reference", depth);
}

/**
 * Checks that JSON can express a value.
 *
 * @throws {Unstorable} If JSON cannot express the value.
 */
export function assertJson(value: unknown): void {
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number" && Number.isFinite(value)) return;
  if (Array.isArray(value)) {
    value.forEach((item, at) => {
      within([at], () => assertJson(item));
    });
  } else if (
    typeof value === "object" &&
    isPlain(value) &&
    typeof (value as { toJSON?: unknown }).toJSON !== "function"
  ) {
    for (const [key, item] of Object.entries(value)) if (item !== undefined) within([key], () => assertJson(item));
  } else {
    throw new Unstorable(whyNotStored(value));
  }
}

/** Runs a step on the value at this path. An error that the value itself throws when it is read may quote data. */
function within<R>(path: readonly PropertyKey[], step: () => R): R {
  try {
    return step();
  } catch (error) {
    if (error instanceof RangeError) throw error; // The stack may be full.
    const own =
      error instanceof Unstorable ? error : new Unstorable("cannot be read as a getter or Proxy threw an error");
    own.path.unshift(...path);
    throw own;
  }
}

/** Whether the object is a plain one and not an instance of a class. Also works for objects of other realms. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return true;
  return !Object.hasOwn(prototype, "constructor");
}

/**
 * Parses JSON. Returns text that is not JSON as a string, which zod then validates. The message of the parser is dropped,
 * because it quotes the text.
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof RangeError) throw error;
    return text;
  }
  return typeof value === "object" && value !== null ? withoutPrototypes(value) : value;
}

function withoutPrototypes(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutPrototypes);
  const copy = nullObject<unknown>();
  for (const key of Object.keys(value)) {
    if (key !== "__proto__") copy[key] = withoutPrototypes((value as Record<string, unknown>)[key]);
  }
  return copy;
}

/** Freezes plain objects and arrays at every level, because a change to a snapshot would not be stored. */
export function deepFreeze<V>(value: V, seen?: Set<unknown>): V {
  if (typeof value !== "object" || value === null || seen?.has(value)) return value;
  if (!Array.isArray(value) && !isPlain(value)) {
    if (!isPromise(value)) return value;
    ignore(value);
    throw new Unstorable("is a promise, which a function of the schema returned");
  }
  let within = seen?.add(value); // An object that zod froze for `.readonly()` may contain objects that are not frozen.
  for (const item of Object.values(value)) {
    if (typeof item !== "object" || item === null) continue;
    within ??= new Set<unknown>([value]);
    deepFreeze(item, within);
  }
  return Object.freeze(value);
}

const LEGIBLE_LENGTH = 64;

/** Makes a key safe for an error message: short, and without characters that start a new log line (ASVS 5.0 16.4.1). */
export function legible(key: PropertyKey): string {
  const text = String(key).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
  return text.length > LEGIBLE_LENGTH ? `${text.slice(0, LEGIBLE_LENGTH)}...` : text;
}
