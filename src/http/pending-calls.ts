import { SessionBackendError } from "../errors.ts";

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
   * @returns The first failure that no code has handled so far, or `null`.
   */
  settle(): Promise<{ readonly error: unknown } | null>;
  /** Says that the answer is given: the failure of a call that begins later can no longer change it. */
  close(): void;
}

/** A promise that knows whether somebody handles its rejection, as `await`, `catch` and `Promise.all` do. */
class WatchedPromise<R> extends Promise<R> {
  static override readonly [Symbol.species] = Promise;
  isHandled = false;
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

export function pendingCalls(): PendingCalls {
  const underWay = new Set<{ readonly changesToken: boolean; readonly ended: Promise<unknown> }>();
  const failures: { readonly call: WatchedPromise<unknown>; readonly error: unknown }[] = [];
  let isClosed = false;

  function watch<R>(call: Promise<R>, changesToken = false): Promise<R> {
    const watched = new WatchedPromise<R>((resolve, reject) => {
      call.then(resolve, reject);
    });
    watched.follow = watch;
    const isLate = isClosed;
    const end = (): void => {
      underWay.delete(entry);
    };
    const fail = (error: unknown): void => {
      end();
      failures.push({ call: watched, error });
      // The store reports what the backend fails at. Another error that no code handles is a mistake of the program.
      if (isLate && !watched.isHandled && !(error instanceof SessionBackendError)) throw error;
    };
    const entry = { changesToken, ended: Promise.prototype.then.call(watched, end, fail) };
    underWay.add(entry);
    return watched;
  }

  return {
    watch,
    async settle() {
      // Only the first round waits for reads and writes of data: a stream may begin one whenever another one ends.
      for (let calls = [...underWay]; calls.length > 0; calls = [...underWay].filter((call) => call.changesToken)) {
        await Promise.allSettled(calls.map(({ ended }) => ended));
      }
      return failures.find(({ call }) => !call.isHandled) ?? null;
    },
    close() {
      isClosed = true;
    },
  };
}
