import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener as honoListener1 } from "@hono/node-server";
import { getRequestListener as honoListener2 } from "hono-node-server-2";
import { FastResponse, toNodeHandler } from "srvx/node";

export type Fetch = (request: Request) => Response | Promise<Response>;
/** The part of the global `Response` that applications use. */
export interface ResponseClass {
  new (body?: BodyInit | null, init?: ResponseInit): Response;
  json(data: unknown, init?: ResponseInit): Response;
}

/** A server of the runtime that the tests run on. */
export interface AnswerServer {
  readonly name: string;
  /** The global `Response` of an application behind this server. */
  readonly Response: ResponseClass;
  listen(fetch: Fetch): Promise<RunningServer>;
}

export interface RunningServer {
  readonly port: number;
  close(): Promise<void>;
}

type Listener = Parameters<typeof createServer>[1];

async function listening(server: Server): Promise<RunningServer> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function onNodeHttp(
  name: string,
  listenerOf: (fetch: Fetch) => Listener,
  made: ResponseClass = Response,
): AnswerServer {
  return { name, Response: made, listen: (fetch) => listening(createServer(listenerOf(fetch))) };
}

/** Sends a response as the Node adapters of SvelteKit and others do: the headers, then the chunks of the body. */
function plainListener(fetch: Fetch): Listener {
  return async (incoming, outgoing) => {
    const { method = "GET" } = incoming;
    const headers = Object.entries(incoming.headers).map(([name, value]): [string, string] => [name, String(value)]);
    try {
      const answer = await fetch(new Request(`http://${incoming.headers.host}${incoming.url}`, { method, headers }));
      for (const [name, value] of answer.headers) {
        outgoing.setHeader(name, name === "set-cookie" ? answer.headers.getSetCookie() : value);
      }
      outgoing.writeHead(answer.status, answer.statusText);
      const reader = answer.body?.getReader();
      outgoing.on("close", () => reader?.cancel().catch(() => {}));
      for (let next = await reader?.read(); next?.value; next = await reader?.read()) {
        if (!outgoing.write(next.value)) await new Promise((resolve) => outgoing.once("drain", resolve));
      }
      outgoing.end();
    } catch {
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(500).end();
    }
  };
}

function srvxListener(fetch: Fetch): Listener {
  // The cast is needed because the type of the handler also covers HTTP/2.
  return toNodeHandler(fetch) as NonNullable<Listener>;
}

/** Making a listener replaces the global `Response`. Returns the new class and restores the former global. */
function replacedResponse(makeListener: () => unknown): ResponseClass {
  const { Request, Response } = globalThis;
  makeListener();
  const replaced = globalThis.Response;
  Object.assign(globalThis, { Request, Response });
  return replaced;
}

const keepGlobals = { overrideGlobalObjects: false };

function nodeServers(): AnswerServer[] {
  const nothing: Fetch = () => new Response();
  return [
    onNodeHttp("a plain Node adapter", plainListener),
    onNodeHttp(
      "@hono/node-server 1",
      (fetch) => honoListener1(fetch, keepGlobals),
      replacedResponse(() => honoListener1(nothing)),
    ),
    onNodeHttp(
      "@hono/node-server 2",
      (fetch) => honoListener2(fetch, keepGlobals),
      replacedResponse(() => honoListener2(nothing)),
    ),
    onNodeHttp("srvx", srvxListener),
    onNodeHttp("srvx with FastResponse", srvxListener, FastResponse),
  ];
}

interface Runtimes {
  readonly Bun?: {
    serve(options: { port: number; hostname: string; fetch: Fetch; error: () => Response }): {
      readonly port: number;
      stop(force: boolean): Promise<void>;
    };
  };
  readonly Deno?: {
    serve(
      options: { port: number; hostname: string; onListen: () => void; onError: () => Response },
      fetch: Fetch,
    ): { readonly addr: { readonly port: number }; shutdown(): Promise<void>; unref(): void };
  };
}

const { Bun, Deno } = globalThis as Runtimes;
const local = { port: 0, hostname: "127.0.0.1" };
const failed = () => new Response(null, { status: 500 });

function bunServer({ serve }: NonNullable<Runtimes["Bun"]>): AnswerServer {
  return {
    name: "Bun.serve",
    Response,
    async listen(fetch) {
      const server = serve({ ...local, fetch, error: failed });
      return { port: server.port, close: () => server.stop(true) };
    },
  };
}

function denoServer({ serve }: NonNullable<Runtimes["Deno"]>): AnswerServer {
  return {
    name: "Deno.serve",
    Response,
    async listen(fetch) {
      const server = serve({ ...local, onListen: () => {}, onError: failed }, fetch);
      return { port: server.addr.port, close: () => server.shutdown() };
    },
  };
}

export const answerServers: readonly AnswerServer[] = Bun
  ? [bunServer(Bun)]
  : Deno
    ? [denoServer(Deno)]
    : nodeServers();
