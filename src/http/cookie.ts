import { kindOf, knownOptions, ofType } from "../base/checks.ts";
import { type Duration, seconds } from "../base/durations.ts";
import { isToken, type SessionToken } from "../base/token.ts";
import { cookieValues } from "./cookie-header.ts";

/** Options for the session cookie, which is always HttpOnly. */
export interface CookieOptions {
  /**
   * The cookie name. Default: `__Host-Http-sid`; `__Http-sid` with a domain or a path; `sid` with `secure: false`. Browsers
   * that know the prefix accept such a cookie only from a `Set-Cookie` header with `HttpOnly`, so no script can plant it
   * (RFC 6265bis, section 4.1.3). Other browsers apply the rules of `__Host-` to the first name.
   */
  readonly name?: string | undefined;
  /** The path of the cookie. Default: `/`. */
  readonly path?: string | undefined;
  /** The domain of the cookie. Default: none, so browsers send the cookie only to the host that set it. */
  readonly domain?: string | undefined;
  /** The `SameSite` attribute. Default: `lax`. */
  readonly sameSite?: "lax" | "strict" | "none" | undefined;
  /**
   * Whether the cookie is sent only over https. Default: true. Chrome and Firefox also keep such a cookie on
   * `http://localhost`, Safari does not. Set it to `false` by a variable that only a developer's machine sets.
   */
  readonly secure?: boolean | undefined;
  /** Whether each site that embeds this one gets a cookie of its own (`Partitioned`). Default: false. */
  readonly partitioned?: boolean | undefined;
  /**
   * The former names, paths and domains of the cookie; at most 8 scopes. `create` and `destroy` also clear the cookie
   * in these scopes. Default: none.
   */
  readonly previous?: readonly CookieScope[] | undefined;
}

/**
 * The properties that distinguish one cookie from another (RFC 6265bis, section 5.7). An omitted property has its
 * current value. A scope whose name starts with `__Host-` always has the path `/` and no domain.
 */
export interface CookieScope {
  readonly name?: string | undefined;
  readonly path?: string | undefined;
  /** `null` if the cookie had no domain. */
  readonly domain?: string | null | undefined;
}

/** Reads and writes the session cookie, for code without a `Request`: server components, sockets, custom adapters. */
export interface SessionCookie {
  readonly name: string;
  /**
   * The attributes, for cookie jars of frameworks: `jar.set(cookie.name, token, cookie.attributes)`. To clear the cookie,
   * set an empty value and add `maxAge: 0`.
   */
  readonly attributes: {
    readonly httpOnly: true;
    readonly secure: boolean;
    readonly sameSite: "lax" | "strict" | "none";
    readonly path: string;
    readonly domain?: string;
    readonly partitioned?: true;
  };
  /** Returns the token in a `Cookie` header; `null` if it is missing, malformed, or there are two different values. */
  read(header: string | null | undefined): SessionToken | null;
  /**
   * Returns the value of the `Set-Cookie` header that sets the cookie. Without `maxAge` (whole seconds, at most
   * 400 days), the browser deletes the cookie when it closes.
   */
  write(token: SessionToken, maxAge?: Duration): string;
  /** Returns the value of the `Set-Cookie` header that clears the cookie. */
  clear(): string;
  /** Returns the values of the `Set-Cookie` headers that clear the cookie in its `previous` scopes. */
  clearPrevious(): readonly string[];
}

/** The maximum lifetime of a cookie in browsers: 400 days (RFC 6265bis, section 5.5). */
export const MAX_AGE_SECONDS = 34_560_000;

const ACTION = "create a session cookie";
/** The maximum length of name and value together in browsers (RFC 6265bis, section 5.7). */
const MAX_COOKIE_BYTES = 4096;
/** The maximum length of an attribute in browsers (RFC 6265bis, section 5.7). */
const MAX_ATTRIBUTE_BYTES = 1024;
/**
 * The maximum number of previous scopes. Each adds a header line, and servers and proxies limit the size of headers.
 */
const MAX_PREVIOUS = 8;
const TOKEN_LENGTH = 66;
/** A cookie name: a token as defined in RFC 9110, section 5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/**
 * A cookie path: as in RFC 6265bis, section 4.1.1, but without space and comma. URL paths do not contain them, and some
 * parsers trim or split there.
 */
const PATH = /^\/[\x21-\x2b\x2d-\x3a\x3c-\x7e]*$/;
const HOST = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const HOST_PREFIX = /^__host-/i;
const SAME_SITE = { lax: "Lax", strict: "Strict", none: "None" } as const;

interface Scope {
  readonly name: string;
  readonly path: string;
  readonly domain: string | undefined;
}

/**
 * Creates the functions that read and write the session cookie. The defaults follow ASVS 5.0 3.3.1 to 3.3.4:
 * `__Host-Http-sid; Path=/; HttpOnly; Secure; SameSite=Lax`.
 *
 * @throws {TypeError} If an option is unknown or has an invalid value, or if the attributes contradict each other or
 * the prefix of the name.
 */
export function sessionCookie(options: CookieOptions = {}): SessionCookie {
  const {
    path = "/",
    domain,
    sameSite = "lax",
    secure = true,
    partitioned = false,
    previous = [],
    ...rest
  } = knownOptions(ACTION, options, ["name", "path", "domain", "sameSite", "secure", "partitioned", "previous"]);
  checkFlags({ sameSite, secure, partitioned });
  const { name = secure ? (domain === undefined && path === "/" ? "__Host-Http-sid" : "__Http-sid") : "sid" } = rest;
  const scope: Scope = { name, path, domain };
  checkScope(scope, secure);
  const flags = ["HttpOnly", ...(secure ? ["Secure"] : []), ...(partitioned ? ["Partitioned"] : [])];
  // The attributes are in the order of frameworks, so one that parses and rewrites the line does not change it.
  const line = ({ name, path, domain }: Scope, value: string, maxAge?: number, expires?: string): string =>
    [
      `${name}=${value}`,
      ...(maxAge === undefined ? [] : [`Max-Age=${maxAge}`]),
      ...(domain === undefined ? [] : [`Domain=${domain}`]),
      `Path=${path}`,
      ...(expires === undefined ? [] : [`Expires=${expires}`]),
      ...flags,
      `SameSite=${SAME_SITE[sameSite]}`,
    ].join("; ");
  const clearing = (one: Scope): string => line(one, "", 0, "Thu, 01 Jan 1970 00:00:00 GMT");
  const clearingPrevious = Object.freeze(previousScopes(previous, scope, secure).map(clearing));

  return Object.freeze({
    name,
    attributes: Object.freeze({
      httpOnly: true,
      secure,
      sameSite,
      path,
      ...(domain === undefined ? {} : { domain }),
      ...(partitioned ? { partitioned } : {}),
    }),
    read(header: string | null | undefined) {
      const [value, other] = cookieValues(name, header);
      return value !== undefined && other === undefined && isToken(value) ? value : null;
    },
    write(token: SessionToken, maxAge?: Duration) {
      if (!isToken(token)) throw new TypeError("Cannot write a session cookie as the token is malformed");
      if (maxAge === undefined) return line(scope, token);
      return line(scope, token, seconds("write a session cookie", "maxAge", maxAge, MAX_AGE_SECONDS));
    },
    clear: () => clearing(scope),
    clearPrevious: () => clearingPrevious,
  });
}

// ------------------------------------------------------------------------------------------ checks

function refuse(why: string): never {
  throw new TypeError(`Cannot ${ACTION} as ${why}`);
}

function checkFlags(given: Pick<CookieOptions, "sameSite" | "secure" | "partitioned">): void {
  const { sameSite, secure, partitioned } = given;
  for (const [option, value] of Object.entries({ secure, partitioned })) {
    ofType(ACTION, option, value, "boolean");
  }
  if (typeof sameSite !== "string" || !Object.hasOwn(SAME_SITE, sameSite)) {
    refuse('sameSite must be "lax", "strict" or "none"');
  }
  if (!secure && sameSite === "none") refuse('sameSite "none" requires secure: true');
  if (!secure && partitioned) refuse("partitioned requires secure: true");
}

/**
 * Checks name, path and domain. Browsers compare the prefix of a name case-insensitively (RFC 6265bis, section 5.4).
 */
function checkScope({ name, path, domain }: Scope, secure: boolean): void {
  if (typeof path !== "string" || !PATH.test(path) || path.length > MAX_ATTRIBUTE_BYTES) {
    refuse(
      "path must begin with / and have at most 1024 printable ASCII characters without space, semicolon and comma",
    );
  }
  if (domain !== undefined && (typeof domain !== "string" || !HOST.test(domain) || /^[0-9.]+$/.test(domain))) {
    refuse("domain must be an ASCII host name, without a leading dot and not an IP address");
  }
  if (typeof name !== "string" || !NAME.test(name) || name === "__proto__") {
    refuse("name must consist of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110, section 5.6.2)");
  }
  const longest = MAX_COOKIE_BYTES - TOKEN_LENGTH;
  if (name.length > longest) refuse(`name must have at most ${longest} characters: received ${name.length}`);
  if (HOST_PREFIX.test(name) && !(secure && domain === undefined && path === "/")) {
    refuse("a name that begins with __Host- requires secure: true, the path / and no domain");
  }
  if (/^__(secure|http)-/i.test(name) && !secure)
    refuse("a name that begins with __Secure- or __Http- requires secure: true");
}

function previousScopes(given: readonly CookieScope[], present: Scope, secure: boolean): Scope[] {
  if (!Array.isArray(given)) refuse(`previous must be an array: received ${kindOf(given)}`);
  if (given.length > MAX_PREVIOUS)
    refuse(`previous must contain at most ${MAX_PREVIOUS} scopes: received ${given.length}`);
  const known = new Set([identityOf(present)]);
  return Array.from(given, (one: CookieScope) => {
    const { name = present.name, ...rest } = knownOptions(ACTION, one, ["name", "path", "domain"]);
    const inherited = HOST_PREFIX.test(name) ? { path: "/", domain: undefined } : present;
    const { path = inherited.path, domain = inherited.domain } = rest;
    const scope: Scope = { name, path, domain: domain ?? undefined };
    checkScope(scope, secure);
    if (known.has(identityOf(scope))) {
      refuse(
        `each scope in previous must differ from the current scope and from the others: received ${JSON.stringify(scope)}`,
      );
    }
    known.add(identityOf(scope));
    return scope;
  });
}

function identityOf({ name, path, domain }: Scope): string {
  return JSON.stringify([name, path, domain?.toLowerCase()]);
}
