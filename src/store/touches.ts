import type { Absence } from "../base/access.ts";
import { withTimeout } from "../base/step.ts";
import { SessionBackendError } from "../errors.ts";
import { idleSeconds, isFarFromEnd, reserved, type StoredSession, timeOf, withTouch } from "../record.ts";
import type { Extend } from "./extension.ts";
import type { Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";

/** Keeps sessions alive that are read. */
export interface Touches {
  /**
   * Whether the session was touched so recently that a read need not touch it. So a session ends early by a hundredth of its
   * idle timeout at most.
   */
  isRecent(record: StoredSession): boolean;
  /**
   * Reads a session, touches it if that is due, and lets its indexes live longer if that is due as well. The caller waits for
   * both only if half of the idle timeout or less is left: earlier, a touch that fails leaves enough time for the next one,
   * and is reported as an event.
   *
   * @param check Called with the record before a touch. If it throws, there is no touch.
   */
  readAndTouch(target: Target, check: (record: StoredSession) => void): Promise<StoredSession | null>;
}

export function createTouches(
  { backend, operationTimeoutMs, report, time, touchIntervalMs }: Settings,
  { accessTo, ask, read }: Storage,
  extended: Extend,
): Touches {
  /** The touches under way, by key and token hash. Concurrent reads of a session share one. */
  const running = new Map<string, Promise<StoredSession | Absence>>();

  const isRecent: Touches["isRecent"] = (record) => {
    // The backend's clock wrote the time, so that it may be in the future by the clock of this process.
    const age = Math.abs(time() - timeOf(record[reserved.lastAccessedAt]));
    return age < Math.min(touchIntervalMs, (idleSeconds(record) ?? 0) * 10);
  };

  /**
   * Touches a session, and extends its indexes if necessary. It has its own timeout, because the calls that share it may end
   * before it does.
   *
   * @param isAwaited Whether the caller handles its failure.
   */
  function touch(target: Target, record: StoredSession, isAwaited: boolean): Promise<StoredSession | Absence> {
    const name = `${target.key} ${target.verifier}`;
    const present = running.get(name);
    if (present !== undefined) return present;
    const touching = withTimeout("touch a session", operationTimeoutMs, undefined, async (step) => {
      const touched = await step("writes", () => backend.touch(target.key, accessTo(target)));
      if (touched === null || typeof touched === "string") return touched;
      return await extended(target, withTouch(touched, record));
    }).finally(() => running.delete(name));
    running.set(name, touching);
    touching.catch((error) => isAwaited || report(target.id, asFailure(error)));
    return touching;
  }

  return {
    isRecent,
    async readAndTouch(target, check) {
      const record = await read(target, isRecent);
      if (record === null || isRecent(record)) return record;
      check(record);
      if (isFarFromEnd(record, time())) {
        touch(target, record, false);
        return record;
      }
      try {
        const touched = await ask(target, "writes", () => touch(target, record, true));
        return touched && withTouch(touched, record);
      } catch (error) {
        if (!(error instanceof SessionBackendError && error.reason === "rejected")) throw error;
        // A server that rejects writes, for example when it is full, can still be read. Only the touch is lost.
        report(target.id, error);
        return record;
      }
    },
  };
}

/** Returns the error of a touch that nobody waits for. A defect of the backend is reported as well, as no caller gets it. */
function asFailure(cause: unknown): SessionBackendError {
  if (cause instanceof SessionBackendError) return cause;
  const options = { reason: "unavailable", outcome: "unknown", cause } as const;
  return new SessionBackendError("Cannot touch a session as the backend failed", options);
}
