import type { SessionBackend } from "../../src/backend.ts";
import { intercept } from "./backends.ts";
import { gate } from "./gate.ts";

/** Holds up an operation before one of its calls of a backend, counted from 0. */
export interface Hold {
  /** The backend that the operation has to use. */
  readonly backend: SessionBackend;
  readonly reached: Promise<void>;
  /** How many calls there were. */
  readonly calls: number;
  release(): void;
}

/** @param isCounted Is it the operation's turn by now? */
export function hold(backend: SessionBackend, at: number, isCounted = (): boolean => true): Hold {
  const reached = gate();
  const going = gate();
  let calls = 0;
  return {
    backend: intercept(backend, async () => {
      if (!isCounted() || calls++ !== at) return;
      reached.open();
      await going.passed;
    }),
    reached: reached.passed,
    get calls() {
      return calls;
    },
    release: going.open,
  };
}

/** One of the places at which something else can come in between. */
export interface Pause {
  /** For what a failed expectation says. */
  readonly where: string;
  /** The backend that the operation has to use. */
  readonly backend: SessionBackend;
  /**
   * Starts the operation, does the other thing once the operation is held up or has ended, and then lets it go on. What
   * is done before this is not held up.
   */
  around<R>(operation: () => Promise<R>, other: () => Promise<unknown>): Promise<R>;
}

/**
 * Plays a scene once for every call that an operation makes, held up before it, and once more with the other thing after
 * the operation. Between a reply and the next call nothing is told to the backend, so that these are all the orders in
 * which something as a whole can come in between.
 *
 * @param open Gives the backend of one scene.
 */
export async function atEveryCall<B extends { readonly backend: SessionBackend }>(
  open: () => B | Promise<B>,
  scene: (ground: B, pause: Pause) => Promise<void>,
): Promise<void> {
  for (let at = 0, isOver = false; !isOver; at++) {
    const ground = await open();
    let isStarted = false;
    const held = hold(ground.backend, at, () => isStarted);
    await scene(ground, {
      where: `held up before call ${at}`,
      backend: held.backend,
      async around(operation, other) {
        isStarted = true;
        const result = operation();
        try {
          await Promise.race([held.reached, result]);
          await other();
        } finally {
          held.release();
        }
        return await result;
      },
    });
    isOver = held.calls <= at;
  }
}
