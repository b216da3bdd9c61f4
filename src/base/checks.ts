/**
 * Checks of options and arguments. `action` completes "Cannot <action> as ..." in their messages.
 *
 * @module
 */

/**
 * Returns the options if all of their names are known, so that a misspelled option is an error.
 *
 * @param parent The option that contains these options; none for the options object itself.
 * @throws {TypeError} If the options are not an object or have an unknown name.
 */
export function knownOptions<O extends object>(
  action: string,
  options: O,
  names: readonly (keyof O & string)[],
  parent?: string,
): O {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot ${action} as ${parent ?? "its options"} must be an object: received ${kindOf(options)}`,
    );
  }
  for (const name of Object.keys(options)) {
    if (!(names as readonly string[]).includes(name)) {
      const option = parent === undefined ? name : `${parent}.${name}`;
      const known = names.join(", ") || "none";
      throw new TypeError(`Cannot ${action} as there is no option "${option}": the options are ${known}`);
    }
  }
  return options;
}

/**
 * Checks the options of a call.
 *
 * @param names The names of all options.
 * @throws {TypeError} If the options are not an object, one has an unknown name, or the signal is not an `AbortSignal`.
 */
export function callOptions<O extends { readonly signal?: AbortSignal | undefined }>(
  action: string,
  options: O | undefined,
  names: readonly (keyof O & string)[] = ["signal"],
): Partial<O> {
  if (options === undefined) return {};
  const { signal } = knownOptions(action, options, names);
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw new TypeError(`Cannot ${action} as signal must be an AbortSignal: received ${kindOf(signal)}`);
  }
  return options;
}

/**
 * Returns the options, with the default for each that is `undefined`.
 *
 * @param defaults Contains the name of every option.
 * @throws {TypeError} If the options are not an object or have an unknown name.
 */
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

/**
 * Checks the type of a value.
 *
 * @throws {TypeError} If the value has another type.
 */
export function ofType(action: string, name: string, value: unknown, type: "number"): asserts value is number;
export function ofType(action: string, name: string, value: unknown, type: keyof typeof KINDS): void;
export function ofType(action: string, name: string, value: unknown, type: keyof typeof KINDS): void {
  if (typeof value === type) return;
  throw new TypeError(`Cannot ${action} as ${name} must be ${KINDS[type]}: received ${kindOf(value)}`);
}

/**
 * Returns the value if it is a whole number within the bounds, both inclusive.
 *
 * @throws {TypeError} If the value is not a number.
 * @throws {RangeError} If the value is not whole or out of bounds.
 */
export function wholeNumber(action: string, name: string, value: unknown, min: number, max: number): number {
  ofType(action, name, value, "number");
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot ${action} as ${name} must be a whole number from ${min} to ${max}: received ${value}`);
  }
  return value;
}

/** Returns the type of a value, for an error message that must not show the value. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value;
}
