import { AsyncLocalStorage } from "node:async_hooks";

/** What an exchange knows of the exchanges of this process that run inside its handler. */
export interface Scope {
  /** The exchange whose handler began this one. */
  readonly outer: Scope | undefined;
  /** The lines of `Set-Cookie` that exchanges inside this one issued. */
  inner: Set<string> | null;
  /** Whether a handler inside used its session, so that the answer of this exchange may depend on it as well. */
  isUsedInside: boolean;
  /** Whether the exchange has ended. Handlers that still run inside it then no longer concern it. */
  isOver: boolean;
}

const scopes = new AsyncLocalStorage<Scope>();

/** Begins a scope inside the one whose handler is running. */
export function beginScope(): Scope {
  return { outer: scopes.getStore(), inner: null, isUsedInside: false, isOver: false };
}

/** Runs a handler, so that the exchanges that begin in it know that they are inside the scope. */
export function runInside<R>(scope: Scope, handler: () => R): R {
  return scopes.run(scope, handler);
}

/** Whether the running code belongs to a handler of this scope. */
export function isInside(scope: Scope): boolean {
  let here = scopes.getStore();
  while (here !== undefined && here !== scope) here = here.outer;
  return here === scope && !scope.isOver;
}

/** Lets lines of `Set-Cookie` that were issued in the scope pass the exchanges around it. */
export function issueFrom(scope: Scope, lines: readonly string[]): void {
  for (let { outer } = scope; outer !== undefined; outer = outer.outer) {
    if (outer.isOver) continue;
    outer.inner ??= new Set();
    for (const line of lines) outer.inner.add(line);
  }
}

/** Whether an exchange inside the scope issued exactly this line. */
export function wasIssuedInside(scope: Scope, line: string): boolean {
  return scope.inner?.has(line) ?? false;
}

/** Notes in the exchanges around the scope that a handler inside them used its session. */
export function noteUse(scope: Scope): void {
  for (let { outer } = scope; outer !== undefined; outer = outer.outer) outer.isUsedInside = true;
}

/** Ends a scope. The lines that it collected contain tokens, and code that it started may run for a long time. */
export function endScope(scope: Scope): void {
  scope.isOver = true;
  scope.inner = null;
}
