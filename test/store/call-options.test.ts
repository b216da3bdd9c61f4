import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend } from "../../src/index.ts";

const schema = z.object({ userId: z.string(), n: z.int().default(0), note: z.string().optional() });

async function scene() {
  const store = createSessionStore({ schema, backend: memoryBackend(), indexes: { user: "userId" } });
  const { token, session } = await store.create({ userId: "42", note: "hi" });
  return { store, token, session };
}
type Scene = Awaited<ReturnType<typeof scene>>;

/** Each method, with the options that it was called with. */
const CALLS: Readonly<Record<string, (scene: Scene, options: never) => Promise<unknown>>> = {
  create: ({ store }, options) => store.create({ userId: "43" }, options),
  get: ({ store, token }, options) => store.get(token, options),
  peek: ({ store, token }, options) => store.peek(token, options),
  find: ({ store, session }, options) => store.find(session.id, options),
  update: ({ store, token }, options) => store.update(token, { n: 7 }, options),
  increment: ({ store, token }, options) => store.increment(token, "n", 1, options),
  take: ({ store, token }, options) => store.take(token, "note", options),
  setIdleTimeout: ({ store, token }, options) => store.setIdleTimeout(token, 60, options),
  rotate: ({ store, token }, options) => store.rotate(token, options),
  destroy: ({ store, token }, options) => store.destroy(token, options),
  consume: ({ store, token }, options) => store.consume(token, options),
  revoke: ({ store, session }, options) => store.revoke(session.id, options),
  revokeAll: ({ store }, options) => store.revokeAll({ user: "42" }, options),
  updateAll: ({ store }, options) => store.updateAll({ user: "42" }, { n: 7 }, options),
  list: ({ store }, options) => store.list({ user: "42" }, options),
  count: ({ store }, options) => store.count({ user: "42" }, options),
  revokeEverybody: ({ store }, options) => store.revokeEverybody(options),
  reindex: ({ store }, options) => store.reindex(options),
  scan: ({ store }, options) => store.scan(options)[Symbol.asyncIterator]().next(),
};

test("these tests call every method of a store", async () => {
  const methods = Object.keys((await scene()).store).filter((name) => !name.startsWith("~"));
  expect(Object.keys(CALLS).toSorted()).toEqual(methods.toSorted());
});

describe.each(Object.entries(CALLS))("%s", (_method, call) => {
  test.each([
    ["an unknown option", { off: 1 }, /there is no option "off": the options are .*signal/],
    ["options that are no object", "42", /its options must be an object: received string/],
    ["a signal of another kind", { signal: {} }, /signal must be an AbortSignal: received object/],
    ["a controller in place of its signal", { signal: new AbortController() }, /signal must be an AbortSignal/],
  ])("with %s is a TypeError that says so, and changes nothing", async (_, options, message) => {
    const before = await scene();
    const { store, token, session } = before;
    const failure = call(before, options as never);
    await expect(failure).rejects.toThrow(TypeError);
    await expect(failure).rejects.toThrow(message);
    expect(await store.peek(token)).toEqual(session);
    expect(await store.count({ user: "42" })).toBe(1);
  });
});

describe("revoke", () => {
  test("with an of that is undefined is a TypeError, and ends nobody's session", async () => {
    const { store, token, session } = await scene();
    const options = { of: undefined } as never;
    await expect(store.revoke(session.id, options)).rejects.toThrow("as of is undefined");
    expect(await store.peek(token)).not.toBeNull();
  });
});

describe("revokeAll", () => {
  test.each<[string, (scene: Scene) => unknown, RegExp]>([
    ["an ID", ({ session }) => session.id, /except must be a session or null: received string without an ID/],
    ["a token", ({ token }) => token, /except must be a session or null: received string without an ID/],
    ["an issued session", ({ token, session }) => ({ token, session }), /received object without an ID/],
    ["a promise", ({ store, token }) => store.get(token), /received a promise: await it/],
    ["an object with a token as its ID", ({ token }) => ({ id: token }), /received object without an ID/],
  ])("with %s as except is a TypeError, and ends no session", async (_, exceptOf, message) => {
    const before = await scene();
    const failure = before.store.revokeAll({ user: "42" }, { except: exceptOf(before) as never });
    await expect(failure).rejects.toThrow(TypeError);
    await expect(failure).rejects.toThrow(message);
    expect(await before.store.peek(before.token)).not.toBeNull();
  });
});
