/** The parts of node:timers that the sources use, so that they can be checked without a runtime's types. */
export interface Timer {
  unref(): void;
}
export declare function setTimeout<A extends unknown[]>(run: (...args: A) => void, ms: number, ...args: A): Timer;
export declare function clearTimeout(timer: Timer): void;
export declare function setImmediate(run: () => void): unknown;
