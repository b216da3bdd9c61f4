/**
 * Adds headers to a response. A handler may return the same `Response` or `Headers` object to several users, so headers
 * that identify a user are only ever set on a copy.
 *
 * @module
 */

import { isAscii, isUtf8 } from "node:buffer";
import { setTimeout } from "node:timers";
import { readAtOnce } from "./answer-body.ts";
import type { AnswerHeader } from "./cache-headers.ts";

type Changes = readonly AnswerHeader[];

interface ResponseClass {
  new (body?: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | string | null, init?: ResponseInit): Response;
}

/** The behavior of one class of responses, which differs between runtimes and servers. */
interface Kind {
  /** The `Response` class of the runtime. Some servers replace the global `Response` with a class of their own. */
  readonly Native: ResponseClass;
  /** Whether the objects are wrappers that create a native `Response` when needed, as in @hono/node-server and srvx. */
  readonly wraps: boolean;
  /** Whether the server detects that a body is text, which only a clone of the response preserves (Bun). */
  readonly clones: boolean;
}

/** Statuses whose responses have no body (Fetch standard, section 2.2.3). */
const NULL_BODY = [204, 205, 304];
const MAX_STATUS = 599;
const BAD_GATEWAY = 502;

/** Content encodings that `fetch` decodes in the body but still lists in the headers. */
const DECODED = /^(gzip|br)$/i;

/** A text with fewer bytes arrives as a single chunk. */
const SHORT_BYTES = 65_536;

/**
 * Returns the response with the changes applied: the same object if there are none, otherwise a copy that takes over
 * the body. Copying a wrapper of a native `Response` is expensive, so a wrapper is changed in place unless `Set-Cookie`
 * is added. The same object may be sent to other users, so only headers that do not identify a user may be changed in
 * place: `Vary` and `Cache-Control`.
 *
 * Only `fetch` returns a status over 599. Where the runtime cannot copy such a status, it becomes 502, because clients
 * treat it like a 5xx status (RFC 9110, section 15).
 *
 * @throws {TypeError} If the response cannot be copied: its body was used before, or a cookie has to be added to a
 * protocol upgrade or a network error. Without the headers the user would lose the session, or a shared cache could
 * store the response.
 */
export function withHeaders<Answer extends Response>(
  answer: Answer,
  changes: Changes,
): Answer | Response | Promise<Response> {
  const wasCopied = copied.has(answer);
  if (changes.length === 0 && !wasCopied) return answer;
  const { status } = answer;
  const setsCookie = changes.some(([name]) => name.toLowerCase() === "set-cookie");
  // No cache stores an upgrade or a network error.
  if (status < 200 && !setsCookie) return answer;
  const { Native, wraps, clones } = kindOf(answer);
  if (wraps && !setsCookie && !wasCopied) {
    try {
      changeInPlace(answer, changes);
      return answer;
    } catch {
      // The headers are immutable, like those of a fetched response.
    }
  }
  if (status < 200) {
    const what = status === 0 ? "it is a network error" : `its status cannot be copied: received ${status}`;
    throw new TypeError(`Cannot add headers to a response as ${what}`);
  }
  if (wraps) return unwrapped(answer, changes, answer.constructor as ResponseClass);
  if (answer.bodyUsed) throw usedBefore();
  return clones ? cloned(answer, changes) : copy(answer, changes, Native);
}

function usedBefore(): TypeError {
  return new TypeError(
    "Cannot add headers to a response as its body was used before: create a response for each request",
  );
}

function copy(answer: Response, changes: Changes, Native: ResponseClass): Response {
  const { body, headers, status, type } = answer;
  if (body?.locked) throw usedBefore();
  const isInvalid = status > MAX_STATUS;
  const made = new Native(body, {
    status: isInvalid ? BAD_GATEWAY : status,
    statusText: isInvalid ? "" : reasonOf(answer),
    headers,
  });
  apply(changes, made.headers);
  if (body !== null && type !== "default" && DECODED.test(headers.get("content-encoding") ?? "")) {
    apply([["content-encoding"], ["content-length"]], made.headers);
  }
  return made;
}

function apply(changes: Changes, headers: Headers): void {
  for (const [name, first, ...more] of changes) {
    if (first === undefined) headers.delete(name);
    else headers.set(name, first);
    for (const value of more) headers.append(name, value);
  }
}

function cloned(answer: Response, changes: Changes): Response | Promise<Response> {
  const clone = answer.clone();
  apply(changes, clone.headers);
  if (answer.body === null) return clone;
  if (!clone.headers.has("content-type")) return typed(clone, answer.body);
  // Without this, the source would not be cancelled when the client disconnects.
  answer.body.cancel().catch(() => {});
  return clone;
}

/** Adds the content type of a text that is not ASCII. Bun does not keep it in a clone. */
async function typed(clone: Response, body: ReadableStream<Uint8Array>): Promise<Response> {
  const isShortAscii = (chunk: Uint8Array) => chunk.length < SHORT_BYTES && isAscii(chunk);
  const bytes = await readAtOnce(body, null, isShortAscii);
  if (bytes !== null && isUtf8(bytes)) {
    // The type of a stream is empty.
    const { type } = await clone.clone().blob();
    if (type !== "") clone.headers.set("content-type", type);
  }
  return clone;
}

const inPlace = Symbol("changes");

/**
 * Changes the headers in place. If the handler shares its `Headers` object, the changes apply to all of its responses.
 */
function changeInPlace(answer: Response & { [inPlace]?: Changes }, changes: Changes): void {
  apply(changes, answer.headers);
  answer[inPlace] = changes;
  Object.defineProperty(answer, "body", again);
}

/** Applies the changes again when the body is read, because @hono/node-server 1 then forgets them. */
const again: PropertyDescriptor & ThisType<Response & { [inPlace]: Changes }> = {
  configurable: true,
  get() {
    const body = Reflect.get(Object.getPrototypeOf(this), "body", this);
    apply(this[inPlace], this.headers);
    return body;
  },
};

/** The body of a wrapper that was copied. */
interface Content {
  readonly type: string | null;
  /** The bytes of the body. `null` if there is no body, or if it is not complete yet. */
  readonly whole: Promise<Uint8Array<ArrayBuffer> | null>;
}

/**
 * The wrappers that were copied, with their bodies. A server can send a wrapper many times, but not after it was
 * cloned, so from then on each response that uses it is a copy.
 */
const copied = new WeakMap<Response, Content>();

/** Copies a wrapper. The server adds `Content-Length` to a text in a wrapper, so the copy gets this header too. */
async function unwrapped(answer: Response, changes: Changes, Wrapper: ResponseClass): Promise<Response> {
  // The order matters: @hono/node-server 1 forgets changed headers when the status text is read, and srvx forgets the
  // status text of a fetched response when it is cloned.
  const headers = new Headers(answer.headers);
  const { status } = answer;
  if (NULL_BODY.includes(status)) {
    apply(changes, headers);
    return new Wrapper(null, { status, headers });
  }
  const init = { status, statusText: reasonOf(answer), headers };
  const { type, whole } = copied.get(answer) ?? contentOf(answer);
  if (type !== null && !headers.has("content-type")) headers.set("content-type", type);
  apply(changes, headers);
  const bytes = await whole;
  if (bytes && !headers.has("content-length") && !headers.has("transfer-encoding")) {
    headers.set("content-length", String(bytes.length));
  }
  return new Wrapper(bytes ?? answer.body, init);
}

function contentOf(answer: Response): Content {
  const clone = answer.clone();
  // Reading a `Blob` needs a task; microtasks are not enough.
  const task = () => new Promise((resolve) => setTimeout(resolve, 0));
  const content = {
    type: clone.headers.get("content-type"),
    whole: clone.body === null ? Promise.resolve(null) : readAtOnce(clone.body, task),
  };
  copied.set(answer, content);
  return content;
}

/** Cancels a body that is not sent, but not that of a wrapper: the handler may return the same object again. */
export function discard(answer: Response): void {
  if (!kindOf(answer).wraps && answer.body?.locked === false) answer.body.cancel().catch(() => {});
}

/** Returns the status text of a fetched response without the characters that the constructor of `Response` rejects. */
function reasonOf({ statusText }: Response): string {
  return statusText.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, "");
}

const kinds = new WeakMap<object, Kind>();

function kindOf(answer: Response): Kind {
  const own: Response = Object.getPrototypeOf(answer);
  let kind = kinds.get(own);
  if (kind === undefined) {
    let native = own;
    for (let above = own; above !== null && above !== Object.prototype; above = Object.getPrototypeOf(above)) {
      native = above;
    }
    const Native = native.constructor as ResponseClass;
    kind = {
      Native,
      wraps: own !== native && !isNative(answer, native),
      clones: !new Native("").headers.has("content-type"),
    };
    kinds.set(own, kind);
  }
  return kind;
}

/** Whether the runtime's own class made the object. Its getters throw for any other object. */
function isNative(answer: Response, native: Response): boolean {
  try {
    return Reflect.get(native, "status", answer) !== undefined;
  } catch {
    return false;
  }
}
