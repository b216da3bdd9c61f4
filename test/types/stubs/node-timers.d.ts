/** What the sources use of node:timers, so that they can be checked without a runtime's types. */
export interface Timer {
  unref(): void;
}
export declare function setTimeout<A extends unknown[]>(run: (...args: A) => void, ms: number, ...args: A): Timer;
export declare function clearTimeout(timer: Timer): void;
