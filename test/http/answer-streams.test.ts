import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Application, pathOf, startApplication, type Use } from "../support/answer-app.ts";
import { answerServers } from "../support/answer-servers.ts";
import { requestText } from "../support/raw-http.ts";

const encoder = new TextEncoder();
const CHUNK = encoder.encode("x".repeat(65_536));
/** Far more than what sockets and streams between a source and a client hold. */
const CHUNKS = 1_000;

/** A source that gives one chunk and no more until it is cancelled. */
function held(): { readonly stream: ReadableStream; readonly cancelled: Promise<void> } {
  let cancel = (): void => {};
  const cancelled = new Promise<void>((resolve) => {
    cancel = resolve;
  });
  const stream = new ReadableStream({
    start: (controller) => controller.enqueue(encoder.encode("first")),
    cancel,
  });
  return { stream, cancelled };
}

function endless(onPull: () => void): ReadableStream {
  let left = CHUNKS;
  return new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setImmediate(resolve));
      onPull();
      controller.enqueue(CHUNK);
      if (--left === 0) controller.close();
    },
  });
}

function open(port: number, path: string): Socket {
  const socket = connect(port, "127.0.0.1", () => socket.write(requestText("GET", path)));
  socket.on("error", () => {});
  return socket;
}

async function received(socket: Socket, text: string): Promise<void> {
  let all = "";
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    all += piece;
    if (all.includes(text)) return;
  }
  throw new Error(`The connection was closed after ${JSON.stringify(all)}`);
}

describe.each(answerServers.map((server) => [server.name, server] as const))("behind %s", (_, server) => {
  let app: Application;
  let source: ReturnType<typeof held>;
  let pulls = 0;
  const typed = { headers: { "content-type": "text/event-stream" } };
  beforeAll(async () => {
    app = await startApplication(server, ({ Response }) => ({
      held: () => new Response(source.stream),
      "held with a type": () => new Response(source.stream, typed),
      endless: () => new Response(endless(() => pulls++)),
      "endless with a type": () =>
        new Response(
          endless(() => pulls++),
          typed,
        ),
    }));
  });
  afterAll(() => app.close());

  describe.each<Use>(["read", "created"])("streams of a request whose session is %s", (use) => {
    test.each(["held", "held with a type"])(
      "the first chunk of a stream arrives at once, and its source is cancelled when the client leaves: %s",
      async (name) => {
        source = held();
        const socket = open(app.port, pathOf(use, name));
        await received(socket, "first");
        socket.destroy();
        await source.cancelled;
      },
    );

    test.each(["endless", "endless with a type"])(
      "the source of a stream waits for a client that does not read: %s",
      async (name) => {
        pulls = 0;
        const socket = open(app.port, pathOf(use, name));
        socket.pause();
        await expect.poll(() => pulls, { interval: 20 }).toBeGreaterThan(0);
        let before = -1;
        await expect
          .poll(
            () => {
              const still = pulls === before;
              before = pulls;
              return still;
            },
            { interval: 150, timeout: 4_000 },
          )
          .toBe(true);
        expect(pulls).toBeLessThan(CHUNKS);
        socket.destroy();
      },
    );
  });
});
