import type { SessionBackend } from "../../src/backend.ts";
import { idle } from "./gate.ts";

export type BackendMethod = keyof SessionBackend;

/** Wraps a backend so that `step` runs before each call. */
export function intercept(backend: SessionBackend, step: (method: BackendMethod) => unknown): SessionBackend {
  async function after<R>(method: BackendMethod, call: () => Promise<R>): Promise<R> {
    await step(method);
    return await call();
  }
  return {
    insert: (...args) => after("insert", () => backend.insert(...args)),
    read: (...args) => after("read", () => backend.read(...args)),
    touch: (...args) => after("touch", () => backend.touch(...args)),
    write: (...args) => after("write", () => backend.write(...args)),
    increment: (...args) => after("increment", () => backend.increment(...args)),
    remove: (...args) => after("remove", () => backend.remove(...args)),
    revoke: (...args) => after("revoke", () => backend.revoke(...args)),
    enter: (...args) => after("enter", () => backend.enter(...args)),
    extend: (...args) => after("extend", () => backend.extend(...args)),
    page: (...args) => after("page", () => backend.page(...args)),
    leave: (...args) => after("leave", () => backend.leave(...args)),
    shared: (...args) => after("shared", () => backend.shared(...args)),
    async *keys() {
      await step("keys");
      yield* backend.keys();
    },
  };
}

/** Wraps a backend and records the methods that are called. */
export function counted(backend: SessionBackend): {
  readonly backend: SessionBackend;
  readonly calls: BackendMethod[];
} {
  const calls: BackendMethod[] = [];
  return { backend: intercept(backend, (method) => calls.push(method)), calls };
}

/** Wraps a backend, to wait until no call is under way. A call that follows at once on another counts as well. */
export function followed(backend: SessionBackend): { readonly backend: SessionBackend; quiet(): Promise<void> } {
  let running = 0;
  const follow = (method: unknown): unknown =>
    typeof method === "function"
      ? (...args: unknown[]) => {
          const result = method(...args);
          if (!(result instanceof Promise)) return result;
          running++;
          const end = () => void running--;
          result.then(end, end);
          return result;
        }
      : method;
  return {
    backend: Object.fromEntries(
      Object.entries(backend).map(([name, method]) => [name, follow(method)]),
    ) as unknown as SessionBackend,
    async quiet() {
      do await idle();
      while (running > 0);
    },
  };
}

/** All keys that the backend currently has. */
export async function keysOf(backend: SessionBackend): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of backend.keys()) keys.push(...page);
  return keys;
}
