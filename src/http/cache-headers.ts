/**
 * A response header to set, with one line for each value. It replaces all lines with this name. Without values, the
 * header is removed. For `Set-Cookie`, the values include those that the handler has set.
 */
export type AnswerHeader = readonly [name: string, ...values: string[]];

/** Headers that a shared cache follows instead of `Cache-Control` and `Expires`: nginx, Akamai, Fastly and LiteSpeed. */
const OVERRIDING = new Set(["x-accel-expires", "edge-control", "surrogate-control", "x-litespeed-cache-control"]);

/** The suffix of header names that override `Cache-Control` for a kind of CDN (RFC 9213, section 3.1). */
const TARGETED = "cdn-cache-control";

/** Matches the text between commas outside of quotes. An unclosed quote extends to the end. */
const DIRECTIVES = /(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g;

/**
 * Directives to remove. `public` and `s-maxage` let a shared cache store the response (RFC 9111, sections 5.2.2.9 and
 * 5.2.2.10). `private` or `no-store` with an empty list of fields is malformed, and makes some caches ignore the same
 * directive without a list.
 */
const MISLEADING = /^(?:(?:public|s-maxage)\s*(?:=.*)?|(?:private|no-store)\s*=\s*(?:"\s*"?)?)$/i;

/**
 * Returns the headers to add to a response that depends on the session, so that no shared cache stores it. `private` also
 * overrides the directives that allow shared caches to store responses to requests with `Authorization` (RFC 9111,
 * section 3.5). With a new token no cache may store the response at all: `Set-Cookie` alone does not prevent that (RFC
 * 9111, section 7.3; RFC 6750, section 5.3; ASVS 5.0 14.2.2). `Expires` may stay, because `private` and `no-store`
 * override it.
 *
 * @param carrier The request header that carries the token.
 */
export function cachingHeaders(
  answer: Headers,
  withToken: boolean,
  carrier: "Cookie" | "Authorization" = "Cookie",
): AnswerHeader[] {
  const headers: AnswerHeader[] = overridingHeaders(answer).map((name) => [name]);
  const given = answer.get("cache-control") ?? "";
  const cacheControl = withToken ? "no-store" : privateControl(given);
  if (cacheControl !== given) headers.push(["Cache-Control", cacheControl]);
  const vary = answer.get("vary") ?? "";
  const names = vary.split(",").map((name) => name.trim().toLowerCase());
  if (!names.includes("*") && !names.includes(carrier.toLowerCase())) {
    headers.push(["Vary", vary ? `${vary}, ${carrier}` : carrier]);
  }
  return headers;
}

/** Whether the response already forbids shared caches to store it, by `no-store` or by `private` without a list of fields. */
export function isPrivate(answer: Headers): boolean {
  return forbidsSharing(directivesOf(answer.get("cache-control") ?? "")) && overridingHeaders(answer).length === 0;
}

function overridingHeaders(answer: Headers): string[] {
  const names: string[] = [];
  // The only way to iterate over headers that is fast on Node, Bun and Deno.
  answer.forEach((_, name) => {
    if (OVERRIDING.has(name) || name.endsWith(TARGETED)) names.push(name);
  });
  return names;
}

/**
 * Adds `private` at the beginning, where an unclosed quote cannot hide it. A shared cache may store a response with any
 * other directive, such as `max-age` or `no-cache`, with `Expires`, or without any of these (RFC 9111, sections 3 and
 * 4.2.2).
 */
function privateControl(given: string): string {
  if (given === "") return "private";
  const directives = directivesOf(given).filter((one) => !MISLEADING.test(one));
  return (forbidsSharing(directives) ? directives : ["private", ...directives]).join(", ");
}

/**
 * Splits the header into directives and converts `private` and `no-store` to lower case. Some caches compare them
 * case-sensitively, although RFC 9111, section 5.2, says otherwise.
 */
function directivesOf(cacheControl: string): string[] {
  const directives = (cacheControl.match(DIRECTIVES) ?? []).map((one) => one.trim());
  return directives.filter((one) => one !== "").map((one) => one.replace(/^(?:private|no-store)$/i, lowerCase));
}

function lowerCase(text: string): string {
  return text.toLowerCase();
}

/**
 * Whether the directives forbid shared caches to store the response. A cache that supports `must-understand` ignores
 * `no-store` if both are present (RFC 9111, section 5.2.2.3).
 */
function forbidsSharing(directives: readonly string[]): boolean {
  if (directives.includes("private")) return true;
  return directives.includes("no-store") && !directives.some((one) => /^must-understand\b/i.test(one));
}
