import { knownOptions } from "../base/checks.ts";
import type { SessionToken } from "../base/token.ts";
import type { CreateOptions } from "../call-options.ts";
import { type CookieOptions, sessionCookie } from "../http/cookie.ts";
import type { Session, SessionStore } from "../session.ts";

/**
 * Creates a session for a test and returns the request headers of a client that is logged in: `headers` of a browser,
 * `bearer` of a program, for the transport `bearer`.
 *
 * @param options `cookie`: the cookie options of the middleware under test. `authenticated`: as for `create`.
 */
export async function testSession<T, New>(
  store: SessionStore<T, New>,
  data: NoInfer<New>,
  options: Pick<CreateOptions, "authenticated"> & { readonly cookie?: CookieOptions | undefined } = {},
): Promise<{
  readonly token: SessionToken;
  readonly session: Session<T>;
  readonly headers: { readonly cookie: string };
  readonly bearer: { readonly authorization: string };
}> {
  const { authenticated, cookie } = knownOptions("start a test session", options, ["authenticated", "cookie"]);
  const { name } = sessionCookie(cookie);
  const { token, session } = await store.create(data, { authenticated });
  return { token, session, headers: { cookie: `${name}=${token}` }, bearer: { authorization: `Bearer ${token}` } };
}
