import { type AnswerHeader, cachingHeaders } from "./cache-headers.ts";
import type { SessionCookie } from "./cookie.ts";
import { setsCookie } from "./cookie-header.ts";
import { issueFrom, type Scope, wasIssuedInside } from "./nesting.ts";

/**
 * Returns the headers to set on a response.
 *
 * @param cookie The session cookie; `null` with the transport `bearer`.
 * @param setCookie The session cookie of this response, as a `Set-Cookie` value.
 * @param isUsed Whether the handler used the session.
 * @param isIssued Whether the request created or rotated a session. The body may then contain a bearer token.
 */
export function answerHeaders(
  cookie: SessionCookie | null,
  scope: Scope,
  answer: Headers,
  setCookie: string | null,
  isUsed: boolean,
  isIssued: boolean,
): readonly AnswerHeader[] {
  if (cookie === null) return isUsed ? cachingHeaders(answer, isIssued, "Authorization") : [];
  const own = setCookie === null ? [] : [...cookie.clearPrevious(), setCookie];
  const given = answer.getSetCookie();
  if (given.length === 0 && setCookie === null) return isUsed ? cachingHeaders(answer, false) : [];
  issueFrom(scope, own);
  const inner = given.filter((line) => wasIssuedInside(scope, line));
  const passes = (line: string): boolean =>
    !setsCookie(cookie.name, line) || (setCookie === null && inner.includes(line));
  const lines = given.filter((line) => passes(line) && !own.includes(line));
  const hasCookie = setCookie !== null || inner.length > 0;
  const caching = isUsed || hasCookie ? cachingHeaders(answer, hasCookie) : [];
  return setCookie === null && lines.length === given.length ? caching : [["Set-Cookie", ...lines, ...own], ...caching];
}
