/** Whether a value is a promise, or another object that `await` waits for. */
export function isPromise(value: unknown): boolean {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}

/** Ignores a promise, so that its rejection does not end the process as unhandled. */
export function ignore(promise: unknown): void {
  Promise.resolve(promise).catch(() => {});
}

/**
 * Calls a listener of the application. Its errors are ignored, because it only observes. It may be async, although its type
 * does not say so.
 */
export function tell<E>(listener: ((event: E) => void) | undefined, event: E): void {
  try {
    ignore(listener?.(event));
  } catch {
    // Thrown by the listener, or by the `then` of what it returned.
  }
}
