/**
 * Checks of options, made once, when something is built.
 *
 * @module
 */

/** The largest count of seconds that every program which shares a session can hold (a 32-bit integer: 68 years). */
const MAX_SECONDS = 2_147_483_647;

/** An object without foreign keys, so that a misspelt option is an error and not a default. */
export function knownOptions<O extends object>(action: string, options: O, names: readonly (keyof O & string)[]): O {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(`Cannot ${action} as its options must be an object: received ${kindOf(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (!(names as readonly string[]).includes(name)) {
      throw new TypeError(`Cannot ${action} as there is no option "${name}": known are ${names.join(", ")}`);
    }
  }
  return options;
}

/** The options, each with its default where it is `undefined`. `defaults` names all options that exist. */
export function withDefaults<O extends object, D extends Readonly<Record<keyof O, unknown>>>(
  action: string,
  options: O,
  defaults: D,
): { readonly [K in keyof O & keyof D]: D[K] extends undefined ? O[K] : Exclude<O[K], undefined> } {
  const names = Object.keys(defaults) as (keyof O & string)[];
  const given = knownOptions(action, options, names);
  const settled = names.map((name) => {
    const value = given[name];
    return [name, value === undefined ? defaults[name] : value];
  });
  return Object.fromEntries(settled) as never;
}

const KINDS = { boolean: "true or false", function: "a function", number: "a number" } as const;

/** @throws {TypeError} If the value is of another type. */
export function ofType(action: string, name: string, value: unknown, type: "number"): asserts value is number;
export function ofType(action: string, name: string, value: unknown, type: keyof typeof KINDS): void;
export function ofType(action: string, name: string, value: unknown, type: keyof typeof KINDS): void {
  if (typeof value === type) return;
  throw new TypeError(`Cannot ${action} as ${name} must be ${KINDS[type]}: received ${kindOf(value)}`);
}

/** @throws {TypeError | RangeError} If the value is not a whole number within the bounds. */
export function wholeNumber(action: string, name: string, value: unknown, min: number, max: number): number {
  ofType(action, name, value, "number");
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot ${action} as ${name} must be a whole number from ${min} to ${max}: received ${value}`);
  }
  return value;
}

/** A positive count of seconds. */
export function seconds(action: string, name: string, value: unknown): number {
  return wholeNumber(action, name, value, 1, MAX_SECONDS);
}

/** What a message may say of a value without showing it. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value;
}
