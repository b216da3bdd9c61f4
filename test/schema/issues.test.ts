import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import * as mini from "zod/mini";
import { createSessionStore, memoryBackend, SessionDataError, type SessionSchema } from "../../src/index.ts";
import { failureOf, plant } from "../support/stored.ts";

const SECRET = "andrew@example.com";
const PREFIX = "Cannot store a session as its data does not fit the schema: ";

/** Returns the error of `create` with this field, its message without the beginning that all have. */
async function refusal(field: z.core.$ZodType, value: unknown): Promise<{ error: SessionDataError; why: string }> {
  return await refusalOf(z.object({ field: field as z.ZodType }), { field: value });
}

async function refusalOf(schema: SessionSchema, data: object): Promise<{ error: SessionDataError; why: string }> {
  const store = createSessionStore({ schema: schema as SessionSchema<object, object>, backend: memoryBackend() });
  const error: unknown = await store.create(data as never).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SessionDataError);
  const { message } = error as SessionDataError;
  expect(message.startsWith(PREFIX)).toBe(true);
  return { error: error as SessionDataError, why: message.slice(PREFIX.length) };
}

const isoDate = z.codec(z.iso.datetime(), z.date().min(new Date("2026-01-01T00:00:00Z")), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
});

const kinded = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("guest") }),
  z.object({ kind: z.literal("member"), id: z.int() }),
]);

type Circular = { sku: string; self?: unknown };

function circularItem(): Circular {
  const item: Circular = { sku: "a" };
  item.self = item;
  return item;
}

type Row = [reason: string, schema: z.core.$ZodType, value: unknown, why: string];

/** Whether this is the oldest supported zod, which has no exclusive unions and reports discriminators in another way. */
const isOldest = !("xor" in z);
const EXCLUSIVE: Row[] = !isOldest
  ? [["an exclusive union", z.xor([z.string(), z.email()]), SECRET, "field: fits more than one option of the union"]]
  : [];

function throwing(): object {
  const get = (): never => {
    throw new Error(SECRET);
  };
  return Object.defineProperty({}, "name", { get, enumerable: true });
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

const CODEC = "which is not stored as it is: use";
const UNSTORABLE: [what: string, value: unknown, why: string][] = [
  ["a Date", new Date(), `: is a Date, ${CODEC} date() from zession/codecs`],
  ["an Invalid Date", new Date(Number.NaN), `: is a Date, ${CODEC} date() from zession/codecs`],
  ["a bigint", 1n, `: is a bigint, ${CODEC} bigint() from zession/codecs`],
  ["a Map", new Map([["a", 1]]), `: is a Map, ${CODEC} map(key, value) from zession/codecs`],
  ["a Set", new Set(["a"]), `: is a Set, ${CODEC} set(item) from zession/codecs`],
  ["bytes", new TextEncoder().encode(SECRET), `: is a Uint8Array, ${CODEC} bytes() from zession/codecs`],
  ["a URL", new URL(`https://${SECRET}`), `: is a URL, ${CODEC} url() from zession/codecs`],
  ["a function", () => SECRET, `: is a function, ${CODEC} data`],
  ["a symbol", Symbol(SECRET), `: is a symbol, ${CODEC} a string`],
  ["NaN", Number.NaN, ": is NaN or infinite, which JSON cannot express: use null"],
  ["undefined in an array", [undefined], ".0: is undefined, which JSON cannot express: use null"],
  ["an instance of a class", new Error(SECRET), ": is an instance of a class, which needs a codec"],
  ["a getter that throws", throwing(), ".[key]: cannot be read as a getter or Proxy threw an error"],
  ["a revoked Proxy", revoked(), ": cannot be read as a getter or Proxy threw an error"],
  ["an object that makes its own JSON", { toJSON: () => SECRET }, ": has a method toJSON, which needs a codec"],
];

describe("the message of a SessionDataError", () => {
  test.each<Row>([
    ["the expected type", z.string(), 1, "field: expected string"],
    ["the expected type of a missing field", z.string().readonly(), undefined, "field: expected string"],
    ["the expected type of a missing codec field", isoDate, undefined, "field: expected date"],
    ["the literals of a missing field", z.enum(["light", "dark"]), undefined, 'field: expected one of "light", "dark"'],
    ["the literals of an enum", z.enum(["light", "dark"]), SECRET, 'field: expected one of "light", "dark"'],
    ["a single literal", z.literal(5), 6, "field: expected 5"],
    [
      "the number of literals that are too long",
      z.enum(["a".repeat(60), "b".repeat(60)]),
      "",
      "field: expected one of 2 values",
    ],
    ["an integer", z.int(), 1.5, "field: expected int"],
    ["a minimum", z.number().min(3), 1, "field: expected at least 3"],
    ["an exclusive minimum", z.number().gt(3), 1, "field: expected more than 3"],
    ["a maximum", z.number().max(3), 4, "field: expected at most 3"],
    ["an exclusive maximum", z.number().lt(3), 4, "field: expected less than 3"],
    ["a divisor", z.number().multipleOf(5), 4, "field: expected a multiple of 5"],
    ["a minimum length", z.string().min(3), "a", "field: expected at least 3 characters"],
    ["an exact length", z.string().length(3), "a", "field: expected exactly 3 characters"],
    ["a number of items", z.array(z.int()).max(2), [1, 2, 3], "field: expected at most 2 items"],
    ["a bound of a date", isoDate, new Date(0), "field: expected at least 2026-01-01T00:00:00.000Z"],
    ["a format", z.email(), "andrew", "field: expected a valid email"],
    ["a pattern", z.string().regex(/^[0-9]+$/), SECRET, "field: does not match the pattern of the schema"],
    ["a prefix", z.string().startsWith("a"), SECRET.slice(1), "field: does not match the pattern of the schema"],
    ["a union", z.union([z.string(), z.int()]), true, "field: fits no option of the union"],
    ...EXCLUSIVE,
    [
      "a discriminated union",
      kinded,
      { kind: SECRET },
      isOldest ? "field.kind: fits no option of the union" : "field: fits no option of the union",
    ],
    ["the option of a discriminated union", kinded, { kind: "member", id: SECRET }, "field.id: expected number"],
    ["unrecognized keys", z.strictObject({ a: z.int() }), { a: 1, [SECRET]: 1, b: 1 }, "field: 2 unrecognized keys"],
    [
      "a key of a record",
      z.record(z.string().max(3), z.int()),
      { [SECRET]: 1 },
      "field.[key]: the key does not fit the schema",
    ],
    [
      "a class",
      z.object({ a: z.object({}) }),
      { a: new Headers() },
      "field.a: is an instance of a class, which needs a codec",
    ],
    ...UNSTORABLE.map(([what, value, why]): Row => [what, z.unknown(), value, `field${why}`]),
    ["a value in a record in an array", z.unknown(), [{ a: 1n }], `field.0.[key]${UNSTORABLE[2]?.[2]}`],
    ["a Date where text is expected", z.string(), new Date(), `field${UNSTORABLE[0]?.[2]}`],
    ["a lone surrogate", z.string(), "\ud800", "field: contains a lone surrogate, which cannot be stored"],
    [
      "an item that refers to itself",
      z.array(z.object({ sku: z.string(), self: z.unknown() })),
      [circularItem()],
      "field.0: contains a circular reference",
    ],
  ])("the message gives %s", async (_, schema, value, why) => {
    expect((await refusal(schema, value)).why).toBe(why);
  });

  test("the message names the object that a circular reference points to", async () => {
    const cart = z.array(z.object({ sku: z.string() }));
    const { why } = await refusalOf(z.object({ cart }), { cart: [circularItem()] });
    expect(why).toBe("cart.0: contains a circular reference");
  });

  test("the message names a circular reference through several objects, and an array that contains itself", async () => {
    const list: unknown[] = [];
    list.push(list);
    expect((await refusal(z.unknown(), list)).why).toBe("field: contains a circular reference");
    const [a, b] = [{ b: {} }, { a: {} }];
    Object.assign(a, { b });
    Object.assign(b, { a });
    expect((await refusal(z.object({ a: z.unknown() }), { a })).why).toBe("field.a: contains a circular reference");
  });

  test("the message does not call an object circular that is used twice or nested too deeply", async () => {
    const shared = { n: 1 };
    const store = createSessionStore({ schema: z.object({ field: z.unknown() }), backend: memoryBackend() });
    const { session } = await store.create({ field: [shared, shared] });
    expect(session.data.field).toEqual([shared, shared]);
    let deep: unknown = 1;
    for (let depth = 0; depth < 200; depth++) deep = [deep];
    const { why } = await refusal(z.unknown(), deep);
    expect(why).toBe("field.0.0.0.0.0.0.0...: is nested more than 128 levels deep");
  });

  test("the message prints the keys of records as [key], because they may be mail addresses", async () => {
    const record = z.record(z.string(), z.object({ seen: z.int() }));
    const value = { [SECRET]: { seen: "x" } };
    for (const schema of [
      record,
      record.optional(),
      record.nullable().default(null),
      record.readonly(),
      z.lazy(() => record),
      z.union([z.string(), record]).pipe(record),
      z.intersection(record, z.record(z.string(), z.unknown())),
      z.looseObject({}).catchall(z.object({ seen: z.int() })),
    ]) {
      const { error, why } = await refusal(schema, value);
      expect(why).toBe("field.[key].seen: expected number");
      expect(error.issues[0]?.path).toEqual(["field", SECRET, "seen"]);
    }
  });

  test("the message prints the keys of a record whose schema lists them", async () => {
    const { why } = await refusal(z.record(z.enum(["home", "work"]), z.int()), { home: SECRET, work: 1 });
    expect(why).toBe("field.home: expected number");
  });

  test("the message prints the keys of maps as [key], numbers included", async () => {
    const pairs = z.codec(z.array(z.tuple([z.int(), z.int()])), z.map(z.int(), z.int()), {
      decode: (list) => new Map(list),
      encode: (map) => [...map],
    });
    expect((await refusal(pairs, new Map([[4111111, "x"]]))).why).toBe("field.[key]: expected number");
  });

  test("the message prints the indexes of arrays and tuples", async () => {
    const schema = z.array(z.tuple([z.int(), z.object({ n: z.int() })], z.string()));
    const { why } = await refusal(schema, [
      [1, { n: "x" }],
      [1, { n: 1 }, 5],
    ]);
    expect(why).toBe("field.0.1.n: expected number; field.1.2: expected string");
  });

  test("the message names the discriminator of stored data", async () => {
    const backend = memoryBackend();
    const store = createSessionStore({ schema: z.object({ field: kinded }), backend });
    const { token } = await store.create({ field: { kind: "guest" } });
    await plant(backend, token, { field: JSON.stringify({ kind: SECRET }) });
    const { message } = await failureOf(store.get(token));
    const why = isOldest ? "fits no option of the union" : 'expected one of "guest", "member"';
    expect(message).toMatch(/^Cannot read a session .+: field\.kind: /);
    expect(message.endsWith(`field.kind: ${why}`)).toBe(true);
  });

  test("the message counts an unknown key without showing it", async () => {
    const { error, why } = await refusalOf(z.object({}), { [SECRET]: 1 });
    expect(why).toBe("[key]: unrecognized key");
    expect(error.issues).toEqual([{ code: "unrecognized_keys", path: [SECRET], message: "unrecognized key" }]);
  });

  test("the message lists at most ten of a thousand issues", async () => {
    const { error, why } = await refusal(z.array(z.int()), Array(1000).fill(SECRET));
    expect(error.issues).toHaveLength(1000);
    expect(why.split("; ")).toHaveLength(11);
    expect(why).toMatch(/^field\.0: expected number; .+; field\.9: expected number; and 990 more$/);
  });

  test("the message shows only eight segments of a path with thirty", async () => {
    let schema: z.ZodType = z.int();
    let value: unknown = SECRET;
    for (let depth = 29; depth > 0; depth--) {
      schema = z.object({ [`l${depth}`]: schema });
      value = { [`l${depth}`]: value };
    }
    const { error, why } = await refusal(schema, value);
    expect(error.issues[0]?.path).toHaveLength(30);
    expect(why).toBe("field.l1.l2.l3.l4.l5.l6.l7...: expected number");
  });

  test("the message names fields of a recursive schema", async () => {
    interface Tree {
      name: string;
      children: Tree[];
    }
    const tree: z.ZodType<Tree> = z.lazy(() => z.object({ name: z.string(), children: z.array(tree) }));
    const { why } = await refusal(tree, {
      name: "a",
      children: [{ name: SECRET, children: [{ name: 1, children: [] }] }],
    });
    expect(why).toBe("field.children.0.children.0.name: expected string");
  });

  // The oldest zod runs out of memory by itself here, as it collects the issues of all options at every level.
  test.skipIf(isOldest)("the message for a union of many recursive options is short", async () => {
    const node: z.ZodType = z.lazy(() => z.union(options));
    const options: [z.ZodType, ...z.ZodType[]] = [z.object({ id0: z.int() })];
    for (let n = 1; n < 50; n++) options.push(z.object({ kind: z.literal(n), left: node, right: node }));
    let value: object = { kind: 1 };
    for (let depth = 0; depth < 20; depth++) value = { kind: 1, left: value, right: { id0: 1 } };
    expect((await refusal(node, value)).why).toBe("field: fits no option of the union");
  });

  test("the message names the session data if a check of the whole object fails", async () => {
    const schema = z.object({ from: z.int(), to: z.int() }).refine(({ from, to }) => from <= to, SECRET);
    const { error, why } = await refusalOf(schema, { from: 2, to: 1 });
    expect(why).toBe("the session data: does not pass a check of the schema");
    expect(error.issues).toEqual([{ code: "custom", path: [], message: "does not pass a check of the schema" }]);
  });

  test("the message is the same for zod/mini, which has no messages of its own", async () => {
    const { why } = await refusal(mini.string().check(mini.minLength(3)), "a");
    expect(why).toBe("field: expected at least 3 characters");
  });

  test("the message prints a field name with line breaks on one short line", async () => {
    const { why } = await refusalOf(z.object({ [`a\nb${"c".repeat(500)}`]: z.int() }), {});
    expect(why).toMatch(/^a\ufffdbc{61}\.\.\.: expected number$/);
  });
});

describe("a SessionDataError shows no data", () => {
  const quoting = (value: unknown) => `received ${String(value)}`;

  test.each<[what: string, schema: z.core.$ZodType, value: unknown]>([
    ["a refinement with a message", z.string().refine(() => false, { error: ({ input }) => quoting(input) }), SECRET],
    ["a custom error of a type", z.int({ error: ({ input }) => quoting(input) }), SECRET],
    ["a refinement with params", z.string().refine(() => false, { params: { SECRET } }), SECRET],
    ["a union with a message", z.union([z.int(), z.boolean()], { error: ({ input }) => quoting(input) }), SECRET],
    ["an issue that a check added", z.string().superRefine((value, { addIssue }) => addIssue(quoting(value))), SECRET],
    [
      "the properties of an issue that a check added",
      z.string().superRefine((value, { issues }) => {
        for (const code of ["invalid_type", "invalid_format", "too_small", "too_big", "not_multiple_of", "other"]) {
          const parts = {
            expected: value,
            format: value,
            minimum: value,
            maximum: value,
            divisor: value,
            origin: value,
          };
          issues.push({ ...parts, code, message: value, input: value, inst: undefined } as never);
        }
        issues.push({ code: "unrecognized_keys", keys: [value], input: value } as never);
      }),
      SECRET,
    ],
    ["a codec that throws", z.codec(z.string(), z.string(), { decode: String, encode: thrower }), SECRET],
  ])("neither the message nor the issues show data, with %s", async (_, schema, value) => {
    const { error, why } = await refusal(schema, value);
    expect(why).toMatch(/^field: /);
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain(SECRET);
  });

  test("the message does not show a path that a check added", async () => {
    const schema = z.string().superRefine((value, { addIssue }) => {
      addIssue({ code: "custom", path: [value, 4111111111111111], message: value });
    });
    expect((await refusal(schema, SECRET)).why).toBe("field.[key].[key]: does not pass a check of the schema");
  });

  function thrower(value: string): string {
    throw new RangeError(quoting(value));
  }
});
