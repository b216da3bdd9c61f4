/** A native client, a framework with a jar of cookies, and an adapter. */
import { type RequestSessionOf, type Session, sessionCookie, sessionExchange, sessionMiddleware } from "zession";
import { testSession } from "zession/testing";
import { type NewVisit, store, type Visit } from "./visits.ts";

const withToken = sessionMiddleware(store, { transport: "bearer", passive: ({ url }) => url.endsWith("/poll") });

async function logIn(session: RequestSessionOf<typeof store, "bearer">): Promise<Response> {
  const { token, session: created } = await session.create({ userId: "42" }, { authenticated: true });
  return Response.json({ token, expires: created.expiresAt });
}

export function api(request: Request): Promise<Response> {
  return withToken(request, async (session) => {
    if (request.method === "POST") return await logIn(session);
    return Response.json((await session.require()).data);
  });
}

const { bearer } = await testSession(store, { userId: "42" });
await api(new Request("https://api.example/", { headers: bearer }));

/** The jar that Next.js has. */
interface Jar {
  get(name: string): { value: string } | undefined;
  set(
    name: string,
    value: string,
    attributes?: Partial<{
      httpOnly: boolean;
      secure: boolean;
      sameSite: boolean | "lax" | "strict" | "none";
      path: string;
      domain: string;
      partitioned: boolean;
      maxAge: number;
    }>,
  ): unknown;
}

const cookie = sessionCookie();

export async function currentSession(jar: Jar): Promise<Session<Visit> | null> {
  const token = jar.get(cookie.name)?.value;
  return token === undefined ? null : await store.get(token);
}

export async function begin(jar: Jar, data: NewVisit): Promise<void> {
  const { token } = await store.create(data, { authenticated: true, replaces: jar.get(cookie.name)?.value });
  jar.set(cookie.name, token, cookie.attributes);
}

export async function end(jar: Jar): Promise<void> {
  const token = jar.get(cookie.name)?.value;
  if (token !== undefined && (await store.destroy(token))) {
    jar.set(cookie.name, "", { ...cookie.attributes, maxAge: 0 });
  }
}

const begun = sessionExchange(store, { onUnauthenticated: () => Response.redirect("https://app.example/login") });

/** An adapter for a framework whose request has a method `header`. */
export async function adapt(
  request: { method: string; url: string; path: string; header(name: string): string | undefined },
  handle: (session: RequestSessionOf<typeof store>) => Promise<Response>,
): Promise<Response> {
  const exchange = begun(request);
  const own = await exchange.response;
  if (own !== null) return own;
  try {
    const response = await handle(exchange.session);
    const failure = await exchange.settle();
    if (failure !== null) throw failure.error;
    for (const [name, ...values] of exchange.finish(response.headers)) {
      response.headers.delete(name);
      for (const value of values) response.headers.append(name, value);
    }
    return response;
  } catch (error) {
    const answer = await exchange.abandon(error);
    if (answer === null) throw error;
    return answer;
  }
}
