import process from "node:process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { newSecret, plainTokens, secretTokens } from "../../src/base/token.ts";
import { createSessionStore, memoryBackend, type SessionBackend, SessionDataError } from "../../src/index.ts";
import { reserved, type StoredSession } from "../../src/record.ts";
import { manualClock } from "../../src/testing/index.ts";
import { counted, keysOf } from "../support/backends.ts";
import { onNode } from "../support/runtime.ts";
import { insertRecord } from "../support/stored.ts";

/** FUZZ_RUNS sets the number of cases, FUZZ_SEED repeats a run. A failure is printed with its seed and path. */
const RUNS = Number(process.env["FUZZ_RUNS"] ?? (onNode ? 100_000 : 5000));
const SEED = process.env["FUZZ_SEED"];
const TIMEOUT_MS = 60_000 + RUNS;

async function fuzz<Ts extends [unknown, ...unknown[]]>(property: fc.IAsyncProperty<Ts>): Promise<void> {
  await fc.assert(property, { numRuns: RUNS, ...(SEED === undefined ? {} : { seed: Number(SEED) }) });
}

const ID = "AbCdEfGhIjKlMnOpQrStUv";
const SECRET = "0123456789-_abcdefghijklmnopqrstuvwxyzABCDE";

const schema = z.object({
  name: z.string(),
  note: z.string().optional(),
  level: z.enum(["low", "high"]).default("low"),
  views: z.number().int().default(0),
  ratio: z.number().nullable().optional(),
  flags: z.array(z.boolean()).optional(),
  profile: z.object({ email: z.string(), more: z.record(z.string(), z.number()).optional() }).optional(),
  /** A codec that throws on input that it cannot decode. */
  big: z.codec(z.string(), z.bigint(), { decode: BigInt, encode: String }).optional(),
  anything: z.any().optional(),
});
type Data = z.output<typeof schema>;
const NAMES = Object.keys(schema.shape);

const DAY_MS = 86_400_000;

function storeOn(backend: SessionBackend, now: () => number, plainIds = false) {
  return createSessionStore({ schema, backend, now, plainIds });
}
type Store = ReturnType<typeof storeOn>;

const methods: Readonly<Record<string, (store: Store, token: string) => Promise<unknown>>> = {
  get: (store, token) => store.get(token),
  peek: (store, token) => store.peek(token),
  update: (store, token) => store.update(token, { note: "new" }),
  "update by a function": (store, token) => store.update(token, () => ({ note: "new" })),
  increment: (store, token) => store.increment(token, "views"),
  take: (store, token) => store.take(token, "profile"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, 60),
  rotate: (store, token) => store.rotate(token),
  destroy: (store, token) => store.destroy(token),
};

// ------------------------------------------------------------------------------------------ tokens

const piece = fc.oneof(
  fc.constantFrom(
    ID,
    SECRET,
    ".",
    "",
    "=",
    "\n",
    "\0",
    " ",
    "%2E",
    "__proto__",
    "index:user:42",
    "*",
    "\ud800",
    "é",
    "A",
  ),
  fc.string({ maxLength: 3, unit: "binary" }),
  fc.stringMatching(/^[A-Za-z0-9_-]{0,66}$/),
);
/** A position in a token, more often at its ends and next to its dot. */
const place = fc.oneof(fc.constantFrom(0, 22, 23, 43, 66), fc.nat(66));
/** Strings similar to a token, and values that are not strings. */
const tokenLike = fc.oneof(
  { weight: 6, arbitrary: fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join("")) },
  { weight: 2, arbitrary: fc.constantFrom(`${ID}.${SECRET}`, SECRET) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(`${ID}.${SECRET}`, SECRET), place, piece, fc.constantFrom(0, 0, 1, 2))
      .map(([token, at, insert, cut]) => token.slice(0, at) + insert + token.slice(at + cut)),
  },
  { weight: 1, arbitrary: fc.anything() },
);
/** A second implementation of the token grammar. */
function isWord(text: string, length: number): boolean {
  return (
    text.length === length && [...text].every((character) => "-_".includes(character) || /^[0-9a-z]$/i.test(character))
  );
}
function isToken(token: unknown, plainIds: boolean): boolean {
  if (typeof token !== "string") return false;
  if (plainIds) return isWord(token, 43);
  const [id = "", secret = "", ...more] = token.split(".");
  return more.length === 0 && isWord(id, 22) && isWord(secret, 43);
}

test(
  "no method throws for any value given as a token, and a malformed token never reaches the backend",
  async () => {
    const { now } = manualClock();
    const { backend, calls } = counted(memoryBackend());
    const stores = [false, true].map((plainIds) => ({ plainIds, store: storeOn(backend, now, plainIds) }));
    const names = Object.keys(methods).filter((name) => name !== "rotate");
    await fuzz(
      fc.asyncProperty(tokenLike, fc.constantFrom(...names), async (token, name) => {
        for (const { plainIds, store } of stores) {
          calls.length = 0;
          expect(await methods[name]?.(store, token as string)).toBe(name === "destroy" ? false : null);
          expect(calls.length > 0, JSON.stringify(token)).toBe(isToken(token, plainIds));
          expect((plainIds ? plainTokens : secretTokens).read(token) !== null).toBe(isToken(token, plainIds));
        }
      }),
    );
    expect(await keysOf(backend)).toEqual([]);
  },
  TIMEOUT_MS,
);

// ------------------------------------------------------------------------------------------ stored records

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 12, unit: "binary" }) },
  { weight: 4, arbitrary: fc.json({ maxDepth: 3 }) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      "",
      "null",
      "true",
      "0",
      "-0",
      "1e400",
      "03",
      "[",
      '{"__proto__":{"a":1}}',
      '{"email":"a"}',
      '{"email":"a","email":1}',
      "2026-01-01T00:00:00.000Z",
      "1970-01-01",
      "low",
      "9007199254740993",
      `${"[".repeat(200)}${"]".repeat(200)}`,
    ),
  },
);
const times = fc.oneof(fc.constantFrom("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z", "yesterday", ""), text);
const numbers = fc.oneof(
  fc.constantFrom("1800", "0", "-1", "1.5", "1e3", "2147483647", "2147483648", "1767225600001", "1767312000000", " 60"),
  fc.nat().map(String),
  text,
);
/** Records that are mostly valid sessions. */
const plausible = fc.record(
  {
    [reserved.createdAt]: times,
    [reserved.lastAccessedAt]: times,
    [reserved.idleTimeout]: numbers,
    [reserved.deadline]: numbers,
    [reserved.authenticatedAt]: times,
    [reserved.previous]: text,
    [reserved.grace]: numbers,
    [reserved.index]: text,
    name: text,
    note: text,
    level: text,
    views: numbers,
    ratio: text,
    flags: text,
    profile: text,
    big: numbers,
    anything: text,
    constructor: text,
    unknown: text,
  },
  { requiredKeys: [reserved.createdAt, reserved.lastAccessedAt, reserved.idleTimeout] },
);
const records = fc.oneof(
  { weight: 5, arbitrary: plausible },
  {
    weight: 1,
    arbitrary: fc.dictionary(fc.oneof(fc.string(), fc.constantFrom(...Object.values(reserved), ...NAMES)), text),
  },
);

test(
  "for any stored record, every method returns a result or throws a SessionDataError, and leaves other fields unchanged",
  async () => {
    const { now } = manualClock();
    const { text: secret, verifier } = newSecret();
    const token = `${ID}.${secret}`;
    const access = { verifier: null, previous: true, now: now() };
    const look = { fields: null } as const;
    const backend = memoryBackend();
    const store = storeOn(backend, now);
    await fuzz(
      fc.asyncProperty(
        records,
        fc.constantFrom(...Object.keys(methods)),
        fc.boolean(),
        async (planted, name, keyed) => {
          await backend.remove(ID, access, { id: ID, cause: "destroyed" }, []);
          const stored = { ...planted, ...(keyed ? { [reserved.verifier]: verifier } : {}) } as StoredSession;
          await insertRecord(backend, ID, stored, now());
          const before = await backend.read(ID, access, look);
          let failed = false;
          const answer = await methods[name]?.(store, token).catch((error: unknown) => {
            expect(error).toBeInstanceOf(SessionDataError);
            expect((error as SessionDataError).origin).toBe("stored");
            failed = true;
            return null;
          });
          for await (const { id } of store.scan()) expect(id).toBe(ID);
          const after = await backend.read(ID, access, look);
          if (name === "destroy") {
            if (answer === true) expect(after).toBeNull();
            return;
          }
          if (typeof before !== "object" || before === null) {
            // A record that cannot be read stays.
            expect(answer).toBeNull();
            expect(after).toBe(before);
            return;
          }
          const created = Date.parse(before[reserved.createdAt] ?? "");
          if (after === null && created + 30 * DAY_MS <= now()) return;
          if (!keyed) {
            // A wrong secret changes nothing; the scan may have set the deadline.
            const deadline = (after as StoredSession)[reserved.deadline];
            const expected = deadline === undefined ? before : { ...before, [reserved.deadline]: deadline };
            expect([answer, after]).toEqual([null, expected]);
            return;
          }
          const kept = { ...(after as StoredSession) };
          for (const [field, was] of Object.entries(before)) {
            if (field === "note" && name.startsWith("update")) continue;
            if (field === "views" && name === "increment" && !failed) continue;
            if (field === "profile" && name === "take" && !failed) continue;
            if ([reserved.lastAccessedAt, reserved.idleTimeout].includes(field as never)) continue;
            // A session is moved to the index entries of its data, and gets the absolute timeout of the store.
            if ([reserved.index, reserved.absolute, reserved.deadline].includes(field as never)) continue;
            if (name === "rotate" && !failed && /^session_(verifier|previous|grace)$/.test(field)) continue;
            expect(kept[field], `${name}: ${field}`).toBe(was);
          }
          const reservedNames: readonly string[] = Object.values(reserved);
          const added = Object.keys(kept).filter(
            (field) => !Object.hasOwn(before, field) && !reservedNames.includes(field),
          );
          for (const field of added) expect(["note", "views"]).toContain(field);
        },
      ),
    );
  },
  TIMEOUT_MS,
);

// ------------------------------------------------------------------------------------------ data

const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }) },
  {
    weight: 2,
    arbitrary: fc.anything({
      maxDepth: 3,
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
      withObjectString: true,
      withBoxedValues: true,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      undefined,
      Number.NaN,
      -0,
      "\ud800",
      "a\0b",
      () => 1,
      Symbol("a"),
      new Error("a"),
    ),
  },
);
/** Mostly values that the field accepts. */
const mostly = (fitting: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 15, arbitrary: fitting }, { weight: 1, arbitrary: value });
const anyString = fc.string({ unit: "binary", maxLength: 20 });
const data = fc.record(
  {
    name: mostly(anyString),
    note: mostly(anyString),
    level: mostly(fc.constantFrom("low", "high")),
    views: mostly(fc.maxSafeInteger()),
    ratio: mostly(fc.double({ noNaN: true, noDefaultInfinity: true })),
    flags: mostly(fc.array(fc.boolean())),
    profile: mostly(
      fc.record({ email: anyString, more: fc.dictionary(fc.string(), fc.integer()) }, { requiredKeys: ["email"] }),
    ),
    big: mostly(fc.bigInt()),
    anything: fc.oneof(fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }), value),
  },
  { requiredKeys: ["name"] },
);
/** Data for create or update. No functions, as update would call them to get a patch. */
const given = fc.oneof(
  { weight: 8, arbitrary: data },
  { weight: 1, arbitrary: value.filter((one) => typeof one !== "function") },
);

/** The value after a JSON round trip: without `undefined`, minus zero and prototypes. */
function plain(one: unknown): unknown {
  if (Array.isArray(one)) return Array.from(one, plain);
  if (typeof one !== "object" || one === null) return Object.is(one, -0) ? 0 : one;
  const entries = Object.entries(one).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item)]));
}

test(
  "any data is either rejected before a backend call or stored and read back unchanged",
  async () => {
    const { now } = manualClock();
    const { backend, calls } = counted(memoryBackend());
    const store = storeOn(backend, now);
    let taken = 0;
    let refused = 0;
    await fuzz(
      fc.asyncProperty(given, fc.boolean(), async (from, patching) => {
        const first = patching ? await store.create({ name: "first" }) : null;
        calls.length = 0;
        try {
          const made = first ?? (await store.create(from as Data));
          if (first !== null) await store.update(first.token, from as Data);
          const found = (await store.get(made.token))?.data;
          const defaults = { level: "low", views: 0, ...(first === null ? {} : { name: "first" }) };
          expect(plain(found)).toStrictEqual({ ...defaults, ...(plain(from) as object) });
          const { big: _, ...json } = found ?? {};
          expect(JSON.parse(JSON.stringify(json))).toStrictEqual(plain(json));
          await store.destroy(made.token);
          taken++;
        } catch (error) {
          if (!(error instanceof SessionDataError)) throw error;
          expect(error.origin).toBe("given");
          expect(calls).toEqual([]);
          refused++;
        }
        if (first !== null) await store.destroy(first.token);
      }),
    );
    expect(await keysOf(backend)).toEqual([]);
    // Accepted and rejected data both occur often.
    expect(Math.min(taken, refused)).toBeGreaterThan(RUNS / 20);
  },
  TIMEOUT_MS,
);
