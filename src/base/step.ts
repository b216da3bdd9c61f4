import { clearTimeout, setTimeout } from "node:timers";
import { SessionBackendError } from "../errors.ts";

/** One call of the backend within an operation. A step that `"writes"` leaves the outcome open once it was sent. */
export type Step = <R>(effect: "reads" | "writes", call: () => Promise<R>) => Promise<R>;

/**
 * Runs an operation that settles within its time whatever the backend does: a stalled server neither answers nor fails.
 * After that no further step is sent, and a late answer is dropped. One operation goes on behind its caller's back: a
 * rotation whose new token reaches nobody is taken back.
 *
 * @param action What cannot be done, for the message.
 * @throws {SessionBackendError} `timeout`, or `aborted` by the signal.
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
    const abort = (): void => giveUp("aborted", "the caller's signal aborted");
    const timer = setTimeout(giveUp, milliseconds, "timeout", `the backend did not answer within ${milliseconds} ms`);
    timer.unref();
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const step: Step = (effect, call) => {
      if (over !== null) return Promise.reject(over);
      sent ||= effect === "writes";
      // An operation that waited for ever for its steps would hold up those that wait for their turn behind it.
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

/** A wait within an operation. @param keepsAlive Whether the process waits for it. */
export function pause(milliseconds: number, keepsAlive = true): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    if (!keepsAlive) timer.unref();
  });
}
