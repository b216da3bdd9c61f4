import { type RequestSession, type SessionHttpOptions, sessionCookie, sessionMiddleware } from "../../src/index.ts";
import { cookieJar, tokenOf } from "./http.ts";
import { type NewVisit, type Visit, type VisitOptions, visits } from "./visits.ts";

/** Uses the session of a request. */
export type Handler = (session: RequestSession<Visit, NewVisit>) => unknown;

/** A middleware with its own store, and a browser without a cookie. */
export function site(options: SessionHttpOptions<Visit> = {}, storeOptions: VisitOptions = {}) {
  const base = visits(storeOptions);
  const handle = sessionMiddleware(base.store, options);
  const jar = cookieJar(sessionCookie(options.cookie).name);
  async function visitBy(handler: Handler, answer: () => Response = () => new Response("ok")): Promise<Response> {
    return await handle(jar.request(), async (session) => {
      await handler(session);
      return answer();
    });
  }
  return {
    ...base,
    handle,
    jar,
    /** Sends one request with the browser's cookie and stores the cookie of the response. */
    visit: async (handler: Handler, answer?: () => Response) => jar.receive(await visitBy(handler, answer)),
  };
}

/** A site whose browser has a session. */
export async function signedIn(options?: SessionHttpOptions<Visit>, storeOptions?: VisitOptions) {
  const made = site(options, storeOptions);
  await made.visit((session) => session.create({ userId: "42", flash: "hi" }));
  const cookie = made.jar.cookie;
  made.calls.length = made.events.length = 0;
  return { ...made, cookie, token: tokenOf(cookie) };
}

export function setCookies(response: Response): string[] {
  return response.headers.getSetCookie();
}
