/**
 * Values on their way between the application, zod and JSON. Nothing on the way inherits: with a polluted
 * `Object.prototype` a property that is missing must stay missing.
 *
 * @module
 */
import { nullObject } from "../base/null-object.ts";

/** A value that has no stored form. */
export class Unstorable extends Error {
  readonly path: PropertyKey[] = [];
}

const DANGEROUS: readonly string[] = ["__proto__", "constructor", "prototype"];

/** How deep the stack lets one go differs between runtimes: what one of them stores all of them must be able to read. */
const MAX_DEPTH = 128;

/** A copy of own properties only, so that zod takes nothing that is inherited for given. @throws {Unstorable} */
export function ownCopy(value: unknown, instances: boolean, depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) throw new Unstorable("The value is too deep or refers to itself");
  const copyOf = (item: unknown): unknown => ownCopy(item, instances, depth + 1);
  if (Array.isArray(value)) return Array.from(value, (item, at) => within(at, () => copyOf(item)));
  if (!isPlain(value)) {
    if (instances) return value;
    throw new Unstorable("An instance of a class cannot be stored without a codec");
  }
  const copy: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(value)) {
    copy[key] = within(key, () => {
      if (DANGEROUS.includes(key)) throw new Unstorable("This key cannot be stored");
      return copyOf((value as Record<string, unknown>)[key]);
    });
  }
  return copy;
}

/** @throws {Unstorable} If the value is not JSON by itself. */
export function assertJson(value: unknown): void {
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number" && Number.isFinite(value)) return;
  if (Array.isArray(value)) {
    value.forEach((item, at) => {
      within(at, () => assertJson(item));
    });
  } else if (
    typeof value === "object" &&
    isPlain(value) &&
    typeof (value as { toJSON?: unknown }).toJSON !== "function"
  ) {
    for (const [key, item] of Object.entries(value)) if (item !== undefined) within(key, () => assertJson(item));
  } else {
    throw new Unstorable("The value has no JSON form: use a codec");
  }
}

function within<R>(key: PropertyKey, step: () => R): R {
  try {
    return step();
  } catch (error) {
    if (error instanceof Unstorable) error.path.unshift(key);
    throw error;
  }
}

/** An object literal, of any realm, or one that inherits from such: no class made it. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return true;
  return !Object.hasOwn(prototype, "constructor");
}

/** Text that is no JSON is passed on as a string: the schema decides, and the parser's message, which quotes it, ends here. */
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

/** A snapshot that looks changeable would lose every change made to it. */
export function deepFreeze<V>(value: V, seen?: Set<unknown>): V {
  if (typeof value !== "object" || value === null || seen?.has(value)) return value;
  if (!Array.isArray(value) && !isPlain(value)) return value;
  let within = seen?.add(value); // What is frozen already, as by `.readonly()`, need not be so in its depth.
  for (const item of Object.values(value)) {
    if (typeof item !== "object" || item === null) continue;
    within ??= new Set<unknown>([value]);
    deepFreeze(item, within);
  }
  return Object.freeze(value);
}

const LEGIBLE_LENGTH = 64;

/** A key, which may come from anywhere, for a message: it must not begin a line of its own in a log (ASVS 5.0 16.4.1). */
export function legible(key: PropertyKey): string {
  const text = String(key).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
  return text.length > LEGIBLE_LENGTH ? `${text.slice(0, LEGIBLE_LENGTH)}...` : text;
}
