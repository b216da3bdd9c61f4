import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sessionMiddleware } from "../../src/index.ts";
import { answerKinds, FILE_TEXT, type Kitchen } from "./answer-kinds.ts";
import type { AnswerServer, Fetch } from "./answer-servers.ts";
import { type RawAnswer, rawRequest } from "./raw-http.ts";
import type { Handler } from "./sites.ts";
import { startUpstream } from "./upstream.ts";
import { visits } from "./visits.ts";

/** What a handler does with its session before it returns; `null` for a request that bypasses the middleware. */
export const USES = {
  bare: null,
  unused: () => null,
  read: (session) => session.get(),
  created: (session, userId) => session.create({ userId }),
} satisfies Readonly<Record<string, ((session: Parameters<Handler>[0], userId: string) => unknown) | null>>;

export type Use = keyof typeof USES;

export const SESSION_LINE = /^__Host-(Http-)?sid=/;

export function pathOf(use: Use, name: string): string {
  return `/${use}/${encodeURIComponent(name)}`;
}

/** Returns the `Set-Cookie` lines of the session cookie. */
export function sessionLines({ headers }: RawAnswer): string[] {
  return headers.filter(([name, value]) => name === "set-cookie" && SESSION_LINE.test(value)).map(([, value]) => value);
}

export function headerOf({ headers }: RawAnswer, name: string): string | null {
  const values = headers.filter(([one]) => one === name).map(([, value]) => value);
  return values.length === 0 ? null : values.join(", ");
}

/**
 * Serves `/<use>/<kind>` for every kind of response, and `/<use>/<route>` for each of `routes`. With `?outer`, another
 * middleware wraps the response. The header `x-user` contains the user who signs in.
 */
export async function startApplication(
  server: AnswerServer,
  routes: (kitchen: Kitchen) => Readonly<Record<string, () => Response | Promise<Response>>> = () => ({}),
) {
  const folder = mkdtempSync(join(tmpdir(), "answers-"));
  const file = join(folder, "digits.txt");
  writeFileSync(file, FILE_TEXT);
  const upstream = await startUpstream();
  const kitchen: Kitchen = { Response: server.Response, upstream: upstream.url, file };
  const own = routes(kitchen);
  const { store } = visits();
  const handle = sessionMiddleware(store);

  const fetch: Fetch = (request) => {
    const { pathname, search } = new URL(request.url);
    const [, use, encoded = ""] = pathname.split("/");
    const name = decodeURIComponent(encoded);
    const make = own[name] ?? (() => answerKinds[name]?.(kitchen));
    const answer = async () => (await make()) ?? new Response("no such kind", { status: 500 });
    const handler = USES[use as Use];
    if (handler === null) return make() ?? answer();
    const handled = handle(request, async (session) => {
      await handler(session, request.headers.get("x-user") ?? "somebody");
      return await answer();
    });
    return search === "?outer" ? handled.then((inner) => new server.Response(inner.body, inner)) : handled;
  };

  const running = await server.listen(fetch);
  return {
    port: running.port,
    store,
    request: (use: Use, name: string, method = "GET", headers: Readonly<Record<string, string>> = {}) =>
      rawRequest(running.port, method, pathOf(use, name), headers),
    requestOuter: (use: Use, name: string) => rawRequest(running.port, "GET", `${pathOf(use, name)}?outer`),
    async close() {
      await running.close();
      await upstream.close();
      rmSync(folder, { recursive: true });
    },
  };
}

export type Application = Awaited<ReturnType<typeof startApplication>>;
