import { kindOf, knownOptions } from "../base/checks.ts";
import type { SessionRequest } from "./request.ts";

/** Whether unsafe cross-origin requests are rejected, and which origins are exempt. */
export type CrossOriginProtection = boolean | CrossOriginOptions;

/** Options for `crossOriginProtection`. */
export interface CrossOriginOptions {
  /**
   * The exempt origins, spelled as browsers send them in `Origin`: `https://accounts.example`,
   * `https://app.example:8443`, `capacitor://localhost`, `chrome-extension://<id>`.
   */
  readonly trustedOrigins: readonly string[];
}

const SAFE_METHODS = ["GET", "HEAD", "OPTIONS"];

/** Origins of apps and browser extensions. URL parsers do not know their schemes and report the origin `null`. */
const APP_ORIGIN = /^(?!(?:https?|wss?|ftp|file|data|blob|about|javascript):)[a-z][a-z0-9+.-]*:\/\/[a-z0-9[\]:._~-]+$/;

/**
 * Creates the check that `sessionMiddleware` makes before anything else, for code without it. The rule is that
 * of Go's `net/http.CrossOriginProtection`, extended to WebSockets. A request passes if one of these holds:
 *
 * - It has a safe method, which must change nothing: GET, HEAD or OPTIONS. A WebSocket handshake is not safe, although
 *   it is a GET: browsers send it with cookies from any page, and let the page read the replies.
 * - It comes from a trusted origin.
 * - Its `Sec-Fetch-Site` is `same-origin` or `none`. The value `same-site`, for a sibling host, does not pass.
 * - It has no `Sec-Fetch-Site`, and its `Origin` has the host and port of its URL or of its `Host` header.
 *   `Sec-Fetch-Site` is missing in browsers before 2023, over plain http and in the WebSocket handshakes of Chromium.
 *   The scheme is not compared, because it is unknown behind a proxy that terminates TLS. HSTS protects against
 *   plain-http pages of the same host.
 * - It has neither header, so no browser sent it.
 *
 * SameSite cookies do not replace this check: browsers also send them from sibling hosts and other ports, and a forged
 * login needs no cookie at all.
 *
 * @returns A function that returns whether a request passes.
 * @throws {TypeError} If an option is unknown or a trusted origin is not spelled as browsers spell it.
 */
export function crossOriginProtection(
  options: CrossOriginProtection = true,
): (request: Omit<SessionRequest, "path">) => boolean {
  if (options === false) return () => true;
  const trusted = options === true ? new Set<string>() : trustedOriginsOf(options);

  return (request) => {
    if (SAFE_METHODS.includes(request.method) && !isWebSocketHandshake(request.header("upgrade"))) return true;
    const site = request.header("sec-fetch-site");
    const origin = request.header("origin");
    if (origin && trusted.has(origin)) return true;
    if (site) return site === "same-origin" || site === "none";
    return !origin || isSameHost(origin, [URL.parse(request.url)?.host, request.header("host")]);
  };
}

/**
 * Whether the request is a WebSocket handshake. `Upgrade` is a list and is case-insensitive (RFC 9110, section 7.8).
 * Over HTTP/2 the handshake has the method CONNECT, which is not safe.
 */
function isWebSocketHandshake(upgrade: string | null | undefined): boolean {
  return /\bwebsocket\b/i.test(upgrade ?? "");
}

/**
 * Whether the origin has one of the hosts, that of the URL or that of the `Host` header. Both are equally reliable: the
 * server sets the URL and the browser sets `Host`, so a page of another site can choose neither. An opaque origin,
 * `null`, has no host.
 */
function isSameHost(origin: string, hosts: readonly (string | null | undefined)[]): boolean {
  const from = URL.parse(origin);
  if (from === null || !/^https?:$/.test(from.protocol)) return false;
  // Parsed with the scheme of the origin, so that a default port makes no difference.
  return hosts.some(
    (host) => host && /^[^\s/?#@\\]+$/.test(host) && URL.parse(`${from.protocol}//${host}`)?.host === from.host,
  );
}

function trustedOriginsOf(options: CrossOriginOptions): Set<string> {
  const action = "create the cross-origin protection";
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

/** Whether the text is an origin as browsers spell it. Any other spelling would never equal the header. */
function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  if (url === null) return false;
  return /^https?:$/.test(url.protocol)
    ? url.origin === text && !text.includes("*")
    : APP_ORIGIN.test(text) && url.href === text;
}
