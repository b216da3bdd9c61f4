import { expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { intercept } from "./backends.ts";
import { activeTimers } from "./counted-timers.ts";
import { gate } from "./gate.ts";

const AT_ONCE = 50;

/** Counts the abort listeners of a signal. */
function listening(signal: AbortSignal): { readonly count: number } {
  const listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  Object.assign(signal, {
    addEventListener(...args: Parameters<typeof addEventListener>) {
      listeners.add(args[1]);
      addEventListener.apply(signal, args);
    },
    removeEventListener(...args: Parameters<typeof removeEventListener>) {
      listeners.delete(args[1]);
      removeEventListener.apply(signal, args);
    },
  });
  return {
    get count() {
      return listeners.size;
    },
  };
}

function storeOn(backend: SessionBackend) {
  const schema = z.object({
    userId: z.string(),
    views: z.int().default(0),
    flash: z.string().optional(),
  });
  return createSessionStore({ schema, backend, indexes: { user: "userId" } });
}
type Store = ReturnType<typeof storeOn>;

const operations: Readonly<Record<string, (store: Store, token: string, signal: AbortSignal) => Promise<unknown>>> = {
  create: (store, _, signal) => store.create({ userId: "43" }, { signal }),
  "create that replaces a session": (store, token, signal) =>
    store.create({ userId: "43" }, { replaces: token, signal }),
  get: (store, token, signal) => store.get(token, { signal }),
  peek: (store, token, signal) => store.peek(token, { signal }),
  update: (store, token, signal) => store.update(token, { views: 1 }, { signal }),
  "update with a function": (store, token, signal) => store.update(token, () => ({ views: 1 }), { signal }),
  increment: (store, token, signal) => store.increment(token, "views", 1, { signal }),
  take: (store, token, signal) => store.take(token, "flash", { signal }),
  setIdleTimeout: (store, token, signal) => store.setIdleTimeout(token, "1h", { signal }),
  rotate: (store, token, signal) => store.rotate(token, { grace: "30s", signal }),
  destroy: (store, token, signal) => store.destroy(token, { signal }),
  consume: (store, token, signal) => store.consume(token, { signal }),
  find: (store, token, signal) => store.find(token.slice(0, 22), { signal }),
  list: (store, _, signal) => store.list({ user: "42" }, { signal }),
  count: (store, _, signal) => store.count({ user: "42" }, { signal }),
  revoke: (store, token, signal) => store.revoke(token.slice(0, 22), { signal }),
  revokeAll: (store, _, signal) => store.revokeAll({ user: "none" }, { signal }),
  updateAll: (store, _, signal) => store.updateAll({ user: "42" }, { views: 1 }, { signal }),
};

/** Calls an operation many times with one signal, some at once. Returns the errors. */
async function callOften(store: Store, name: string, signal: AbortSignal, token: string, calls = 1000) {
  const act = operations[name] as (typeof operations)[string];
  const errors: unknown[] = [];
  for (let done = 0; done < calls; done += AT_ONCE) {
    const results = Array.from({ length: AT_ONCE }, () => act(store, token, signal));
    for (const result of await Promise.allSettled(results))
      if (result.status === "rejected") errors.push(result.reason);
  }
  return errors;
}

/**
 * What calls leave behind when they are over. The test file mocks `node:timers` with `countTimers`.
 *
 * @param often How often each operation but `get` is called.
 */
export function leaks(open: () => SessionBackend, often: number): void {
  test.each(Object.keys(operations))(
    "many calls of %s with one AbortSignal leave no abort listener and no timer behind",
    async (name) => {
      const store = storeOn(open());
      const { token } = await store.create({ userId: "42", flash: "hi" });
      const { signal } = new AbortController();
      const listeners = listening(signal);
      const before = activeTimers.size;
      expect(await callOften(store, name, signal, token, name === "get" ? 1000 : often)).toEqual([]);
      expect([listeners.count, activeTimers.size]).toEqual([0, before]);
    },
  );

  test("a thousand calls that fail with one AbortSignal leave no abort listener and no timer behind", async () => {
    const error = new SessionBackendError("It is down", { reason: "unavailable", outcome: "not-applied" });
    const store = storeOn(intercept(open(), () => Promise.reject(error)));
    const { signal } = new AbortController();
    const listeners = listening(signal);
    const before = activeTimers.size;
    const token = `${"a".repeat(22)}.${"a".repeat(43)}`;
    expect(await callOften(store, "get", signal, token)).toHaveLength(1000);
    expect([listeners.count, activeTimers.size]).toEqual([0, before]);
  });

  test("calls that an AbortSignal aborts leave no abort listener and no timer behind", async () => {
    const { passed, open: pass } = gate();
    const store = storeOn(intercept(open(), () => passed));
    const controller = new AbortController();
    const listeners = listening(controller.signal);
    const before = activeTimers.size;
    const token = `${"a".repeat(22)}.${"a".repeat(43)}`;
    const calls = Promise.allSettled(
      Array.from({ length: AT_ONCE }, () => store.get(token, { signal: controller.signal })),
    );
    expect([listeners.count, activeTimers.size - before]).toEqual([AT_ONCE, AT_ONCE]);
    controller.abort();
    await calls;
    expect(await callOften(store, "get", controller.signal, token)).toHaveLength(1000);
    expect([listeners.count, activeTimers.size]).toEqual([0, before]);
    pass();
  });
}
