import { clearTimeout, setTimeout } from "node:timers";
import { SessionBackendError } from "../errors.ts";

/** Calls the backend as one step of an operation. After a step that `"writes"`, a timeout has an unknown outcome. */
export type Step = <R>(effect: "reads" | "writes", call: () => Promise<R>) => Promise<R>;

/**
 * Runs an operation with a timeout, because a stalled server neither replies nor fails. After the timeout no further step
 * is sent, and a late reply is ignored. Only a rotation whose new token nobody received is still undone in the background.
 *
 * @param action Completes "Cannot <action> as ..." in the error message.
 * @throws {SessionBackendError} With the reason `timeout`, or `aborted` if the signal aborts.
 */
export function withTimeout<R>(
  action: string,
  milliseconds: number,
  signal: AbortSignal | undefined,
  operation: (step: Step) => Promise<R>,
): Promise<R> {
  return new Promise<R>((resolve, reject) => {
    let sent = false;
    let over: SessionBackendError | null = null;
    const stops: ((over: SessionBackendError) => void)[] = [];

    const giveUp = (reason: "timeout" | "aborted", why: string): void => {
      over = new SessionBackendError(`Cannot ${action} as ${why}`, {
        reason,
        outcome: sent ? "unknown" : "not-applied",
        ...(reason === "aborted" ? { cause: signal?.reason } : {}),
      });
      end();
      reject(over);
      for (const stop of stops) stop(over);
    };
    const abort = (): void => giveUp("aborted", "its signal was aborted");
    const timer = setTimeout(() => {
      // Only an operation that waits for its turn has not called the backend yet.
      const late = `other calls that change the same session took more than ${milliseconds} ms`;
      giveUp("timeout", stops.length === 0 ? late : `the backend did not answer within ${milliseconds} ms`);
    }, milliseconds);
    timer.unref();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const step: Step = (effect, call) => {
      if (over !== null) return Promise.reject(over);
      sent ||= effect === "writes";
      // The step ends together with the operation, so that it does not block the operations that wait behind it.
      return new Promise((done, stop) => {
        stops.push(stop);
        call().then(done, stop);
      });
    };

    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) return abort();
    operation(step).then(resolve, reject).finally(end);
  });
}

/** Returns the error of a later step of an operation. An earlier step took effect, so the outcome is not `not-applied`. */
export function asUnknown(error: unknown): unknown {
  if (!(error instanceof SessionBackendError)) return error;
  const { message, reason, cause } = error;
  return new SessionBackendError(message, { reason, outcome: "unknown", cause });
}

/**
 * Resolves after a number of milliseconds.
 *
 * @param keepsAlive Whether the process waits for it.
 */
export function pause(milliseconds: number, keepsAlive = true): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    if (!keepsAlive) timer.unref();
  });
}
