import { kindOf } from "../base/checks.ts";

/** The scheme is case-insensitive (RFC 9110, section 11.1). Two headers, which are joined by a comma, do not match. */
const BEARER = /^bearer +([A-Za-z0-9._-]+)$/i;

/** The parts of a request that are used. `c.req` of Hono and the request of Express have them. */
export interface SessionRequest {
  /** The method, in upper case. */
  readonly method: string;
  /** The URL: absolute, or only its path and query. Without a host, only the `Host` header names the host. */
  readonly url: string;
  /** The path, beginning with its slash, without the query. */
  readonly path: string;
  /** Returns a header by its name in lower case. Several lines are joined as HTTP joins them (RFC 9110, section 5.3). */
  header(name: string): string | null | undefined;
}

/**
 * Adapts a web-standard request.
 *
 * @throws {TypeError} If it is not one.
 */
export function webRequest(request: Request): SessionRequest {
  if (typeof request?.headers?.get !== "function") {
    throw new TypeError(`Cannot handle a request as it must be a web-standard Request: received ${kindOf(request)}`);
  }
  // Some servers compute these properties on demand.
  return {
    get method() {
      return request.method;
    },
    get url() {
      return request.url;
    },
    get path() {
      return URL.parse(request.url)?.pathname ?? request.url;
    },
    header: (name) => request.headers.get(name),
  };
}

/**
 * Reads a header that may contain a session token.
 *
 * @throws {TypeError} If the request is not a `SessionRequest`, or the header is neither a string nor absent.
 */
export function tokenHeader(request: SessionRequest, name: "Cookie" | "Authorization"): string {
  if (typeof request?.header !== "function") {
    throw new TypeError(
      `Cannot begin a session exchange as the request must have method, url, path and header(name): received ${kindOf(request)}`,
    );
  }
  let header: string;
  try {
    header = request.header(name.toLowerCase()) ?? "";
  } catch (cause) {
    throw new TypeError("Cannot handle a request as its headers cannot be read", { cause });
  }
  if (typeof header !== "string") {
    throw new TypeError(
      `Cannot read the session token as the ${name} header must be a string: received ${kindOf(header)}`,
    );
  }
  return header;
}

/** Returns the token in an `Authorization` header (RFC 6750, section 2.1); `null` if there is none. */
export function bearerToken(authorization: string): string | null {
  return BEARER.exec(authorization)?.[1] ?? null;
}
