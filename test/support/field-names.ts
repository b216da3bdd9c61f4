import { expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type SessionBackend } from "../../src/index.ts";

/** TypeScript confuses these fields with the inherited properties, so the types do not name them. */
type Shape<Field extends z.ZodType> = Record<string, z.ZodOptional<Field>>;

/** Tests of fields whose names are properties of every object. */
export function inheritedFieldNames(backend: SessionBackend): void {
  test("an absent field named like a property of every object has no index values", async () => {
    const store = createSessionStore({
      schema: z.object({ constructor: z.string().optional(), valueOf: z.string().optional() } as Shape<z.ZodString>),
      backend,
      indexes: { kind: "constructor", value: { from: "valueOf", values: (value) => value?.split(" ") } },
    });
    const kind = crypto.randomUUID();
    const { token } = await store.create({});
    expect(await store.count({ kind })).toBe(0);
    await store.update(token, { constructor: kind, valueOf: `${kind} b` });
    expect(await store.count({ kind })).toBe(1);
    expect(await store.count({ value: kind })).toBe(1);
    expect(await store.take(token, "constructor")).toBe(kind);
    expect(await store.count({ kind })).toBe(0);
    expect((await store.get(token))?.data).toEqual({ valueOf: `${kind} b` });
  });

  test("an absent number field named like a property of every object counts from 0", async () => {
    const shape = { valueOf: z.int().optional(), toString: z.int().optional() } as Shape<z.ZodInt>;
    const plain = createSessionStore({ schema: z.object(shape), backend });
    const refined = createSessionStore({ schema: z.object(shape).refine(() => true), backend });
    for (const store of [plain, refined]) {
      const { token } = await store.create({});
      expect(await store.increment(token, "valueOf")).toBe(1);
      expect(await store.increment(token, "toString", 2)).toBe(2);
      expect(await store.take(token, "valueOf")).toBe(1);
      expect(await store.increment(token, "valueOf")).toBe(1);
    }
  });
}
