import { SessionBackendError, SessionRequiredError } from "../errors.ts";

/** The failure of a call that no code handles. */
export interface UnhandledFailure {
  readonly error: unknown;
}

/** The calls that one handler makes on its session, and those of their failures that no code handles. */
export interface PendingCalls {
  /**
   * Watches a call. If the call begins before the response is returned, the returned promise never causes an unhandled
   * rejection.
   *
   * @param changesToken Whether `settle` also waits for the call if it begins while `settle` is waiting.
   */
  watch<R>(call: Promise<R>, changesToken?: boolean): Promise<R>;
  /**
   * Waits for the calls in progress, but not for what the program does with their results. Never rejects.
   *
   * @returns The first failure that no code has handled, or `null`.
   */
  settle(): Promise<UnhandledFailure | null>;
  /** Marks the response as sent. Failures of later calls no longer affect it. */
  close(): void;
}

/** The number of microtasks to wait after a call, in which the program may begin the next one. */
const TURNS = 8;

/** A promise that knows whether some code handles its rejection, as `await`, `catch` and `Promise.all` do. */
class WatchedPromise<R> extends Promise<R> {
  static override readonly [Symbol.species] = Promise;
  changesToken = false;
  /** The promises that pass the rejection on: the results of `finally`, and of `then` without a second function. */
  private passed: WatchedPromise<unknown>[] | null = null;
  private isCaught = false;
  private isSilent = false;

  // biome-ignore lint/suspicious/noThenProperty: this is a promise.
  override then<A = R, B = never>(
    onFulfilled?: ((value: R) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    const next = super.then(onFulfilled, onRejected);
    if (typeof onRejected !== "function") return this.pass(next);
    this.isCaught = true;
    return next;
  }

  override finally(onSettled?: (() => void) | null): Promise<R> {
    const { isCaught } = this;
    const next = super.finally(onSettled);
    this.isCaught = isCaught;
    return this.pass(next);
  }

  private pass<N>(next: Promise<N>): Promise<N> {
    const passed = new WatchedPromise<N>((resolve, reject) => {
      next.then(resolve, reject);
    });
    this.passed ??= [];
    this.passed.push(passed);
    if (this.isSilent) passed.silence();
    return passed;
  }

  /** Whether a rejection reaches the end of some chain of promises without being handled. */
  isUnhandled(): boolean {
    return this.passed?.some((passed) => passed.isUnhandled()) ?? !this.isCaught;
  }

  /** Prevents an unhandled rejection of this promise and of those that pass the rejection on. */
  silence(): void {
    this.isSilent = true;
    settled(this);
    for (const passed of this.passed ?? []) passed.silence();
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
  let wasCalled = false;
  let isClosed = false;

  function watch<R>(call: Promise<R>, changesToken = false): Promise<R> {
    wasCalled = true;
    const isLate = isClosed;
    const watched = new WatchedPromise<R>((resolve, reject) => {
      call.then(
        (result) => {
          underWay.delete(watched);
          resolve(result);
        },
        (error: unknown) => {
          underWay.delete(watched);
          if (!isClosed) failures.push({ call: watched, error });
          // The store reports backend failures as events, and a missing session is no failure. Other late errors are bugs.
          const isExpected = error instanceof SessionBackendError || error instanceof SessionRequiredError;
          if (!isLate || isExpected) watched.silence();
          reject(error);
        },
      );
    });
    watched.changesToken = changesToken;
    underWay.add(watched);
    return watched;
  }

  async function settle(): Promise<UnhandledFailure | null> {
    if (!wasCalled) return null;
    for (let calls = [...underWay]; ; ) {
      if (calls.length > 0) await Promise.all(calls.map(settled));
      for (let turn = 0; turn < TURNS; turn++) await null;
      // A stream may begin a read whenever another one ends, so only calls that change the token are waited for.
      calls = [...underWay].filter((call) => call.changesToken);
      if (calls.length === 0) break;
    }
    const failure = failures.find(({ call }) => call.isUnhandled());
    return failure === undefined ? null : { error: failure.error };
  }

  return {
    watch,
    settle,
    close() {
      isClosed = true;
      failures.length = 0;
    },
  };
}
