/**
 * Calls a listener of the application. Its errors are ignored, because it only observes. It may be async, although its type
 * does not say so.
 */
export function tell<E>(listener: ((event: E) => void) | undefined, event: E): void {
  try {
    Promise.resolve(listener?.(event)).catch(() => {});
  } catch {
    // Thrown by the listener, or by the `then` of what it returned.
  }
}
