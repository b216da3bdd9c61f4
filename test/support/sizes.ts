import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type SessionBackend, type SessionDataError } from "../../src/index.ts";
import { counted, keysOf } from "./backends.ts";
import { failureOf, plant, rawOf } from "./stored.ts";

const schema = z.object({
  userId: z.string().optional(),
  note: z.string().optional(),
  more: z.string().optional(),
  views: z.int().optional(),
  cart: z.array(z.string()).default([]),
});
const indexes = { user: "userId", product: { from: "cart", values: (cart: string[]) => cart } } as const;

/** Tests of the maximum size of a session, and of the maximum number of its index entries. */
export function sizes(prepare: () => SessionBackend): void {
  let backend: SessionBackend;
  beforeEach(() => {
    backend = prepare();
  });

  const makeStore = (options: { maxBytes?: number; maxIndexEntries?: number } = {}, own = backend) =>
    createSessionStore({ schema, indexes, backend: own, ...options });
  const values = (count: number): string[] => Array.from({ length: count }, () => crypto.randomUUID());

  describe("the maximum size of a session", () => {
    // The texts are "[]" of the cart, and the note. The names have 8 characters.
    const note = "x".repeat(90);
    const issues = [{ code: "too_many_bytes", path: [], message: "expected at most 100 bytes" }];

    async function expectRefused(call: () => Promise<unknown>, token?: string): Promise<void> {
      const before = token === undefined ? null : await rawOf(backend, token);
      const keys = await keysOf(backend);
      const error = await failureOf(call());
      expect(error).toMatchObject({ origin: "given", issues });
      expect(error.message).toMatch(/at most 100 bytes \(maxBytes\)/);
      expect(await keysOf(backend)).toHaveLength(keys.length);
      if (token !== undefined) expect(await rawOf(backend, token)).toEqual(before);
    }

    test("names and texts count in bytes, and create rejects one byte too many", async () => {
      const store = makeStore({ maxBytes: 100 });
      await store.create({ note });
      await expectRefused(() => store.create({ note: `${note}x` }));
      await store.create({ note: "é".repeat(45) });
      await expectRefused(() => store.create({ note: "é".repeat(46) }));
      await store.create({ note: "€".repeat(30) });
      await expectRefused(() => store.create({ note: "€".repeat(31) }));
    });

    test("every way to write rejects one byte too many, and writes nothing", async () => {
      const store = makeStore({ maxBytes: 100 });
      const userId = crypto.randomUUID();
      const { token } = await store.create({ userId, note: "x".repeat(42), more: "" });
      expect((await store.update(token, { more: "yy" }))?.data.more).toBe("yy");
      await expectRefused(() => store.update(token, { more: "yyy" }), token);
      await expectRefused(() => store.update(token, () => ({ more: "yyy" })), token);
      await expectRefused(() => store.update(token, { cart: [userId] }), token);
      await expectRefused(() => store.rotate(token, { patch: { more: "yyy" } }), token);
      await expectRefused(() => store.updateAll({ user: userId }, { more: "yyy" }), token);
      await expectRefused(() => store.increment(token, "views"), token);
      await store.update(token, { more: "yyyy", userId: undefined });
      expect((await store.get(token))?.data).toMatchObject({ more: "yyyy" });
    });

    test("an increment that makes the text longer rejects one byte too many", async () => {
      const store = makeStore({ maxBytes: 100 });
      const { token } = await store.create({ note: "x".repeat(84) });
      expect(await store.increment(token, "views", 8)).toBe(8);
      expect(await store.increment(token, "views")).toBe(9);
      await expectRefused(() => store.increment(token, "views"), token);
      expect(await store.increment(token, "views", -1)).toBe(8);
    });

    test("a patch that is too large by itself is not sent", async () => {
      const { backend: own, calls } = counted(backend);
      const store = makeStore({}, own);
      const { token } = await store.create({});
      calls.length = 0;
      await failureOf(store.update(token, { note: "x".repeat(66_000) }));
      await failureOf(store.create({ note: "x".repeat(66_000) }));
      expect(calls).toEqual([]);
    });

    test("a stored session above the maximum is rejected without being decoded, and can be ended", async () => {
      let decoded = 0;
      const text = z.codec(z.string(), z.string(), {
        decode: (wire) => {
          decoded++;
          return wire;
        },
        encode: (value) => value,
      });
      const store = createSessionStore({ schema: z.object({ note: text, flash: text.optional() }), backend });
      const { token } = await store.create({ note: "short" });
      await plant(backend, token, { note: "x".repeat(65_540) });
      decoded = 0;
      const stored: ((token: string) => Promise<unknown>)[] = [store.get, store.peek, (one) => store.rotate(one)];
      for (const call of stored) {
        const error: SessionDataError = await failureOf(call(token));
        expect(error.origin).toBe("stored");
        expect(error.message).toMatch(/at most 65536 bytes \(maxBytes\)/);
      }
      expect(decoded).toBe(0);
      expect((await rawOf(backend, token))["note"]).toHaveLength(65_540);
      expect(await store.destroy(token)).toBe(true);
    });
  });

  describe("the maximum number of index entries", () => {
    async function expectRefused(call: () => Promise<unknown>): Promise<void> {
      const error = await failureOf(call());
      const message = "expected at most 3 index entries";
      expect(error).toMatchObject({ origin: "given", issues: [{ code: "too_big", path: ["cart"], message }] });
      expect(error.message).toMatch(/at most 3 index entries \(maxIndexEntries\)/);
    }

    test("every way to write rejects one index entry too many, and enters no index", async () => {
      const { backend: own, calls } = counted(backend);
      const store = makeStore({ maxIndexEntries: 3 }, own);
      const userId = crypto.randomUUID();
      const cart = values(3);
      await expectRefused(() => store.create({ userId, cart }));
      const { token } = await store.create({ userId, cart: cart.slice(0, 2).flatMap((one) => [one, one]) });
      calls.length = 0;
      await expectRefused(() => store.update(token, { cart }));
      await expectRefused(() => store.update(token, () => ({ cart })));
      await expectRefused(() => store.rotate(token, { patch: { cart } }));
      await expectRefused(() => store.updateAll({ user: userId }, { cart }));
      expect(calls.filter((method) => method === "enter" || method === "write")).toEqual([]);
      expect((await store.update(token, { userId: undefined, cart }))?.data.cart).toEqual(cart);
    });

    test("a session has at most 64 index entries by default", async () => {
      const store = makeStore();
      await store.create({ cart: values(64) });
      expect(await failureOf(store.create({ cart: values(65) }))).toMatchObject({ origin: "given" });
    });
  });
}
