import { kindOf, knownOptions } from "../base/checks.ts";

/** Whether unsafe cross-origin requests are rejected, and which origins are exempt. */
export type CrossOriginProtection = boolean | CrossOriginOptions;

/** Options for `crossOriginProtection`. */
export interface CrossOriginOptions {
  /**
   * As browsers send them in `Origin`: `https://accounts.example`, `https://app.example:8443`, `capacitor://localhost`,
   * `chrome-extension://<id>`.
   */
  readonly trustedOrigins: readonly string[];
}

/** The parts of a request that say where it comes from. A `Request` fits. */
export interface OriginatedRequest {
  readonly method: string;
  /** Only the host and the port count. Without a host, as in `/path`, the `Host` header alone counts. */
  readonly url: string;
  readonly headers: { get(name: string): string | null };
}

const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/** Origins of apps and browser extensions. URL parsers do not know their schemes and give the origin `null`. */
const APP_ORIGIN = /^(?!(?:https?|wss?|ftp|file|data|blob|about|javascript):)[a-z][a-z0-9+.-]*:\/\/[a-z0-9[\]:._~-]+$/;

/**
 * The check that `sessionMiddleware` makes before anything else, for code that has no `Request`. The rule is that of Go's
 * `net/http.CrossOriginProtection`, with WebSockets. A request passes
 *
 * - with a safe method, which must change nothing: GET, HEAD or OPTIONS. A WebSocket handshake is not safe, although it is
 *   a GET: browsers send its cookies from every page and let the page read the answers;
 * - from a trusted origin;
 * - if the browser says `Sec-Fetch-Site: same-origin` or `none`. A sibling host, `same-site`, is another origin;
 * - if it has no `Sec-Fetch-Site`, and its `Origin` has the host and port of its URL or of its `Host` header. `Sec-Fetch-Site`
 *   is missing in browsers before 2023, over plain http and in the WebSocket handshakes of Chromium. The scheme is not
 *   compared, because it is unknown behind a proxy that ends TLS. HSTS protects against plain-http pages of the same host;
 * - if it has neither header: no browser sent it.
 *
 * SameSite cookies do not replace this check: browsers send them for sibling hosts and other ports, and a forged login
 * needs no cookie at all.
 *
 * @returns Whether the request passes.
 * @throws {TypeError} If an option is unknown or a trusted origin is not spelt as browsers spell it.
 */
export function crossOriginProtection(options: CrossOriginProtection = true): (request: OriginatedRequest) => boolean {
  if (options === false) return () => true;
  const trusted = options === true ? new Set<string>() : trustedOriginsOf(options);

  return ({ method, url, headers }) => {
    if (SAFE_METHODS.includes(method) && !isWebSocketHandshake(headers)) return true;
    const site = headers.get("sec-fetch-site");
    const origin = headers.get("origin");
    if (origin && trusted.has(origin)) return true;
    if (site) return site === "same-origin" || site === "none";
    return !origin || isSameHost(origin, [URL.parse(url)?.host, headers.get("host")]);
  };
}

/** The header is a list and has no case (RFC 9110, section 7.8). Over HTTP/2 the method is CONNECT, which is not safe. */
function isWebSocketHandshake(headers: OriginatedRequest["headers"]): boolean {
  return /\bwebsocket\b/i.test(headers.get("upgrade") ?? "");
}

/**
 * Whether the origin has one of the hosts. Either proves the same: both name this server, and a page of another site can
 * choose neither, because the browser sets `Host` and the server sets the URL. An opaque origin, `null`, has no host.
 */
function isSameHost(origin: string, hosts: readonly (string | null | undefined)[]): boolean {
  const from = URL.parse(origin);
  if (from === null || !/^https?:$/.test(from.protocol)) return false;
  // Read with the scheme of the origin, so that its default port is no difference.
  return hosts.some(
    (host) => host && /^[^\s/?#@\\]+$/.test(host) && URL.parse(`${from.protocol}//${host}`)?.host === from.host,
  );
}

function trustedOriginsOf(options: CrossOriginOptions): Set<string> {
  const action = "create a cross-origin protection";
  const { trustedOrigins } = knownOptions(action, options, ["trustedOrigins"]);
  if (!Array.isArray(trustedOrigins)) {
    throw new TypeError(`Cannot ${action} as trustedOrigins must be an array: received ${kindOf(trustedOrigins)}`);
  }
  for (const origin of trustedOrigins) {
    if (typeof origin !== "string") {
      throw new TypeError(`Cannot ${action} as a trusted origin must be a string: received ${kindOf(origin)}`);
    }
    if (!isOrigin(origin)) {
      throw new TypeError(
        `Cannot ${action} as a trusted origin must be scheme://host[:port] in lower case, without a default port, a path or a wildcard: received ${JSON.stringify(origin)}`,
      );
    }
  }
  return new Set(trustedOrigins);
}

/** Whether it is spelt as a browser would spell it: any other spelling would never be equal to the header. */
function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  if (url === null) return false;
  return /^https?:$/.test(url.protocol)
    ? url.origin === text && !text.includes("*")
    : APP_ORIGIN.test(text) && url.href === text;
}
