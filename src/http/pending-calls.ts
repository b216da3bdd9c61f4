import { SessionBackendError } from "../errors.ts";

/** The failure of a call that no code handles. */
export interface UnhandledFailure {
  readonly error: unknown;
}

/** The calls that one request makes on its session, and those of their failures that no code handles. */
export interface PendingCalls {
  /**
   * Watches a call. If it begins before the answer is given, the returned promise never causes an unhandled rejection.
   *
   * @param changesToken Whether the answer waits for the call even if it begins while others are waited for.
   */
  watch<R>(call: Promise<R>, changesToken?: boolean): Promise<R>;
  /**
   * Waits for the calls that are under way. Never rejects.
   *
   * @returns The first failure that no code has handled so far, or `null`; at once if no call was ever made.
   */
  settle(): Promise<UnhandledFailure | null> | null;
  /** Marks the response as sent. Failures of later calls no longer affect it. */
  close(): void;
}

/** A promise that knows whether some code handles its rejection, as `await`, `catch` and `Promise.all` do. */
class WatchedPromise<R> extends Promise<R> {
  static override readonly [Symbol.species] = Promise;
  isHandled = false;
  changesToken = false;
  follow: PendingCalls["watch"] = (call) => call;

  // biome-ignore lint/suspicious/noThenProperty: this is a promise.
  override then<A = R, B = never>(
    onFulfilled?: ((value: R) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.isHandled = true;
    const next = super.then(onFulfilled, onRejected);
    // Without a second function the failure goes on to the next promise, and so does the duty to handle it.
    return typeof onRejected === "function" ? next : this.follow(next);
  }

  override finally(onSettled?: (() => void) | null): Promise<R> {
    return this.follow(super.finally(onSettled));
  }
}

/** Waits for a promise without counting as code that handles its rejection. */
function settled(promise: WatchedPromise<unknown>): Promise<void> {
  return Promise.prototype.then.call(promise, nothing, nothing) as Promise<void>;
}

function nothing(): void {}

export function pendingCalls(): PendingCalls {
  const underWay = new Set<WatchedPromise<unknown>>();
  const failures: { readonly call: WatchedPromise<unknown>; readonly error: unknown }[] = [];
  let isClosed = false;

  function watch<R>(call: Promise<R>, changesToken = false): Promise<R> {
    const isLate = isClosed;
    const watched = new WatchedPromise<R>((resolve, reject) => {
      call.then(
        (result) => {
          underWay.delete(watched);
          resolve(result);
        },
        (error: unknown) => {
          underWay.delete(watched);
          failures.push({ call: watched, error });
          // The store reports what the backend fails at. Another late error is a mistake of the program.
          if (!isLate || error instanceof SessionBackendError) settled(watched);
          reject(error);
        },
      );
    });
    watched.follow = watch;
    watched.changesToken = changesToken;
    underWay.add(watched);
    return watched;
  }

  async function settle(): Promise<UnhandledFailure | null> {
    // Only the first round waits for reads and writes of data: a stream may begin one whenever another one ends.
    for (let calls = [...underWay]; calls.length > 0; calls = [...underWay].filter((call) => call.changesToken)) {
      await Promise.all(calls.map(settled));
    }
    return failures.find(({ call }) => !call.isHandled) ?? null;
  }

  return {
    watch,
    settle: () => (underWay.size === 0 && failures.length === 0 ? null : settle()),
    close() {
      isClosed = true;
    },
  };
}
