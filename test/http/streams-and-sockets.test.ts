import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join, resolve } from "node:path";
import { serve as serveByHono } from "@hono/node-server";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { gate, idle } from "../support/gate.ts";
import { backendState, clock, elsewhere, IDLE_SECONDS, withSession } from "../support/streamed-sessions.ts";
import { until } from "../support/until.ts";

interface LookAgain {
  readonly everyMs: number;
  readonly maxBlindMs: number;
}
type Fetch = (request: Request) => Promise<Response | undefined>;
interface Running {
  readonly port: number;
  stop(): unknown;
}

/** What is used of Bun and of Deno. */
interface BunRuntime {
  serve(options: {
    port: number;
    fetch: (request: Request, server: unknown) => Promise<Response | undefined>;
    websocket: unknown;
  }): Running;
}
interface DenoRuntime {
  serve(
    options: { port: number; onListen(): void },
    fetch: Fetch,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> };
}
const { Bun, Deno } = globalThis as { Bun?: BunRuntime; Deno?: DenoRuntime };

const folder = resolve("node_modules/.cache/readme", crypto.randomUUID());

/** Writes the samples of the README to files, below node_modules so that they find ws. */
async function extract(): Promise<void> {
  const readme = await readFile("README.md", "utf8");
  const [, section = ""] = /^## Streams and sockets\n(.*?)^## /ms.exec(readme) ?? [];
  await mkdir(folder, { recursive: true });
  for (const [, name = "", code = ""] of section.matchAll(/```ts\n\/\/ (\S+)\n(.*?)```/gs)) {
    const linked = code
      .replace('"zession"', JSON.stringify(resolve("src/index.ts")))
      .replace('"./sessions.ts"', JSON.stringify(resolve("test/support/streamed-sessions.ts")));
    await writeFile(join(folder, name), linked);
  }
}

async function sample<Exports>(name: string): Promise<Exports> {
  return (await import(/* @vite-ignore */ join(folder, name))) as Exports;
}

type CloseAtEnd = {
  closeAtEnd(session: { peek(): Promise<unknown> }, close: () => void, options: Partial<LookAgain>): () => void;
};
type Events = { events(request: Request, options: LookAgain): Promise<Response> };
type BunSockets = {
  sockets(options: LookAgain): {
    fetch(request: Request, server: unknown): Promise<Response | undefined>;
    websocket: unknown;
  };
};
type DenoSockets = { socket(request: Request, options: LookAgain): Promise<Response> };
type NodeSockets = { acceptSockets(server: Server, options: LookAgain): void };

/** Starts the samples on the runtime that runs this test. */
async function start(options: LookAgain): Promise<Running> {
  const { events } = await sample<Events>("events.ts");
  const answer = async (request: Request): Promise<Response | null> => {
    const { pathname } = new URL(request.url);
    if (pathname === "/events") return await events(request, options);
    if (pathname !== "/login") return null;
    return await withSession(request, async (session) => {
      await session.create({ userId: (await request.text()) || "42" });
      return new Response();
    });
  };
  if (Bun !== undefined) {
    const { fetch, websocket } = (await sample<BunSockets>("sockets-bun.ts")).sockets(options);
    return Bun.serve({
      port: 0,
      fetch: async (request, server) => (await answer(request)) ?? (await fetch(request, server)),
      websocket,
    });
  }
  if (Deno !== undefined) {
    const { socket } = await sample<DenoSockets>("sockets-deno.ts");
    const server = Deno.serve(
      { port: 0, onListen() {} },
      async (request) => (await answer(request)) ?? (await socket(request, options)),
    );
    return { port: server.addr.port, stop: () => server.shutdown() };
  }
  const { acceptSockets } = await sample<NodeSockets>("sockets-node.ts");
  const server = serveByHono({
    fetch: async (request) => (await answer(request)) ?? new Response(null, { status: 404 }),
    port: 0,
  }) as Server;
  acceptSockets(server, options);
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, stop: () => server.close() };
}

/** A connection as its client sees it. */
interface Connection {
  readonly isOpen: boolean;
  close(): unknown;
}
type Open = (port: number, cookie: string) => Promise<Connection>;

async function signIn(port: number, userId: string): Promise<string> {
  const response = await fetch(`http://localhost:${port}/login`, { method: "POST", body: userId });
  const [pair = ""] = response.headers.getSetCookie().map((line) => line.split(";")[0] ?? "");
  expect(pair).toMatch(/^__Host-Http-sid=/);
  return pair;
}

const openers: Readonly<Record<string, Open>> = {
  async "a stream of server-sent events"(port, cookie) {
    const leaving = new AbortController();
    const response = await fetch(`http://localhost:${port}/events`, { headers: { cookie }, signal: leaving.signal });
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    expect(response.headers.get("cache-control")).toBe("private");
    const reader = response.body?.getReader() ?? expect.fail();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("data: welcome\n\n");
    let isOpen = true;
    const end = (): void => {
      isOpen = false;
    };
    reader.read().then(end, end);
    return {
      get isOpen() {
        return isOpen;
      },
      close: () => leaving.abort(),
    };
  },
  async "a WebSocket"(port, cookie) {
    // Headers are an addition of Node, Bun and Deno to the standard.
    const socket = new WebSocket(`ws://localhost:${port}/socket`, { headers: { cookie } } as never);
    await new Promise((opened, failed) => {
      socket.onopen = opened;
      socket.onerror = failed;
    });
    const echoed = new Promise((echo) => {
      socket.onmessage = ({ data }) => echo(data);
    });
    socket.send("hello");
    expect(await echoed).toBe("hello");
    return {
      get isOpen() {
        return socket.readyState === WebSocket.OPEN;
      },
      close: () => socket.close(),
    };
  },
};

/** The status of the answer to a handshake. */
async function handshake(port: number, headers: Readonly<Record<string, string>>, path = "/socket"): Promise<string> {
  const client = connect(port, "localhost");
  const all = {
    host: `localhost:${port}`,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  client.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  const [data] = await once(client, "data");
  client.destroy();
  return String(data).split(" ")[1] ?? "";
}

const EVERY_MS = 20;
let patient: Running;
let impatient: Running;
beforeAll(async () => {
  await extract();
  patient = await start({ everyMs: EVERY_MS, maxBlindMs: 60_000 });
  impatient = await start({ everyMs: EVERY_MS, maxBlindMs: 5 * EVERY_MS });
});
afterAll(async () => {
  await Promise.all([patient?.stop(), impatient?.stop()]);
  await rm(folder, { recursive: true });
});

async function someLooks(): Promise<void> {
  const { reads } = backendState;
  await until("the connection looks at its session", () => backendState.reads >= reads + 3);
}

async function nobodyLooks(): Promise<void> {
  await until("nobody looks any more", async () => {
    const { reads } = backendState;
    await new Promise((passed) => setTimeout(passed, 3 * EVERY_MS));
    return backendState.reads === reads;
  });
}

describe.each(Object.keys(openers))("README: %s", (kind) => {
  const open = openers[kind]!;
  const connections: Connection[] = [];
  let users = 0;

  async function signedIn({ port }: Running = patient) {
    const userId = `${kind} ${++users}`;
    const cookie = await signIn(port, userId);
    const connection = await open(port, cookie);
    connections.push(connection);
    const [, token = ""] = cookie.split("=");
    const { id } = (await elsewhere.peek(token)) ?? expect.fail();
    return { userId, token, id, connection };
  }

  type SignedIn = Awaited<ReturnType<typeof signedIn>>;
  test.each<[string, (user: SignedIn) => unknown]>([
    ["destroy", ({ token }) => elsewhere.destroy(token)],
    ["revoke", ({ id }) => elsewhere.revoke(id)],
    ["revokeAll", ({ userId }) => elsewhere.revokeAll({ user: userId })],
    ["a rotation, which ends its token", ({ token }) => elsewhere.rotate(token)],
    ["its idle timeout", () => clock.advance(IDLE_SECONDS + 0.001)],
  ])("the connection closes within one interval after another process ended the session: %s", async (_, end) => {
    const user = await signedIn();
    await someLooks();
    expect(user.connection.isOpen).toBe(true);
    await end(user);
    const { reads } = backendState;
    await until("the connection is closed", () => !user.connection.isOpen);
    // One look may have been under way.
    expect(backendState.reads - reads).toBeLessThanOrEqual(2);
  });

  test("the connection stays open while its session exists, even if another session of the user ends", async () => {
    const { connection, userId, id } = await signedIn();
    const other = await elsewhere.create({ userId });
    await elsewhere.revokeAll({ user: userId }, { except: { id } });
    expect(await elsewhere.peek(other.token)).toBeNull();
    await someLooks();
    expect(connection.isOpen).toBe(true);
  });

  test("the connection does not extend its session", async () => {
    const { token } = await signedIn();
    const before = await elsewhere.peek(token);
    clock.advance("1s");
    await someLooks();
    expect(await elsewhere.peek(token)).toEqual(before);
  });

  test("the connection stays open during a short backend failure, and closes after a later logout", async () => {
    const { connection, token } = await signedIn();
    backendState.isDown = true;
    await someLooks();
    backendState.isDown = false;
    await someLooks();
    expect(connection.isOpen).toBe(true);
    await elsewhere.destroy(token);
    await until("the connection is closed", () => !connection.isOpen);
  });

  test("the connection closes if the backend fails for too long, and the session still exists", async () => {
    const { connection, token } = await signedIn(impatient);
    await someLooks();
    expect(connection.isOpen).toBe(true);
    backendState.isDown = true;
    await until("the connection is closed", () => !connection.isOpen);
    expect(await elsewhere.peek(token)).not.toBeNull();
  });

  test("the backend is not called any more after the client has disconnected", async () => {
    const { connection } = await signedIn();
    await someLooks();
    connection.close();
    await nobodyLooks();
  });

  afterEach(async () => {
    backendState.isDown = false;
    for (const connection of connections.splice(0)) connection.close();
    await nobodyLooks();
  });
});

describe("README: closeAtEnd", () => {
  /** A connection that is looking at its session twice at once, both times for long. */
  async function looking() {
    const { closeAtEnd } = await sample<CloseAtEnd>("close-at-end.ts");
    const held = gate();
    const counts = { looks: 0, closed: 0 };
    const peek = async () => {
      counts.looks++;
      await held.passed;
      return null;
    };
    const stop = closeAtEnd({ peek }, () => counts.closed++, { everyMs: 1 });
    await until("two looks are under way", () => counts.looks >= 2);
    return { counts, stop, held };
  }

  test("closeAtEnd closes only once if several concurrent reads find no session", async () => {
    const { counts, held } = await looking();
    held.open();
    await idle();
    expect(counts.closed).toBe(1);
  });

  test("closeAtEnd does not close a connection that the client closed during a read", async () => {
    const { counts, stop, held } = await looking();
    stop();
    held.open();
    await idle();
    expect(counts.closed).toBe(0);
  });

  test("closeAtEnd closes at once if a read fails with an error other than a backend failure", async () => {
    const { closeAtEnd } = await sample<CloseAtEnd>("close-at-end.ts");
    const peek = () => Promise.reject(new TypeError("mistake"));
    await new Promise<void>((close) => closeAtEnd({ peek }, close, { everyMs: 1 }));
  });
});

describe("README: a WebSocket handshake", () => {
  test("a handshake from another origin gets 403 before the session is read", async () => {
    const cookie = await signIn(patient.port, "handshake");
    const { reads } = backendState;
    expect(await handshake(patient.port, { cookie, origin: "https://evil.example" })).toBe("403");
    expect(await handshake(patient.port, { cookie, origin: "http://evil.example" }, "//evil.example/")).toBe("403");
    expect(backendState.reads).toBe(reads);
  });

  test("a handshake from the same origin is accepted with a session and gets 401 without one", async () => {
    const cookie = await signIn(patient.port, "handshake");
    const origin = `http://localhost:${patient.port}`;
    expect(await handshake(patient.port, { cookie, origin })).toBe("101");
    expect(await handshake(patient.port, { origin })).toBe("401");
    await nobodyLooks();
  });

  test("a handshake gets 503 if the backend fails", async () => {
    const cookie = await signIn(patient.port, "handshake");
    backendState.isDown = true;
    expect(await handshake(patient.port, { cookie })).toBe("503");
    backendState.isDown = false;
  });
});
