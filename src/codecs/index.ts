/**
 * Codecs for values without a JSON form. They fit schemas of `zod` and of `zod/mini`, and have no methods: write
 * `z.optional(date())`. Each read returns instances of its own, which are not frozen; store a change with `update`.
 *
 * @module
 */
import * as core from "zod/v4/core";

/**
 * A `Date`, stored as ISO 8601 text in UTC. Stored text may have any number of decimals, of which a `Date` keeps three.
 *
 * @returns A codec. Text that is no time does not fit it.
 */
export function date(): core.$ZodType<Date, string> {
  const decode = (stored: string): Date => {
    const time = new Date(stored);
    // Some runtimes read February 30 as March 2.
    if (stored.replace(/(\.\d+)?Z$/, ".") !== time.toISOString().replace(/\d{3}Z$/, "")) throw new RangeError();
    return time;
  };
  return codec("Date", text(), new core.$ZodDate({ type: "date" }), decode, (time) => time.toISOString());
}

/**
 * A `bigint`, stored as decimal digits.
 *
 * @returns A codec. Text with anything but digits and a leading minus does not fit it.
 */
export function bigint(): core.$ZodType<bigint, string> {
  const decode = (stored: string): bigint => {
    if (!/^-?\d+$/.test(stored)) throw new SyntaxError();
    return BigInt(stored);
  };
  return codec("bigint", text(), new core.$ZodBigInt({ type: "bigint" }), decode, String);
}

/**
 * A `Set`, stored as a JSON array.
 *
 * @param item The schema of the items, which may be a codec.
 * @returns A codec. An array with an item twice does not fit it.
 */
export function set<T extends core.$ZodType>(item: T): core.$ZodType<Set<core.output<T>>, core.input<T>[]> {
  const items = new core.$ZodArray({ type: "array", element: item });
  const data = new core.$ZodSet({ type: "set", valueType: anything() });
  const decode = (list: core.output<T>[]) => withoutRepetition(new Set(list), list);
  return codec("Set", items, data, decode, (given) => [...given]);
}

/**
 * A `Map`, stored as a JSON array of pairs.
 *
 * @param key The schema of the keys, which may be a codec.
 * @param value The schema of the values, which may be a codec.
 * @returns A codec. An array with a key twice does not fit it.
 */
export function map<K extends core.$ZodType, V extends core.$ZodType>(
  key: K,
  value: V,
): core.$ZodType<Map<core.output<K>, core.output<V>>, [core.input<K>, core.input<V>][]> {
  const pair = new core.$ZodTuple({ type: "tuple", items: [key, value], rest: null });
  const pairs = new core.$ZodArray({ type: "array", element: pair });
  const data = new core.$ZodMap({ type: "map", keyType: anything(), valueType: anything() });
  const decode = (list: [core.output<K>, core.output<V>][]) => withoutRepetition(new Map(list), list);
  return codec("Map", pairs, data, decode, (given) => [...given]);
}

/**
 * Bytes as a `Uint8Array`, stored in base64.
 *
 * @returns A codec. Text that is not base64 does not fit it.
 */
export function bytes(): core.$ZodType<Uint8Array, string> {
  const encode = (given: Uint8Array): string => {
    if (!(given instanceof Uint8Array)) throw new TypeError();
    let binary = "";
    for (const byte of given) binary += String.fromCharCode(byte);
    return btoa(binary);
  };
  const decode = (stored: string): Uint8Array => Uint8Array.from(atob(stored), (byte) => byte.charCodeAt(0));
  return codec("Uint8Array", text(), anything(), decode, encode);
}

/**
 * A `URL`, stored as its `href`.
 *
 * @returns A codec. Text that is no absolute URL does not fit it.
 */
export function url(): core.$ZodType<URL, string> {
  const encode = (given: URL): string => {
    if (!(given instanceof URL)) throw new TypeError();
    return given.href;
  };
  return codec("URL", text(), anything(), (stored: string) => new URL(stored), encode);
}

function text(): core.$ZodString {
  return new core.$ZodString({ type: "string" });
}

/** Returns the schema of values that another part of the codec checks. */
function anything(): core.$ZodUnknown {
  return new core.$ZodUnknown({ type: "unknown" });
}

/** Makes a codec. A value for which one of its functions throws does not fit; the error is dropped, as it may quote data. */
function codec<Data, Decoded, Stored>(
  type: string,
  stored: core.$ZodType,
  data: core.$ZodType,
  decode: (value: Decoded) => Data,
  encode: (value: Data) => Decoded,
): core.$ZodType<Data, Stored> {
  const orInvalid =
    <From, To>(convert: (value: From) => To) =>
    (value: From, payload: core.ParsePayload): To => {
      try {
        return convert(value);
      } catch {
        payload.issues.push({ code: "invalid_format", format: type, input: value as string & From });
        return core.NEVER;
      }
    };
  return new core.$ZodCodec({
    type: "pipe",
    in: stored,
    out: data,
    transform: orInvalid(decode),
    reverseTransform: orInvalid(encode),
  } as core.$ZodCodecDef) as core.$ZodType<Data, Stored>;
}

/** Returns the collection, unless it lacks an item of the list because another one is equal. */
function withoutRepetition<C extends { readonly size: number }>(collection: C, list: readonly unknown[]): C {
  if (collection.size !== list.length) throw new RangeError();
  return collection;
}
