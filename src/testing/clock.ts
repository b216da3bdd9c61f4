import { type Duration, milliseconds } from "../base/durations.ts";

/** A clock for tests. */
export interface Clock {
  /** Returns the time in Unix milliseconds. Does not use `this`, so it can be passed as the option `now`. */
  readonly now: () => number;
  /** Advances the time: a manual clock immediately, a real clock by waiting. */
  advance(seconds: number): void | Promise<void>;
}

/** A clock that only moves when `advance` is called. */
export interface ManualClock extends Clock {
  /** Advances the time. A negative number of seconds sets it back. */
  advance(duration: Duration): void;
}

/**
 * Creates a clock that only moves when `advance` is called. Use it with the memory backend, because Redis uses its own
 * clock.
 *
 * @param start The initial time; default 2026-01-01.
 */
export function manualClock(start: Date = new Date("2026-01-01T00:00:00Z")): ManualClock {
  let time = start.getTime();
  return {
    now: () => time,
    advance(duration) {
      time += milliseconds("advance a clock", "the time", duration, Number.NEGATIVE_INFINITY);
    },
  };
}
