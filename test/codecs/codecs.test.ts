import { build } from "esbuild";
import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import * as z from "zod";
import * as mini from "zod/mini";
import { bigint, bytes, date, map, set, url } from "../../src/codecs/index.ts";
import { createSessionStore, type DataOf, memoryBackend } from "../../src/index.ts";
import { onNode } from "../support/runtime.ts";
import { failureOf, plant, rawOf } from "../support/stored.ts";

const schemas: Record<string, z.core.$ZodType> = {
  date: date(),
  bigint: bigint(),
  set: set(z.string()),
  map: map(z.string(), z.int()),
  bytes: bytes(),
  url: url(),
};
type Name = string;

function codecs() {
  const backend = memoryBackend();
  const shape = Object.fromEntries(Object.entries(schemas).map(([name, codec]) => [name, z.optional(codec)]));
  return { backend, store: createSessionStore({ schema: z.object(shape), backend, onEvent() {} }) };
}

type Row = [name: Name, value: unknown, stored: string];
const ROWS: Row[] = [
  ["date", new Date("2026-04-02T12:34:56.789Z"), "2026-04-02T12:34:56.789Z"],
  ["date", new Date(8.64e15), "+275760-09-13T00:00:00.000Z"],
  ["date", new Date(-8.64e15), "-271821-04-20T00:00:00.000Z"],
  ["bigint", -(2n ** 200n), String(-(2n ** 200n))],
  ["bigint", 0n, "0"],
  ["set", new Set(["b", "a"]), '["b","a"]'],
  ["set", new Set(), "[]"],
  [
    "map",
    new Map([
      ["b", 1],
      ["a", 2],
    ]),
    '[["b",1],["a",2]]',
  ],
  ["bytes", Uint8Array.of(0, 127, 128, 255), "AH+A/w=="],
  ["bytes", new Uint8Array(), ""],
  ["url", new URL("https://müller.example/a b?c=ä#d"), "https://xn--mller-kva.example/a%20b?c=%C3%A4#d"],
];

describe("codecs", () => {
  test.each(ROWS)("%s() stores a value as text and reads it as it was", async (name, value, stored) => {
    const { backend, store } = codecs();
    const { token, session } = await store.create({ [name]: value });
    expect((await rawOf(backend, token))[name]).toBe(stored);
    for (const data of [session.data, (await store.get(token))?.data]) expect(data).toEqual({ [name]: value });
    expect((await store.update(token, { [name]: value }))?.data).toEqual({ [name]: value });
  });

  test.each<[Name, fc.Arbitrary<unknown>]>([
    ["date", fc.date({ noInvalidDate: true })],
    ["bigint", fc.bigInt()],
    ["set", fc.uniqueArray(fc.string()).map((list) => new Set(list))],
    [
      "map",
      fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), { selector: ([key]) => key }).map((list) => new Map(list)),
    ],
    ["bytes", fc.uint8Array()],
    ["url", fc.webUrl({ withQueryParameters: true }).map((text) => new URL(text))],
  ])("%s() decodes every value that it encodes to the same value", (name, values) => {
    fc.assert(
      fc.property(values, (value) => {
        const stored: unknown = JSON.parse(JSON.stringify(z.core.encode(schemas[name] as z.ZodType, value)));
        const read = z.core.decode(schemas[name] as z.ZodType, stored);
        expect(read).toEqual(value);
        if (value instanceof URL) expect(String(read)).toBe(value.href);
      }),
    );
  });

  test.each<[Name, string]>([
    ["date", "yesterday"],
    ["date", ""],
    ["date", "2026-02-30T00:00:00.000Z"],
    ["date", "2026-04-02T12:34:56"],
    ["date", "2026-04-02"],
    ["date", "Thu, 02 Apr 2026 12:34:56 GMT"],
    ["bigint", ""],
    ["bigint", "0x10"],
    ["bigint", "1.5"],
    ["bigint", " 1"],
    ["bytes", "AH+A/w=!"],
    ["bytes", "A"],
    ["url", "/account"],
    ["url", ""],
    ["set", '["a","a"]'],
    ["set", "[1]"],
    ["set", "{}"],
    ["set", "a"],
    ["map", '[["a",1],["a",2]]'],
    ["map", '[["a"]]'],
    ["map", '[["a","b"]]'],
    ["map", '{"a":1}'],
  ])("the stored text of %s() that does not fit is a SessionDataError: %j", async (name, stored) => {
    const { backend, store } = codecs();
    const { token } = await store.create({});
    await plant(backend, token, { [name]: stored });
    const error = await failureOf(store.get(token));
    expect(error.origin).toBe("stored");
    expect(error.issues[0]?.path[0]).toBe(name);
    if (stored.length > 3) expect(error.message).not.toContain(stored);
  });

  test.each<[Name, unknown, string]>([
    ["date", new Date(Number.NaN), "date: expected date"],
    ["date", "2026-04-02T12:34:56.789Z", "date: expected date"],
    ["bigint", 1, "bigint: expected bigint"],
    ["set", ["a"], "set: expected set"],
    ["set", new Set([1]), "set.0: expected string"],
    ["map", { a: 1 }, "map: expected map"],
    ["map", new Map([["a", "b"]]), "map.[key].1: expected number"],
    ["bytes", [1, 2], "bytes: expected a valid Uint8Array"],
    ["bytes", "AH+A/w==", "bytes: expected a valid Uint8Array"],
    ["url", "https://example.com", "url: expected a valid URL"],
  ])("%s() refuses other data, and says why: %o", async (name, value, why) => {
    const error = await failureOf(codecs().store.create({ [name]: value }));
    expect(error.origin).toBe("given");
    expect(error.message).toContain(`: ${why}`);
  });

  test("date() reads the times of other programs, with any number of decimals", () => {
    expect(z.core.decode(date(), "2026-04-02T12:34:56Z")).toEqual(new Date("2026-04-02T12:34:56.000Z"));
    expect(z.core.decode(date(), "2026-04-02T12:34:56.789123Z")).toEqual(new Date("2026-04-02T12:34:56.789Z"));
  });

  test("each read returns instances of its own, which can be changed without an effect on the session", async () => {
    const { store } = codecs();
    const data = { date: new Date(0), set: new Set(["a"]), map: new Map([["a", 1]]), bytes: Uint8Array.of(1) };
    const { token, session } = await store.create(data);
    const { date, set, map, bytes } = session.data as typeof data;
    date.setTime(1);
    set.add("b");
    map.clear();
    bytes[0] = 2;
    data.date.setTime(2);
    expect((await store.get(token))?.data).toEqual({
      date: new Date(0),
      set: new Set(["a"]),
      map: new Map([["a", 1]]),
      bytes: Uint8Array.of(1),
    });
  });

  test("codecs nest, have typed data, and take defaults, in zod and in zod/mini", async () => {
    const seen = z.object({ at: date(), by: z.nullable(bigint()) });
    const schema = z.object({
      days: set(date()),
      visits: map(z.int(), z.array(seen)),
      since: z._default(date(), () => new Date(0)),
      home: z.optional(url()),
    });
    const store = createSessionStore({ schema, backend: memoryBackend() });
    const data = {
      days: new Set([new Date(1), new Date(2)]),
      visits: new Map([
        [5, [{ at: new Date(3), by: 4n }]],
        [6, [{ at: new Date(3), by: null }]],
      ]),
    };
    const { session } = await store.create(data);
    expect(session.data).toEqual({ ...data, since: new Date(0) });
    expectTypeOf<DataOf<typeof store>>().toEqualTypeOf<{
      days: Set<Date>;
      visits: Map<number, { at: Date; by: bigint | null }[]>;
      since: Date;
      home?: URL | undefined;
    }>();

    const small = createSessionStore({
      schema: mini.object({ at: mini.optional(date()), tags: set(mini.string()) }),
      backend: memoryBackend(),
    });
    expectTypeOf<DataOf<typeof small>>().toEqualTypeOf<{ at?: Date | undefined; tags: Set<string> }>();
    const { session: one } = await small.create({ at: new Date(0), tags: new Set(["a"]) });
    expect(one.data).toEqual({ at: new Date(0), tags: new Set(["a"]) });
  });

  test("the items of a set may accept any value, which is checked before it is stored", async () => {
    const store = createSessionStore({ schema: z.object({ field: set(z.unknown()) }), backend: memoryBackend() });
    const error = await failureOf(store.create({ field: new Set([new Date()]) }));
    expect(error.message).toContain("field.0: is a Date, which is not stored as it is: use date() from zession/codecs");
  });

  test.runIf(onNode)("a bundle with one codec contains neither the others nor the whole of zod", async () => {
    const bundle = async (contents: string): Promise<string> => {
      const { outputFiles } = await build({
        stdin: { contents, resolveDir: "src/codecs" },
        bundle: true,
        minify: true,
        platform: "neutral",
        mainFields: ["module"],
        write: false,
      });
      return outputFiles[0]?.text ?? "";
    };
    const one = await bundle('export { date } from "./index.ts";');
    expect(one).not.toMatch(/"\$?Zod(Map|Set|BigInt|Mini)|atob/);
    expect(one.length).toBeLessThan(10_000);
    expect(await bundle('export * from "./index.ts";')).toMatch(/"\$ZodMap".+atob/s);
  });
});
