/**
 * Read by shared caches in place of `Cache-Control` and `Expires`, which they then ignore (RFC 9213, section 2.2), whatever
 * those say: the standard field, and those of Fastly and others, Cloudflare, Vercel and Netlify.
 */
const SHARED_CACHE_FIELDS = [
  "CDN-Cache-Control",
  "Surrogate-Control",
  "Cloudflare-CDN-Cache-Control",
  "Vercel-CDN-Cache-Control",
  "Netlify-CDN-Cache-Control",
];

/** By commas that are not within quotes. */
const DIRECTIVES = /(?:[^,"]|"[^"]*"?)+/g;

/**
 * What an answer that depends on the session says to caches, as far as it does not say so already: no shared cache stores
 * it, and with a session cookie none does, as `Set-Cookie` alone prevents nothing (RFC 9111, section 7.3; ASVS 5.0
 * 14.2.2). `Expires` may stay: `no-store` and `private` forbid more than it allows.
 */
export function cachingHeaders(answer: Headers, withCookie: boolean): (readonly [name: string, value: string])[] {
  const headers: [string, string][] = [];
  const cacheControl = cacheControlOf(answer.get("cache-control") ?? "", withCookie);
  if (cacheControl !== null) headers.push(["Cache-Control", cacheControl]);
  for (const name of SHARED_CACHE_FIELDS) {
    const given = answer.get(name);
    if (given !== null && given.trim().toLowerCase() !== "no-store") headers.push([name, "no-store"]);
  }
  const vary = answer.get("vary") ?? "";
  const names = vary.split(",").map((name) => name.trim().toLowerCase());
  if (!names.includes("*") && !names.includes("cookie")) headers.push(["Vary", vary ? `${vary}, Cookie` : "Cookie"]);
  return headers;
}

/** Whether the answer itself says that no shared cache may store it. */
export function isPrivate(answer: Headers): boolean {
  const directives = (answer.get("cache-control") ?? "").match(DIRECTIVES) ?? [];
  return directives.some((directive) => /^(private|no-store)$/i.test(directive.trim()));
}

/** `null` if what is given is enough. */
function cacheControlOf(given: string, withCookie: boolean): string | null {
  const directives = (given.match(DIRECTIVES) ?? []).map((directive) => directive.trim()).filter((one) => one !== "");
  const has = (name: string): boolean => directives.some((one) => one.toLowerCase() === name);
  const shared = directives.findIndex(isShared);
  if (withCookie) return has("no-store") && shared === -1 ? null : "no-store";
  if (directives.length === 0) return "private";
  if (shared === -1) return null;
  const kept = has("private") ? directives : directives.with(shared, "private");
  return kept.filter((one) => !isShared(one)).join(", ");
}

/** Either allows a shared cache to store the answer (RFC 9111, sections 5.2.2.9 and 5.2.2.10). */
function isShared(directive: string): boolean {
  return /^(public|s-maxage)\s*(=|$)/i.test(directive);
}
