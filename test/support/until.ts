const POLL_MS = 20;

/** Waits for a state that a server reaches by itself. */
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
