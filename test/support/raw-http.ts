import { connect } from "node:net";

/** What a client receives, byte for byte but for the way in which the body was cut into pieces. */
export interface RawAnswer {
  readonly status: string;
  /** Names in lower case, in the order of arrival. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly framing: "length" | "chunked" | "close";
  /** One character for each byte. */
  readonly body: string;
}

/** The bytes of a connection that was closed without a complete answer. */
export class IncompleteAnswer extends Error {}

const LIMIT_MS = 1_500;

export function requestText(method: string, path: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ host: "127.0.0.1", connection: "close", ...headers });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** One request on a connection of its own. */
export async function rawRequest(
  port: number,
  method: string,
  path: string,
  headers?: Readonly<Record<string, string>>,
): Promise<RawAnswer> {
  const text = await new Promise<string>((resolve, reject) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(requestText(method, path, headers)));
    const timer = setTimeout(() => socket.destroy(), LIMIT_MS);
    socket.setEncoding("latin1");
    socket.on("data", (piece) => {
      received += piece;
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(received);
    });
  });
  return parsed(text, method);
}

function parsed(text: string, method: string): RawAnswer {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) throw new IncompleteAnswer(`The connection was closed after ${JSON.stringify(text)}`);
  const [status = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  const rest = text.slice(end + 4);
  const field = (name: string): string | undefined => headers.find(([one]) => one === name)?.[1];
  const length = field("content-length");
  const chunked = field("transfer-encoding") === "chunked";
  const framing = chunked ? "chunked" : length === undefined ? "close" : "length";
  const empty = method === "HEAD" || / (204|304)( |$)/.test(status);
  if (framing === "length" && rest.length !== (empty ? 0 : Number(length))) {
    throw new IncompleteAnswer(`A body of ${length} bytes arrived with ${rest.length}`);
  }
  return { status, headers, framing, body: chunked && !empty ? unchunked(rest) : rest };
}

function unchunked(text: string): string {
  let body = "";
  for (let at = 0; ; ) {
    const line = text.indexOf("\r\n", at);
    const size = Number.parseInt(text.slice(at, line), 16);
    if (line === -1 || Number.isNaN(size)) throw new IncompleteAnswer("A chunked body has no end");
    if (size === 0) return body;
    body += text.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
}
