/**
 * Adds headers to an answer. A handler may return the same `Response` or `Headers` object to several users. So headers that
 * identify a user are only ever set on a copy.
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

/** How the answers of one class behave, which differs between runtimes and servers. */
interface Kind {
  /** The class of the runtime. Behind some servers, the global `Response` is another one. */
  readonly Native: ResponseClass;
  /** Whether the objects are wrappers that create a native `Response` when needed, as in @hono/node-server and srvx. */
  readonly wraps: boolean;
  /** Whether only a clone still knows that its body is a text, so that the server sends the right type (Bun). */
  readonly clones: boolean;
}

/** Statuses whose responses have no body (Fetch standard, section 2.2.3). */
const NULL_BODY = [204, 205, 304];
const MAX_STATUS = 599;
const BAD_GATEWAY = 502;

/** Codings that `fetch` removes from the body but not from the headers. */
const DECODED = /^(gzip|br)$/i;

/** A text of fewer bytes comes in one chunk. */
const SHORT_BYTES = 65_536;

/**
 * Returns the answer with the changes applied: the given object if there are none, otherwise a copy that takes over the
 * body. A wrapper of a native `Response` is changed in place, because copying it is expensive, unless a `Set-Cookie` is to be
 * added. As the same object may be sent to other users, only headers that do not identify a user may be changed this way:
 * `Vary` and `Cache-Control`.
 *
 * A status over 599, which only `fetch` gives, becomes 502 where the runtime cannot copy it: clients treat such a status as a
 * 5xx one (RFC 9110, section 15).
 *
 * @throws {TypeError} If the answer cannot be copied: its body was used before, or a cookie is to be set on a protocol
 * upgrade or a network error. Sent without these headers, the response would lose the session, or a shared cache could store
 * the response.
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
      // Immutable, as the headers of a fetched answer are.
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
  // Otherwise the source would not be cancelled when the client leaves.
  answer.body.cancel().catch(() => {});
  return clone;
}

/** A clone no longer knows that its body is a text if that is not ASCII, so the header says it instead. */
async function typed(clone: Response, body: ReadableStream<Uint8Array>): Promise<Response> {
  const isShortAscii = (chunk: Uint8Array) => chunk.length < SHORT_BYTES && isAscii(chunk);
  const bytes = await readAtOnce(body, null, isShortAscii);
  if (bytes !== null && isUtf8(bytes)) {
    // Empty for a stream.
    const { type } = await clone.clone().blob();
    if (type !== "") clone.headers.set("content-type", type);
  }
  return clone;
}

const inPlace = Symbol("changes");

/** May change a `Headers` object that the handler shares between answers. The changes then apply to all of them. */
function changeInPlace(answer: Response & { [inPlace]?: Changes }, changes: Changes): void {
  apply(changes, answer.headers);
  answer[inPlace] = changes;
  Object.defineProperty(answer, "body", again);
}

/** @hono/node-server 1 forgets changed headers when the body is read, as by `new Response(answer.body, answer)`. */
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
  /** `null` without a body, and for a body that is not complete yet. */
  readonly whole: Promise<Uint8Array<ArrayBuffer> | null>;
}

/**
 * The wrappers that were copied. Their servers can send one object many times until it is cloned: from then on, every
 * answer with the same object is a copy.
 */
const copied = new WeakMap<Response, Content>();

/** The server knows the length of a text in a wrapper, so a copy gets it as well. */
async function unwrapped(answer: Response, changes: Changes, Wrapper: ResponseClass): Promise<Response> {
  // In this order: @hono/node-server 1 forgets changed headers when the reason is read, and srvx the reason of a fetched
  // answer when it is cloned.
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
  // A `Blob` is read within a task, not within microtasks.
  const task = () => new Promise((resolve) => setTimeout(resolve, 0));
  const content = {
    type: clone.headers.get("content-type"),
    whole: clone.body === null ? Promise.resolve(null) : readAtOnce(clone.body, task),
  };
  copied.set(answer, content);
  return content;
}

/** Stops the source of a body that is not sent. The body of a wrapper may belong to a constant, which must stay usable. */
export function discard(answer: Response): void {
  if (!kindOf(answer).wraps && answer.body?.locked === false) answer.body.cancel().catch(() => {});
}

/** A fetched reason may contain characters that a constructor rejects. */
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

/** The runtime's own methods reject every object that its class did not make. */
function isNative(answer: Response, native: Response): boolean {
  try {
    return Reflect.get(native, "status", answer) !== undefined;
  } catch {
    return false;
  }
}
