import { knownOptions } from "../base/checks.ts";
import type { SessionToken } from "../base/token.ts";
import { type CookieOptions, sessionCookie } from "../http/cookie.ts";
import type { Session, SessionStore } from "../session.ts";

/**
 * Creates a session for a test and returns the request headers of a client that is logged in: `headers` of a browser,
 * `bearer` of a program, for the transport `bearer`.
 *
 * @param options The cookie options of the middleware under test.
 */
export async function testSession<T, New>(
  store: SessionStore<T, New>,
  data: NoInfer<New>,
  options: { readonly cookie?: CookieOptions | undefined } = {},
): Promise<{
  readonly token: SessionToken;
  readonly session: Session<T>;
  readonly headers: { readonly cookie: string };
  readonly bearer: { readonly authorization: string };
}> {
  const { name } = sessionCookie(knownOptions("start a test session", options, ["cookie"]).cookie);
  const { token, session } = await store.create(data);
  return { token, session, headers: { cookie: `${name}=${token}` }, bearer: { authorization: `Bearer ${token}` } };
}
