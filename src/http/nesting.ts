import { AsyncLocalStorage } from "node:async_hooks";

/** Where an exchange runs: inside other exchanges of this process, or in none. */
export interface Scope {
  /** Runs a handler, so that the exchanges that begin in it know that they are inside. */
  run<R>(handler: () => R): R;
  /** Lets lines of `Set-Cookie` pass the exchanges around this one. */
  issue(lines: readonly string[]): void;
  /** Whether an exchange inside this one issued exactly this line. */
  hasIssued(line: string): boolean;
}

const scopes = new AsyncLocalStorage<{ readonly issue: Scope["issue"] }>();

/** Begins a scope inside the one whose handler is running. */
export function nestedScope(): Scope {
  const outer = scopes.getStore();
  let inner: Set<string> | null = null;
  const here = {
    issue(lines: readonly string[]): void {
      inner ??= new Set();
      for (const line of lines) inner.add(line);
      outer?.issue(lines);
    },
  };
  return {
    run: (handler) => scopes.run(here, handler),
    issue: (lines) => outer?.issue(lines),
    hasIssued: (line) => inner?.has(line) ?? false,
  };
}
