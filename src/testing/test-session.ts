import { knownOptions } from "../base/checks.ts";
import { type CookieOptions, sessionCookie } from "../http/cookie.ts";
import type { Session, SessionStore } from "../session.ts";

/**
 * Starts a test signed in: creates a session, and gives the header with which its browser would come back.
 *
 * @param options The cookie's attributes, as the middleware under test has them.
 */
export async function testSession<T, New>(
  store: SessionStore<T, New>,
  data: NoInfer<New>,
  options: { readonly cookie?: CookieOptions | undefined } = {},
): Promise<{ readonly token: string; readonly session: Session<T>; readonly headers: { readonly cookie: string } }> {
  const { name } = sessionCookie(knownOptions("start a test session", options, ["cookie"]).cookie);
  const { token, session } = await store.create(data);
  return { token, session, headers: { cookie: `${name}=${token}` } };
}
