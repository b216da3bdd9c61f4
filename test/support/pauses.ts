import type { SessionBackend } from "../../src/backend.ts";
import { intercept } from "./backends.ts";
import { gate } from "./gate.ts";

/** Holds up an operation before one of its backend calls, counted from 0. */
export interface Hold {
  /** The backend that the operation must use. */
  readonly backend: SessionBackend;
  readonly reached: Promise<void>;
  /** The number of calls so far. */
  readonly calls: number;
  release(): void;
}

/** @param isCounted Whether calls count already. */
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

/** A point of an operation at which another one can run. */
export interface Pause {
  /** Describes the point in the message of a failed expectation. */
  readonly where: string;
  /** The backend that the operation must use. */
  readonly backend: SessionBackend;
  /**
   * Starts the operation, runs the other one when the first is held up or has settled, and then lets the first
   * continue. Calls before this are not held up.
   */
  around<R>(operation: () => Promise<R>, other: () => Promise<unknown>): Promise<R>;
}

/**
 * Plays a scene once for every backend call of an operation, with another operation before that call, and once with the
 * other operation at the end. Nothing reaches the backend between a reply and the next call, so these are all the orders
 * in which the other operation as a whole can come in between.
 *
 * @param open Returns the backend for one scene.
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
