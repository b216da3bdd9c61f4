/** The responses that the library makes by itself. Each has the content type of plain text, which Bun does not add. */

const RETRY_SECONDS = 5;
const BEARER = /^bearer(?: |$)/i;

/** The response to an unsafe request from another origin. */
export function refused(): Response {
  return plain("Cross-origin request refused", 403);
}

/** The response after a failure of the backend. */
export function unavailable(): Response {
  return plain("Service Unavailable", 503, { "retry-after": String(RETRY_SECONDS) });
}

/**
 * The response to a request without a session, where there has to be one.
 *
 * @param authorization The `Authorization` header with the transport `bearer`: the response then says whether the
 * client sent a token (RFC 6750, section 3). `null` with a cookie, for which there is no authentication scheme.
 */
export function unauthenticated(authorization: string | null): Response {
  if (authorization === null) return plain("Unauthorized", 401);
  const challenge = BEARER.test(authorization) ? 'Bearer error="invalid_token"' : "Bearer";
  return plain("Unauthorized", 401, { "www-authenticate": challenge });
}

function plain(text: string, status: number, headers: Readonly<Record<string, string>> = {}): Response {
  const common = { "content-type": "text/plain;charset=UTF-8", "cache-control": "no-store" };
  return new Response(text, { status, headers: { ...common, ...headers } });
}
