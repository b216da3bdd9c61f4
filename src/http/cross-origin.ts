import { kindOf, knownOptions } from "../base/checks.ts";

/** Are unsafe requests from other origins refused, and from which are they not? */
export type CrossOriginProtection = boolean | CrossOriginOptions;

/** Of `crossOriginProtection`. */
export interface CrossOriginOptions {
  /** As browsers send them in `Origin`: `https://accounts.example`, `https://app.example:8443`. */
  readonly trustedOrigins: readonly string[];
}

/** What of a request says where it comes from. A `Request` fits. */
export interface OriginatedRequest {
  readonly method: string;
  /** An absolute URL, of which only the host and the port count. */
  readonly url: string;
  readonly headers: { get(name: string): string | null };
}

const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/**
 * The check that `sessionMiddleware` makes before anything else, for code that has no `Request`. The rule is that of Go's
 * `net/http.CrossOriginProtection`; a request passes
 *
 * - with a safe method: GET, HEAD or OPTIONS, which must change nothing. An upgrade to a WebSocket is a GET, too;
 * - from a trusted origin;
 * - if the browser says `Sec-Fetch-Site: same-origin` or `none`. A sibling host, `same-site`, is another origin;
 * - if it has no `Sec-Fetch-Site`, which is so in browsers before 2023 and over plain http, and its `Origin` has the
 *   host and port of its URL. The scheme is not compared: behind a proxy that ends TLS it is not known. HSTS keeps pages
 *   of the same host in plain http away;
 * - if it has neither header: no browser sent it.
 *
 * SameSite cookies do not make this needless: they are sent by sibling hosts and other ports, and a login needs none.
 *
 * @returns Does the request pass?
 * @throws {TypeError} If an option is unknown or a trusted origin is not spelt as browsers spell it.
 */
export function crossOriginProtection(options: CrossOriginProtection = true): (request: OriginatedRequest) => boolean {
  if (options === false) return () => true;
  const trusted = options === true ? new Set<string>() : trustedOriginsOf(options);

  return ({ method, url, headers }) => {
    if (SAFE_METHODS.includes(method)) return true;
    const site = headers.get("sec-fetch-site");
    const origin = headers.get("origin");
    if (origin && trusted.has(origin)) return true;
    if (site) return site === "same-origin" || site === "none";
    return !origin || isOfHost(origin, url);
  };
}

/** An opaque origin, `null`, has no host. */
function isOfHost(origin: string, url: string): boolean {
  const from = URL.parse(origin);
  return from !== null && from.host !== "" && from.host === URL.parse(url)?.host;
}

function trustedOriginsOf(options: CrossOriginOptions): Set<string> {
  const action = "create a cross-origin protection";
  const { trustedOrigins } = knownOptions(action, options, ["trustedOrigins"]);
  if (!Array.isArray(trustedOrigins)) {
    throw new TypeError(`Cannot ${action} as trustedOrigins must be an array: received ${kindOf(trustedOrigins)}`);
  }
  // What is not spelt as in the header would never be equal to it.
  for (const origin of trustedOrigins) {
    if (typeof origin !== "string") {
      throw new TypeError(`Cannot ${action} as a trusted origin must be a string: received ${kindOf(origin)}`);
    }
    const url = URL.parse(origin);
    if (url === null || url.host === "" || url.origin !== origin || origin.includes("*")) {
      throw new TypeError(
        `Cannot ${action} as a trusted origin must be scheme://host[:port] in lower case, without a default port, a path or a wildcard: received ${JSON.stringify(origin)}`,
      );
    }
  }
  return new Set(trustedOrigins);
}
