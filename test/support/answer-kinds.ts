import { gzipSync } from "node:zlib";
import type { ResponseClass } from "./answer-servers.ts";
import { UPSTREAM_TEXT } from "./upstream.ts";

/** The inputs from which responses are made. */
export interface Kitchen {
  /** The global class of the application. */
  readonly Response: ResponseClass;
  /** The address of a server to fetch from. */
  readonly upstream: string;
  /** The path of a file of `FILE_TEXT`. */
  readonly file: string;
}

type Make = (kitchen: Kitchen) => Response | Promise<Response>;

export const FILE_TEXT = "0123456789".repeat(30);
const BYTES = new Uint8Array([0, 1, 2, 253, 254, 255, 13, 10]);
const LONG_TEXT = "long äöü ".repeat(30_000);
const encoder = new TextEncoder();

/** A stream of pieces that are all available at once. */
function complete(...pieces: readonly string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(encoder.encode(piece));
      controller.close();
    },
  });
}

/** A stream in which each piece follows a task after the previous one. */
function live(...pieces: readonly string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  const left = [...pieces];
  return new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      const piece = left.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(encoder.encode(piece));
    },
  });
}

function byteStream(): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    type: "bytes",
    start(controller) {
      controller.enqueue(encoder.encode("typed"));
      controller.close();
    },
  });
}

function form(): FormData {
  const data = new FormData();
  data.set("a", "1");
  data.set("file", new File(["content"], "a.txt", { type: "text/plain" }));
  return data;
}

function sharedHeaders(): Headers {
  return new Headers({ "content-type": "text/html", "x-shared": "1" });
}

const everywhere: Readonly<Record<string, Make>> = {
  "null with 200": ({ Response }) => new Response(null),
  "null with 204": ({ Response }) => new Response(null, { status: 204 }),
  "null with 205": ({ Response }) => new Response(null, { status: 205 }),
  "null with 303": ({ Response }) => new Response(null, { status: 303, headers: { location: "/" } }),
  "null with 304": ({ Response }) => new Response(null, { status: 304, headers: { etag: '"a"' } }),
  "null with 500": ({ Response }) => new Response(null, { status: 500 }),
  "no arguments": ({ Response }) => new Response(),
  "a text": ({ Response }) => new Response("text äöü"),
  "an ASCII text": ({ Response }) => new Response("text"),
  "an empty text": ({ Response }) => new Response(""),
  "a long text": ({ Response }) => new Response(LONG_TEXT),
  "a text with a status": ({ Response }) => new Response("no", { status: 404 }),
  "a text with its own type": ({ Response }) => new Response("<p>", { headers: { "content-type": "text/html" } }),
  "a text with a header": ({ Response }) => new Response("text", { headers: { "x-a": "1" } }),
  "a text with headers in a list": ({ Response }) => new Response("text", { headers: [["x-a", "1"]] }),
  "a text with its own length": ({ Response }) => new Response("text", { headers: { "content-length": "4" } }),
  "a text with a reason": ({ Response }) => new Response("text", { status: 201, statusText: "Made Here" }),
  "a text whose headers are changed later": ({ Response }) => {
    const answer = new Response("text");
    answer.headers.set("x-late", "1");
    answer.headers.append("content-language", "en");
    return answer;
  },
  "JSON by Response.json": ({ Response }) => Response.json({ a: [1, "ä"] }),
  "JSON by Response.json with an init": ({ Response }) => Response.json({}, { status: 201, headers: { "x-a": "1" } }),
  "JSON by hand": ({ Response }) => new Response("{}", { headers: { "content-type": "application/json" } }),
  bytes: ({ Response }) => new Response(BYTES),
  "bytes that are ASCII": ({ Response }) => new Response(encoder.encode("text")),
  "bytes with a type": ({ Response }) => new Response(BYTES, { headers: { "content-type": "image/png" } }),
  "an ArrayBuffer": ({ Response }) => new Response(BYTES.slice().buffer),
  "a DataView": ({ Response }) => new Response(new DataView(BYTES.slice().buffer, 2, 3)),
  "a Blob": ({ Response }) => new Response(new Blob(["blob"])),
  "a Blob with a type": ({ Response }) => new Response(new Blob(["blob"], { type: "text/css" })),
  "a slice of a Blob": ({ Response }) => new Response(new Blob(["0123456789"], { type: "text/css" }).slice(2, 5)),
  "a long Blob": ({ Response }) => new Response(new Blob([LONG_TEXT])),
  "a File": ({ Response }) => new Response(new File(["file"], "a.txt", { type: "text/plain" })),
  "a FormData": ({ Response }) => new Response(form()),
  "a URLSearchParams": ({ Response }) => new Response(new URLSearchParams({ a: "1 2" })),
  "a complete stream": ({ Response }) => new Response(complete("one", "two", "three")),
  "a complete stream of text": ({ Response }) => new Response(complete("äöü", "three")),
  "a complete stream of one text": ({ Response }) => new Response(complete("äöü")),
  "a complete stream with a type": ({ Response }) =>
    new Response(complete("one", "two"), { headers: { "content-type": "text/csv" } }),
  "a stream with its length": ({ Response }) =>
    new Response(complete("one", "two"), { headers: { "content-length": "6" } }),
  "an empty stream": ({ Response }) => new Response(complete()),
  "a stream of bytes": ({ Response }) => new Response(byteStream()),
  "a live stream": ({ Response }) => new Response(live("one", "two", "three")),
  "a live stream with its length": ({ Response }) =>
    new Response(live("one", "two"), { headers: { "content-length": "6" } }),
  "server-sent events": ({ Response }) =>
    new Response(live("data: 1\n\n", "data: 2\n\n"), {
      headers: { "content-type": "text/event-stream", "cache-control": "no-cache" },
    }),
  "a long stream": ({ Response }) => new Response(live(LONG_TEXT, LONG_TEXT)),
  "Response.redirect": () => Response.redirect("https://app.example/there"),
  "Response.redirect with 307": () => Response.redirect("https://app.example/there", 307),
  "a fetched answer": ({ upstream }) => fetch(upstream),
  "a fetched answer with gzip": ({ upstream }) => fetch(`${upstream}/gzip`),
  "a fetched answer with br": ({ upstream }) => fetch(`${upstream}/br`),
  "a fetched answer with deflate": ({ upstream }) => fetch(`${upstream}/deflate`),
  "a fetched answer after a redirect": ({ upstream }) => fetch(`${upstream}/moved`),
  "a fetched redirect": ({ upstream }) => fetch(`${upstream}/moved`, { redirect: "manual" }),
  "a fetched 404": ({ upstream }) => fetch(`${upstream}/missing`),
  "a fetched 204": ({ upstream }) => fetch(`${upstream}/empty`),
  "a fetched answer with its length": ({ upstream }) => fetch(`${upstream}/length`),
  "a fetched answer with cookies": ({ upstream }) => fetch(`${upstream}/cookies`),
  "a clone of a fetched answer": async ({ upstream }) => (await fetch(`${upstream}/length`)).clone(),
  "a new answer from a fetched one": async ({ Response, upstream }) => {
    const fetched = await fetch(`${upstream}/length`);
    return new Response(fetched.body, fetched);
  },
  "a new answer with the headers of a fetched one": async ({ Response, upstream }) => {
    const fetched = await fetch(`${upstream}/length`);
    return new Response(await fetched.text(), { headers: fetched.headers });
  },
  "a clone": ({ Response }) => new Response("cloned", { headers: { "x-a": "1" } }).clone(),
  "an answer that was cloned": async ({ Response }) => {
    const answer = new Response("cloned");
    await answer.clone().text();
    return answer;
  },
  "a new answer from another": ({ Response }) => {
    const answer = new Response("again", { status: 202, headers: { "x-a": "1" } });
    return new Response(answer.body, answer);
  },
  "an instance of a subclass": ({ Response }) => {
    class Page extends Response {}
    return new Page("page", { headers: { "content-type": "text/html" } });
  },
  "an instance of a subclass without a type": ({ Response }) => {
    class Page extends Response {}
    return new Page("page");
  },
  "an answer with shared headers": ({ Response }) => new Response("shared", { headers: sharedHeaders() }),
  "an empty answer with shared headers": ({ Response }) =>
    new Response(null, { status: 204, headers: sharedHeaders() }),
  "a part of a range": ({ Response }) =>
    new Response("234", { status: 206, headers: { "content-range": "bytes 2-4/10", "accept-ranges": "bytes" } }),
  "gzip by hand": ({ Response }) =>
    new Response(new Uint8Array(gzipSync(UPSTREAM_TEXT)), {
      headers: { "content-encoding": "gzip", "content-type": "text/plain" },
    }),
  "several cookies": ({ Response }) => {
    const answer = new Response("cookies", { headers: { "set-cookie": "a=1; Path=/" } });
    answer.headers.append("set-cookie", "b=2, 3");
    return answer;
  },
  "Vary: *": ({ Response }) => new Response("any", { headers: { vary: "*" } }),
  "Vary: Accept": ({ Response }) => new Response("any", { headers: { vary: "Accept" } }),
  "public Cache-Control": ({ Response }) => new Response("any", { headers: { "cache-control": "public, max-age=60" } }),
};

interface BunFiles {
  readonly Bun?: { file(path: string): Blob };
}

/** The Fetch standard does not allow async iterables as bodies, but Node, Bun and Deno do. */
async function* pieces(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (const piece of ["one", "two"]) yield encoder.encode(piece);
}

function iterated({ Response }: Kitchen): Response {
  const body: unknown = pieces();
  return new Response(body as BodyInit);
}

const { Bun } = globalThis as BunFiles;

const onBun: Readonly<Record<string, Make>> = Bun
  ? {
      "a Bun.file": ({ Response, file }) => new Response(Bun.file(file)),
      "a Bun.file with a type": ({ Response, file }) =>
        new Response(Bun.file(file), { headers: { "content-type": "text/csv" } }),
      "a slice of a Bun.file": ({ Response, file }) => new Response(Bun.file(file).slice(10, 15)),
      "a slice of a Bun.file with a header": ({ Response, file }) =>
        new Response(Bun.file(file).slice(10, 15), { headers: { "x-a": "1" } }),
      "a stream of strings": ({ Response }) => {
        const source = {
          start(controller: ReadableStreamDefaultController<unknown>) {
            controller.enqueue("one");
            controller.enqueue("two");
            controller.close();
          },
        };
        return new Response(new ReadableStream(source) as ReadableStream<Uint8Array<ArrayBuffer>>);
      },
      "a direct stream": ({ Response }) => {
        const source: unknown = {
          type: "direct",
          async pull(controller: { write(text: string): void; flush(): void; close(): void }) {
            controller.write("one");
            controller.flush();
            await new Promise((resolve) => setTimeout(resolve, 2));
            controller.write("two");
            controller.close();
          },
        };
        return new Response(new ReadableStream(source as UnderlyingDefaultSource));
      },
    }
  : {};

export const answerKinds: Readonly<Record<string, Make>> = { ...everywhere, "an async iterable": iterated, ...onBun };
