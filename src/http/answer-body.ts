/**
 * Finds out, without waiting, whether a body is already complete (text, bytes) or still being produced (a stream).
 *
 * @module
 */

/** A longer body is passed on as a stream. */
const MAX_BYTES = 1_048_576;
/** Microtasks that reading a complete body may take. */
const MAX_TURNS = 64;

/**
 * Reads a body that is complete within a few microtasks and the `task` after them. Cancels any other, or one with a chunk
 * that is `enough` to know, and returns `null`.
 */
export async function readAtOnce(
  body: ReadableStream<Uint8Array>,
  task: (() => Promise<unknown>) | null,
  enough: (chunk: Uint8Array) => boolean = () => false,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const reader = body.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (let turns = MAX_TURNS; ; ) {
    const read: { result?: Awaited<ReturnType<typeof reader.read>> | null } = {};
    reader.read().then(
      (result) => {
        read.result = result;
      },
      () => {
        read.result = null;
      },
    );
    while (read.result === undefined && turns-- > 0) await (turns === 0 && task ? task() : null);
    const { result } = read;
    if (result?.done) return joined(chunks);
    // Bun also sends streams of strings.
    if (!(result?.value instanceof Uint8Array) || enough(result.value)) break;
    bytes += result.value.length;
    if (bytes > MAX_BYTES) break;
    chunks.push(result.value as Uint8Array<ArrayBuffer>);
  }
  reader.cancel().catch(() => {});
  return null;
}

function joined(chunks: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) return only;
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
