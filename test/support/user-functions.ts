import { describe, expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, type SessionBackend, SessionDataError, type SessionEvent } from "../../src/index.ts";
import { keysOf } from "./backends.ts";
import { idle } from "./gate.ts";
import { memberStore } from "./members.ts";
import type { PolicyPlace } from "./policies.ts";
import { unhandledRejections } from "./unhandled.ts";

const SECRET = "s3cret";
const rejected = (): Promise<never> => Promise.reject(new Error(SECRET));
const resolved = (): Promise<never> => Promise.resolve(true) as Promise<never>;

type Fails = () => never;
/** Schemas with a function that returns a promise, which zod's types allow or a cast hides. */
const schemas: Readonly<Record<string, (fails: () => Promise<never>) => z.ZodObject<{ name: z.ZodType<string> }>>> = {
  "a refinement": (fails) => z.object({ name: z.string().refine(() => fails()) }),
  "a refinement within a union": (fails) => z.object({ name: z.union([z.string().refine(() => fails())]) }),
  "a superRefine": (fails) => z.object({ name: z.string().superRefine(() => fails()) }),
  "a check": (fails) => z.object({ name: z.string().check(() => fails()) }),
  "a refinement of the whole object": (fails) => z.object({ name: z.string() }).refine(() => fails()),
  "a custom schema": (fails) => z.object({ name: z.custom<string>(() => fails()) }),
  "the decode of a codec": (fails) =>
    z.object({ name: z.codec(z.string(), z.string(), { decode: () => fails(), encode: (text) => text }) }),
  "the encode of a codec": (fails) =>
    z.object({ name: z.codec(z.string(), z.string(), { decode: (text) => text, encode: () => fails() }) }),
  "an overwrite": (fails) => z.object({ name: z.string().overwrite(fails as Fails) }),
};
const atCreation: typeof schemas = {
  "a default": (fails) => z.object({ name: z.string().default(fails as Fails) }),
  "a prefault": (fails) => z.object({ name: z.string().prefault(fails as Fails) }),
  "a catch": (fails) => z.object({ name: z.string().catch(fails as Fails) }),
};

const promises = { "is rejected": rejected, "is resolved": resolved };
const table = (from: typeof schemas) =>
  Object.entries(from).flatMap(([what, make]) =>
    Object.entries(promises).map(([how, promise]) => [what, how, make, promise] as const),
  );

/** Rules for functions of the application that return something else than they should, on every backend. */
export function userFunctions(open: () => PolicyPlace): void {
  const unhandled = unhandledRejections();

  /** Awaits the failure of the call, and that no promise stays unhandled. */
  async function failureOf(call: Promise<unknown>): Promise<unknown> {
    const error = await call.then(
      (value) => expect.fail(`The call returned ${JSON.stringify(value)}`),
      (thrown: unknown) => thrown,
    );
    await idle();
    expect(unhandled.splice(0)).toEqual([]);
    expect(String(error)).not.toContain(SECRET);
    return error;
  }

  async function storedIn(backend: SessionBackend, now: () => number, key: string): Promise<object> {
    const access = { verifier: null, previous: true, now: now() };
    return { ...((await backend.read(key, access, { fields: null })) as object) };
  }

  describe("a function of the schema that returns a promise", () => {
    test.each(table(schemas))("%s whose promise %s makes create fail, and nothing is stored", async (...given) => {
      const { backend, now } = open();
      const store = createSessionStore({ schema: given[2](given[3]), backend, now });
      const error = await failureOf(store.create({ name: "andrew" }));
      expect(error).toBeInstanceOf(SessionDataError);
      expect(error).toMatchObject({ origin: "given" });
      expect(await keysOf(backend)).toEqual([]);
    });

    test.each(table(schemas))("%s whose promise %s makes reads and updates fail", async (what, ...given) => {
      const { backend, now } = open();
      const before = createSessionStore({ schema: z.object({ name: z.string() }), backend, now });
      const { token, session } = await before.create({ name: "andrew" });
      const stored = await storedIn(backend, now, session.id);
      const store = createSessionStore({ schema: given[1](given[2]), backend, now });
      if (what !== "the encode of a codec") {
        expect(await failureOf(store.peek(token))).toMatchObject({ origin: "stored" });
        for await (const found of store.scan()) expect.fail(found.id);
      }
      await failureOf(store.update(token, () => ({ name: "barbara" })));
      await failureOf(store.update(token, { name: "barbara" }));
      expect(await storedIn(backend, now, session.id)).toEqual(stored);
    });

    test.each(table(atCreation))("%s whose promise %s is refused when the store is created", async (...given) => {
      const { backend } = open();
      const error = await failureOf((async () => createSessionStore({ schema: given[2](given[3]), backend }))());
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toMatchObject({ message: expect.stringContaining('"name" has') });
    });
  });

  describe("a promise in given data", () => {
    test("is reported without an unhandled rejection", async () => {
      const { backend, now } = open();
      const { store } = memberStore(backend, now);
      const error = await failureOf(store.create({ userId: rejected() as never }));
      expect(error).toBeInstanceOf(SessionDataError);
      expect(error).toMatchObject({ message: expect.stringContaining("userId: is a promise") });
    });
  });

  describe("an update function", () => {
    const functions: Readonly<Record<string, () => unknown>> = {
      "a rejected promise": rejected,
      "a resolved promise": () => Promise.resolve({ theme: "dark" }),
      "a thenable": () => ({
        // biome-ignore lint/suspicious/noThenProperty: The test needs a thenable.
        then: (_: unknown, reject: (error: Error) => void) => reject(new Error(SECRET)),
      }),
      null: () => null,
      undefined: () => undefined,
      "a string": () => SECRET,
    };

    test.each(Object.entries(functions))(
      "that returns %s makes the call fail, and nothing is written",
      async (_, by) => {
        const { backend, now } = open();
        const { store, events } = memberStore(backend, now);
        const { token, session } = await store.create({ userId: "andrew" });
        const stored = await storedIn(backend, now, session.id);
        const patch = by as () => object;
        for (const call of [
          () => store.update(token, patch),
          () => store.updateAll({ user: "andrew" }, patch),
          () => store.rotate(token, { patch }),
        ]) {
          const error = await failureOf(call());
          const isGiven = error instanceof SessionDataError && error.origin === "given";
          expect(isGiven || error instanceof TypeError, String(error)).toBe(true);
        }
        expect(await storedIn(backend, now, session.id)).toEqual(stored);
        expect(events.map(({ type }) => type)).toEqual(["created"]);
      },
    );
  });

  describe("an index function", () => {
    const functions: Readonly<Record<string, () => unknown>> = {
      "a rejected promise": rejected,
      "a resolved promise": resolved,
      "a list of promises": () => [rejected(), rejected()],
    };
    const schema = z.object({ name: z.string() });

    test.each(Object.entries(functions))("that returns %s makes create fail, and nothing is stored", async (_, by) => {
      const { backend, now } = open();
      const name = { from: "name", values: by as () => never } as const;
      const store = createSessionStore({ schema, backend, now, indexes: { name } });
      const error = await failureOf(store.create({ name: "andrew" }));
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toMatchObject({ message: expect.stringContaining("received a promise") });
      expect(await keysOf(backend)).toEqual([]);
    });

    test.each(Object.entries(functions))(
      "that returns %s is reported by get, which returns the session",
      async (...[, by]) => {
        const { backend, now } = open();
        const { token } = await createSessionStore({ schema, backend, now }).create({ name: "andrew" });
        const name = { from: "name", values: by as () => never } as const;
        const events: SessionEvent[] = [];
        const onEvent = (event: SessionEvent) => events.push(event);
        const store = createSessionStore({ schema, backend, now, indexes: { name }, onEvent });
        expect((await store.get(token))?.data).toEqual({ name: "andrew" });
        await failureOf(store.update(token, { name: "barbara" }));
        expect(events.map(({ type }) => type)).toEqual(["invalid"]);
        expect((await store.peek(token))?.data).toEqual({ name: "andrew" });
      },
    );
  });

  describe("a clock", () => {
    test.each(Object.entries(promises))("that returns a promise which %s is a TypeError", async (_, now) => {
      const { backend } = open();
      const { store } = memberStore(backend, now as () => never);
      expect(await failureOf(store.create({}))).toBeInstanceOf(TypeError);
      expect(await keysOf(backend)).toEqual([]);
    });
  });
}
