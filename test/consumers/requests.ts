/** Handlers: login and logout, a flash message, a second factor, a change of role. */
import { isFresh, type RequestSession, type RequestSessionOf, sessionMiddleware } from "zession";
import { type NewVisit, store, type Visit } from "./visits.ts";

type VisitSession = RequestSessionOf<typeof store>;

const withSession = sessionMiddleware(store, { persistent: (session) => session.data.role === "admin" });

export function handle(request: Request): Promise<Response> {
  return withSession(request, async (session) => {
    switch (`${request.method} ${new URL(request.url).pathname}`) {
      case "POST /login": {
        const { data } = await session.create({ userId: await request.text(), role: "user" }, { authenticated: true });
        return Response.json({ hello: data.userId });
      }
      case "POST /logout":
        return Response.json({ ended: await session.destroy() });
      default:
        return Response.json({ views: await session.increment("views") });
    }
  });
}

export async function say(session: RequestSession<{ flash?: string | undefined }, never>, text: string): Promise<void> {
  await session.update({ flash: text });
}

export async function hear(session: RequestSession<{ flash?: string | undefined }, never>): Promise<string> {
  return (await session.take("flash")) ?? "";
}

export async function transfer(session: RequestSession<Visit, NewVisit>): Promise<Response> {
  const current = await session.get();
  return new Response(null, { status: current !== null && isFresh(current, "5m") ? 204 : 401 });
}

export async function logIn(session: VisitSession, userId: string): Promise<void> {
  const login = { authenticated: true } as const;
  await session.create((visitor) => ({ userId, role: "user", basket: visitor?.basket ?? [] }), login);
}

export async function callback(session: VisitSession, claims: { sub: string; auth_time?: number }): Promise<void> {
  const authenticated = claims.auth_time === undefined ? undefined : new Date(claims.auth_time * 1000);
  await session.create({ userId: claims.sub }, { authenticated });
}

export async function secondFactor(session: VisitSession): Promise<boolean> {
  return (await session.rotate({ authenticated: true, patch: { role: "admin" }, idleTimeout: "15m" })) !== null;
}

export async function renew(session: VisitSession, isLogin: boolean): Promise<void> {
  await session.rotate(isLogin ? { authenticated: true } : { grace: "30s" });
}

export async function everywhereElse(session: VisitSession, user: string): Promise<number> {
  return await store.revokeAll({ user }, { except: await session.get() });
}

withSession(new Request("https://app.example/"), async (session) => {
  await say(session, "Saved");
  await transfer(session);
  return new Response(await hear(session));
});
