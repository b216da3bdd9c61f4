import { AsyncLocalStorage } from "node:async_hooks";
import { sharedState } from "../base/shared-state.ts";

/** The state that an exchange shares with the exchanges that run inside its handler in this process. */
export interface Scope {
  /** The scope of the exchange whose handler began this one. */
  readonly outer: Scope | undefined;
  /** The `Set-Cookie` lines that exchanges inside this one issued. */
  inner: Set<string> | null;
  /**
   * Whether a handler inside used its session. The response of this exchange may then depend on that session as well.
   */
  isUsedInside: boolean;
  /** Whether the exchange has ended. Handlers that still run inside it no longer affect it. */
  isOver: boolean;
}

const scopes = sharedState("scopes", () => new AsyncLocalStorage<Scope>());

/** Begins a scope inside the one whose handler is running. */
export function beginScope(): Scope {
  return { outer: scopes.getStore(), inner: null, isUsedInside: false, isOver: false };
}

/** Runs a handler in the scope. Exchanges that begin in the handler are inside the scope. */
export function runInside<R>(scope: Scope, handler: () => R): R {
  return scopes.run(scope, handler);
}

/** Whether the running code belongs to a handler of this scope. */
export function isInside(scope: Scope): boolean {
  let here = scopes.getStore();
  while (here !== undefined && here !== scope) here = here.outer;
  return here === scope && !scope.isOver;
}

/** Allows `Set-Cookie` lines that were issued in the scope in the responses of the exchanges around it. */
export function issueFrom(scope: Scope, lines: readonly string[]): void {
  for (let { outer } = scope; outer !== undefined; outer = outer.outer) {
    if (outer.isOver) continue;
    outer.inner ??= new Set();
    for (const line of lines) outer.inner.add(line);
  }
}

/** Whether an exchange inside the scope issued exactly this `Set-Cookie` line. */
export function wasIssuedInside(scope: Scope, line: string): boolean {
  return scope.inner?.has(line) ?? false;
}

/** Records in the exchanges around the scope that a handler inside them used its session. */
export function noteUse(scope: Scope): void {
  for (let { outer } = scope; outer !== undefined; outer = outer.outer) outer.isUsedInside = true;
}

/**
 * Ends a scope and drops the lines that it collected: they contain tokens, and code that the handler started may keep
 * the scope in memory for a long time.
 */
export function endScope(scope: Scope): void {
  scope.isOver = true;
  scope.inner = null;
}
