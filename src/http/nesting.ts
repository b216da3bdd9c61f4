import { AsyncLocalStorage } from "node:async_hooks";

/** What an exchange knows of the exchanges of this process that run inside its handler. */
export interface Scope {
  /** The exchange whose handler began this one. */
  readonly outer: Scope | undefined;
  /** The lines of `Set-Cookie` that exchanges inside this one issued. */
  inner: Set<string> | null;
}

const scopes = new AsyncLocalStorage<Scope>();

/** Begins a scope inside the one whose handler is running. */
export function beginScope(): Scope {
  return { outer: scopes.getStore(), inner: null };
}

/** Runs a handler, so that the exchanges that begin in it know that they are inside the scope. */
export function runInside<R>(scope: Scope, handler: () => R): R {
  return scopes.run(scope, handler);
}

/** Lets lines of `Set-Cookie` that were issued in the scope pass the exchanges around it. */
export function issueFrom(scope: Scope, lines: readonly string[]): void {
  for (let { outer } = scope; outer !== undefined; outer = outer.outer) {
    outer.inner ??= new Set();
    for (const line of lines) outer.inner.add(line);
  }
}

/** Whether an exchange inside the scope issued exactly this line. */
export function wasIssuedInside(scope: Scope, line: string): boolean {
  return scope.inner?.has(line) ?? false;
}
