/**
 * Checks whether a response body is already complete (text, bytes) or still being produced (a stream), without waiting
 * for the rest of a stream.
 *
 * @module
 */

/** The maximum size of a body that is read into memory. A longer one is passed on as a stream. */
const MAX_BYTES = 1_048_576;
/** The number of microtasks to wait for a complete body. */
const MAX_TURNS = 64;

/**
 * Returns the bytes of a body that is complete within a few microtasks and the `task` after them. Returns `null` and
 * cancels the body if it takes longer, if it is too long, or if `enough` returns true for one of its chunks.
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
    // In Bun, the chunks of a stream may also be strings.
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
