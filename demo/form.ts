/** A request error with its status, a message for the client and headers. */
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
 * Reads the fields of a form. A request without a body has none.
 *
 * @throws {Refusal} 413 for more than 8192 bytes, 415 for another content type, 400 for invalid UTF-8.
 */
export async function readForm(request: Request): Promise<URLSearchParams> {
  const text = await readText(request);
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (text !== "" && type !== "application/x-www-form-urlencoded") {
    throw new Refusal(415, "The request body must be application/x-www-form-urlencoded.");
  }
  return new URLSearchParams(text);
}

/** Reads the body and counts its bytes, as Content-Length may be missing or wrong. */
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
    if (bytes <= MAX_BODY_BYTES) throw new Refusal(400, "The request body is incomplete or not valid UTF-8.");
  }
  if (bytes > MAX_BODY_BYTES) throw new Refusal(413, `The request body must be at most ${MAX_BODY_BYTES} bytes.`);
  return text;
}
