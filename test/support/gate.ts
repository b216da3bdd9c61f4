/** Holds up whoever awaits `passed` until it is opened or broken. */
export interface Gate {
  readonly passed: Promise<void>;
  open(): void;
  fail(error: Error): void;
}

export function gate(): Gate {
  let open = (): void => {};
  let fail = (_error: Error): void => {};
  const passed = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { passed, open, fail };
}

/** For what must not answer. */
export function never(): Promise<never> {
  return new Promise(() => {});
}

/** Lets everything run that is ready to. */
export function idle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
}
