/** A request that is refused, with what its sender is told. */
export class Refusal extends Error {
  override readonly name = "Refusal" as const;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const MAX_BODY_BYTES = 8192;

/**
 * The fields of a form, of which there may be none.
 *
 * @throws {Refusal} 413, 415 or 400.
 */
export async function readForm(request: Request): Promise<URLSearchParams> {
  const text = await readText(request);
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (text !== "" && type !== "application/x-www-form-urlencoded") {
    throw new Refusal(415, "The body must be application/x-www-form-urlencoded.");
  }
  return new URLSearchParams(text);
}

/** Counts what arrives: Content-Length may be missing, and says nothing certain. */
async function readText(request: Request): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let bytes = 0;
  let text = "";
  try {
    for await (const chunk of request.body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > MAX_BODY_BYTES) break;
      text += decoder.decode(chunk, { stream: true });
    }
    text += decoder.decode();
  } catch {
    if (bytes <= MAX_BODY_BYTES) throw new Refusal(400, "The body cannot be read.");
  }
  if (bytes > MAX_BODY_BYTES) throw new Refusal(413, "The body is too large.");
  return text;
}
