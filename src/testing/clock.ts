/** Time as a test sees it. */
export interface Clock {
  /** Unix milliseconds. Needs no `this`: pass it as `now`. */
  readonly now: () => number;
  /** Moves on: a manual clock at once, a real one by waiting. */
  advance(milliseconds: number): void | Promise<void>;
}

/** A clock that stands still until it is moved, for tests on memory. Redis keeps its own time. */
export function manualClock(start: Date = new Date("2026-01-01T00:00:00Z")): Clock {
  let time = start.getTime();
  return {
    now: () => time,
    advance(milliseconds) {
      time += milliseconds;
    },
  };
}
