/**
 * A response header to set. It replaces every line of that name: one line for each value, and without values the header
 * is removed. For `Set-Cookie` all lines are listed, including those of the handler.
 */
export type AnswerHeader = readonly [name: string, ...values: string[]];

/** Headers that a shared cache follows instead of `Cache-Control` and `Expires`: nginx, Akamai, Fastly and LiteSpeed. */
const OVERRIDING = new Set(["x-accel-expires", "edge-control", "surrogate-control", "x-litespeed-cache-control"]);

/** How the names of such headers for a kind of CDN end (RFC 9213, section 3.1). */
const TARGETED = "cdn-cache-control";

/** Splits at commas outside of quotes. A quote that is not closed reaches to the end. */
const DIRECTIVES = /(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g;

/**
 * `public` and `s-maxage` let a shared cache store the response (RFC 9111, sections 5.2.2.9 and 5.2.2.10). An empty list
 * of fields is malformed, and some caches read it as taking back the directive without one.
 */
const MISLEADING = /^(?:(?:public|s-maxage)\s*(?:=.*)?|(?:private|no-store)\s*=\s*(?:"\s*"?)?)$/i;

/**
 * Returns the headers that keep a response which depends on the session out of caches, as far as the response does not
 * have them yet. No shared cache stores it; with a session cookie no cache does, because `Set-Cookie` by itself does not
 * prevent storing (RFC 9111, section 7.3; ASVS 5.0 14.2.2). `Expires` may stay: `private` and `no-store` override it.
 */
export function cachingHeaders(answer: Headers, withCookie: boolean): AnswerHeader[] {
  const headers: AnswerHeader[] = overridingHeaders(answer).map((name) => [name]);
  const given = answer.get("cache-control") ?? "";
  const cacheControl = withCookie ? "no-store" : privateControl(given);
  if (cacheControl !== given) headers.push(["Cache-Control", cacheControl]);
  const vary = answer.get("vary") ?? "";
  const names = vary.split(",").map((name) => name.trim().toLowerCase());
  if (!names.includes("*") && !names.includes("cookie")) headers.push(["Vary", vary ? `${vary}, Cookie` : "Cookie"]);
  return headers;
}

/** Whether the response already forbids shared caches to store it, by `no-store` or by `private` without a list of fields. */
export function isPrivate(answer: Headers): boolean {
  return forbidsSharing(directivesOf(answer.get("cache-control") ?? "")) && overridingHeaders(answer).length === 0;
}

function overridingHeaders(answer: Headers): string[] {
  const names: string[] = [];
  // Of the ways to walk through headers, this one is fast on Node, Bun and Deno.
  answer.forEach((_, name) => {
    if (OVERRIDING.has(name) || name.endsWith(TARGETED)) names.push(name);
  });
  return names;
}

/**
 * Adds `private` in front, where no quote left open can hide it. Everything else that was said lets a shared cache store
 * the response: `max-age` and `Expires`, `no-cache`, and even nothing at all (RFC 9111, sections 3 and 4.2.2).
 */
function privateControl(given: string): string {
  if (given === "") return "private";
  const directives = directivesOf(given).filter((one) => !MISLEADING.test(one));
  return (forbidsSharing(directives) ? directives : ["private", ...directives]).join(", ");
}

/** `private` and `no-store` in lower case: some caches compare by case, though RFC 9111, section 5.2, says otherwise. */
function directivesOf(cacheControl: string): string[] {
  const directives = (cacheControl.match(DIRECTIVES) ?? []).map((one) => one.trim());
  return directives.filter((one) => one !== "").map((one) => one.replace(/^(?:private|no-store)$/i, lowerCase));
}

function lowerCase(text: string): string {
  return text.toLowerCase();
}

/** A cache that knows `must-understand` ignores `no-store` beside it (RFC 9111, section 5.2.2.3). */
function forbidsSharing(directives: readonly string[]): boolean {
  if (directives.includes("private")) return true;
  return directives.includes("no-store") && !directives.some((one) => /^must-understand\b/i.test(one));
}
