import { SessionBackendError } from "../../src/index.ts";

const POLL_MS = 20;

/** Waits until a server has reached a state. */
export async function until(
  what: string,
  reached: () => boolean | Promise<boolean>,
  milliseconds = 15_000,
): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (!(await reached())) {
    if (Date.now() > deadline) throw new Error(`After ${milliseconds} ms it is not so that ${what}`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** Repeats a call that was not applied: after a failover, connections come back one by one. */
export async function persevering<R>(act: () => Promise<R>): Promise<R> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof SessionBackendError && error.outcome === "not-applied")) throw error;
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }
}
