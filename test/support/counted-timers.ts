import type * as timers from "node:timers";

type Timers = Pick<typeof timers, "setTimeout" | "setInterval" | "clearTimeout" | "clearInterval">;

/** The timers of `src` that have neither fired nor been cleared, if a test file mocks `node:timers` with `countTimers`. */
export const activeTimers = new Set<unknown>();

/** Wraps the functions of `node:timers` so that `activeTimers` has their timers. */
export function countTimers<T extends Timers>(original: T): T {
  const setTimeout = (act: (...args: unknown[]) => void, ...rest: [number?, ...unknown[]]) => {
    const timer = original.setTimeout(
      (...args: unknown[]) => {
        activeTimers.delete(timer);
        act(...args);
      },
      ...rest,
    );
    activeTimers.add(timer);
    return timer;
  };
  const clearTimeout = (timer?: NodeJS.Timeout) => {
    activeTimers.delete(timer);
    original.clearTimeout(timer);
  };
  const setInterval = (act: () => void, milliseconds?: number) => {
    const timer = original.setInterval(act, milliseconds);
    activeTimers.add(timer);
    return timer;
  };
  return { ...original, setTimeout, clearTimeout, setInterval, clearInterval: clearTimeout, default: original };
}
