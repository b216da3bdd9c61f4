import type { Use } from "./answer-app.ts";

/** An accepted difference between a response that passed through the middleware and the same response without it. */
export interface Difference {
  readonly why: string;
  readonly servers: RegExp;
  readonly kinds: RegExp;
  readonly methods?: readonly string[];
  readonly uses: readonly Use[];
  /** Additional header lines. */
  readonly adds?: readonly string[];
  /** Names of headers that are not compared. With `content-length`, the framing is not compared either. */
  readonly ignores?: readonly string[];
  /** Whether nothing is compared, because a separate test covers this case. */
  readonly hasOwnTest?: boolean;
}

const NODE = /node|srvx/i;
const WRAPPERS = /hono|FastResponse/;
const LENGTH = ["content-length", "transfer-encoding"];

export const DIFFERENCES: readonly Difference[] = [
  {
    why: "What fetch has decoded is sent on with the encoding that it had, which no client can read. A copy drops it.",
    servers: NODE,
    kinds: /with (gzip|br)$/,
    uses: ["read", "created"],
    hasOwnTest: true,
  },
  {
    why: "Plain objects of headers get no type unless somebody asks for the headers of the answer.",
    servers: /hono/,
    kinds: /^(a text with a header|a text with its own length|a part of a range|Vary|public|a (live )?stream with its)/,
    uses: ["unused", "read", "created"],
    adds: ["content-type: text/plain; charset=UTF-8"],
  },
  {
    why: "A body that is complete at once gets a length.",
    servers: WRAPPERS,
    kinds:
      /^(a FormData|a URLSearchParams|a complete stream|an empty stream|a stream of bytes|an async iterable|a new)/,
    uses: ["created"],
    ignores: LENGTH,
  },
  {
    why: "A file, a form or a Blob has its type in the headers as soon as they are read, so HEAD gets it as GET does.",
    servers: /Bun/,
    kinds: /^(a Blob with a type|a slice of a B|a File|a Bun.file|a FormData|a URLSearchParams)/,
    methods: ["HEAD"],
    uses: ["unused", "read", "created"],
    ignores: ["content-type"],
  },
  {
    why: "A text that is not ASCII has its type in the headers of the copy, so HEAD gets it as GET does.",
    servers: /Bun/,
    kinds: /^(a text|a long text|a long Blob)$/,
    methods: ["HEAD"],
    uses: ["read", "created"],
    adds: ["content-type: text/plain; charset=utf-8"],
  },
  {
    why: "Nothing tells a text that is not ASCII from the same bytes, which are sent as a text, too.",
    servers: /Bun/,
    kinds: /^a long Blob$/,
    methods: ["GET"],
    uses: ["read", "created"],
    ignores: ["content-type"],
  },
  {
    why: "Bun answers 206 to every request for a slice, unasked, unless the answer has headers.",
    servers: /Bun/,
    kinds: /^a slice of a Bun.file$/,
    uses: ["unused", "read", "created"],
    hasOwnTest: true,
  },
  {
    why: "srvx cancels the body of a form on HEAD, and Node's fetch then rejects a promise that nobody can handle.",
    servers: /srvx/,
    kinds: /^a FormData$/,
    methods: ["HEAD"],
    uses: ["bare", "unused", "read", "created"],
    hasOwnTest: true,
  },
];

export function differencesOf(server: string, kind: string, method: string, use: Use): readonly Difference[] {
  return DIFFERENCES.filter(
    ({ servers, kinds, methods, uses }) =>
      servers.test(server) && kinds.test(kind) && (methods?.includes(method) ?? true) && uses.includes(use),
  );
}
