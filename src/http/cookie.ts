import { kindOf, knownOptions, wholeNumber } from "../base/checks.ts";
import { isToken } from "../base/token.ts";

/** The cookie is always HttpOnly. */
export interface CookieOptions {
  /** Default `__Host-sid`; `__Secure-sid` with a domain or a path; `sid` with `secure: false`. */
  readonly name?: string | undefined;
  /** Default `/`. */
  readonly path?: string | undefined;
  /** Default: none, so that only the host itself gets the cookie. */
  readonly domain?: string | undefined;
  /** Default `lax`. */
  readonly sameSite?: "lax" | "strict" | "none" | undefined;
  /** Default true; `false` is for plain http other than on localhost. */
  readonly secure?: boolean | undefined;
  /** Default false: the cookie is shared by all sites that embed this one. */
  readonly partitioned?: boolean | undefined;
  /**
   * Where the cookie was before its name, path or domain changed, at most 8 scopes: `create` and `destroy` clear it there as
   * well. Default: none.
   */
  readonly previous?: readonly CookieScope[] | undefined;
}

/**
 * The properties that distinguish one cookie from another (RFC 6265bis, section 5.7). A property that is left out has its
 * present value. A scope whose name starts with `__Host-` always has the path `/` and no domain.
 */
export interface CookieScope {
  readonly name?: string | undefined;
  readonly path?: string | undefined;
  /** `null`: the cookie had no domain, though it has one now. */
  readonly domain?: string | null | undefined;
}

/** Reads and writes the session cookie, for code that has no `Request`: server components, sockets, own adapters. */
export interface SessionCookie {
  readonly name: string;
  /** The token in a `Cookie` header; `null` if there is none, it is malformed or given twice with different values. */
  read(header: string | null | undefined): string | null;
  /** The value of the `Set-Cookie` header. `maxAge` in seconds; without it the cookie ends with the browser. */
  write(token: string, maxAge?: number): string;
  /** The value of the `Set-Cookie` header that makes the browser forget the cookie. */
  clear(): string;
  /** The values of the `Set-Cookie` headers that clear the cookie in its `previous` scopes. */
  clearPrevious(): readonly string[];
}

/** 400 days: what browsers keep at most (RFC 6265bis, section 5.5). */
export const MAX_AGE_SECONDS = 34_560_000;

const ACTION = "create a session cookie";
/** The longest name plus value that a browser accepts, and the longest attribute (RFC 6265bis, section 5.7). */
const MAX_COOKIE_BYTES = 4096;
const MAX_ATTRIBUTE_BYTES = 1024;
/** The longest `Cookie` header that is read. */
const MAX_HEADER_LENGTH = 32_768;
/** Servers and proxies limit the size of the headers, and each scope adds a line. */
const MAX_PREVIOUS = 8;
const TOKEN_LENGTH = 66;
/** RFC 9110, section 5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 6265bis, section 4.1.1, without space and comma: URL paths do not contain them, and some parsers trim or split there. */
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
 * Defaults after ASVS 5.0 3.3.1 to 3.3.4: `__Host-sid; Path=/; HttpOnly; Secure; SameSite=Lax`.
 *
 * @throws {TypeError} If an option is not of its kind, or the attributes contradict each other or the name's prefix.
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
  const { name = secure ? (domain === undefined && path === "/" ? "__Host-sid" : "__Secure-sid") : "sid" } = rest;
  const scope: Scope = { name, path, domain };
  checkScope(scope, secure);
  const flags = ["HttpOnly", ...(secure ? ["Secure"] : []), ...(partitioned ? ["Partitioned"] : [])];
  // In the order in which frameworks write attributes, so that one that parses the line and writes it again changes nothing.
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
    read(header: string | null | undefined) {
      const [value, other] = cookieValues(name, header);
      return value !== undefined && other === undefined && isToken(value) ? value : null;
    },
    write(token: string, maxAge?: number) {
      if (!isToken(token)) throw new TypeError("Cannot write a session cookie as the token is malformed");
      if (maxAge !== undefined) wholeNumber("write a session cookie", "maxAge", maxAge, 1, MAX_AGE_SECONDS);
      return line(scope, token, maxAge);
    },
    clear: () => clearing(scope),
    clearPrevious: () => clearingPrevious,
  });
}

/**
 * Returns the distinct values of the cookies of this name, at most the first two: if there are two, nobody can tell which
 * one is right. Nothing is decoded, and only spaces and tabs are trimmed, as browsers do (RFC 6265bis, section 5.6).
 */
export function cookieValues(name: string, header: string | null | undefined): readonly string[] {
  const values: string[] = [];
  if (typeof header !== "string" || header.length > MAX_HEADER_LENGTH) return values;
  let equals = header.indexOf("=");
  for (let start = 0; equals !== -1 && start < header.length; ) {
    const semicolon = header.indexOf(";", start);
    const end = semicolon === -1 ? header.length : semicolon;
    // Searched once, not again for each pair without "=", so that the time stays linear.
    if (equals < start) equals = header.indexOf("=", start);
    if (equals !== -1 && equals < end && trimmed(header, start, equals) === name) {
      const value = trimmed(header, equals + 1, end);
      if (!values.includes(value) && values.push(value) === 2) break;
    }
    start = end + 1;
  }
  return values;
}

function trimmed(text: string, start: number, end: number): string {
  const blank = (at: number): boolean => text[at] === " " || text[at] === "\t";
  while (start < end && blank(start)) start++;
  while (end > start && blank(end - 1)) end--;
  return text.slice(start, end);
}

/**
 * Whether a browser that receives this line of `Set-Cookie` would send a value under this name. A line with an empty value
 * only clears. A browser sends a cookie without a name as its value alone, which may look like a pair, even an empty one
 * (RFC 6265bis, sections 5.6 and 5.8.3).
 */
export function setsCookie(name: string, line: string): boolean {
  const [pair = ""] = line.split(";", 1);
  const nameless = trimmed(pair, 0, pair.length).startsWith("=");
  const start = nameless ? pair.indexOf("=") + 1 : 0;
  const equals = pair.indexOf("=", start);
  if (equals === -1 || trimmed(pair, start, equals) !== name) return false;
  return nameless || trimmed(pair, equals + 1, pair.length) !== "";
}

// ------------------------------------------------------------------------------------------ checks

function refuse(why: string): never {
  throw new TypeError(`Cannot ${ACTION} as ${why}`);
}

function checkFlags(given: Pick<CookieOptions, "sameSite" | "secure" | "partitioned">): void {
  const { sameSite, secure, partitioned } = given;
  for (const [option, value] of Object.entries({ secure, partitioned })) {
    if (typeof value !== "boolean") refuse(`${option} must be true or false: received ${kindOf(value)}`);
  }
  if (typeof sameSite !== "string" || !Object.hasOwn(SAME_SITE, sameSite)) {
    refuse('sameSite must be "lax", "strict" or "none"');
  }
  if (!secure && sameSite === "none") refuse("sameSite none needs secure");
  if (!secure && partitioned) refuse("partitioned needs secure");
}

/** Browsers compare prefixes without regard to case (RFC 6265bis, section 5.4). */
function checkScope({ name, path, domain }: Scope, secure: boolean): void {
  if (typeof path !== "string" || !PATH.test(path) || path.length > MAX_ATTRIBUTE_BYTES) {
    refuse("path must begin with / and hold no control character, space, semicolon, comma or character beyond ASCII");
  }
  if (domain !== undefined && (typeof domain !== "string" || !HOST.test(domain) || /^[0-9.]+$/.test(domain))) {
    refuse("domain must be a host name in ASCII without a leading dot, and no IP address");
  }
  if (typeof name !== "string" || !NAME.test(name) || name === "__proto__") {
    refuse("name must be a token of RFC 9110: letters, digits and !#$%&'*+-.^_`|~");
  }
  if (name.length + TOKEN_LENGTH > MAX_COOKIE_BYTES) {
    refuse(`name must leave room for the token in ${MAX_COOKIE_BYTES} bytes`);
  }
  if (HOST_PREFIX.test(name) && !(secure && domain === undefined && path === "/")) {
    refuse("a name with __Host- needs secure, the path / and no domain");
  }
  if (/^__(secure|http)-/i.test(name) && !secure) refuse("a name with __Secure- or __Http- needs secure");
}

function previousScopes(given: readonly CookieScope[], present: Scope, secure: boolean): Scope[] {
  if (!Array.isArray(given)) refuse(`previous must be an array: received ${kindOf(given)}`);
  if (given.length > MAX_PREVIOUS)
    refuse(`previous must hold at most ${MAX_PREVIOUS} scopes: received ${given.length}`);
  const known = new Set([identityOf(present)]);
  return Array.from(given, (one: CookieScope) => {
    const { name = present.name, ...rest } = knownOptions(ACTION, one, ["name", "path", "domain"]);
    const inherited = HOST_PREFIX.test(name) ? { path: "/", domain: undefined } : present;
    const { path = inherited.path, domain = inherited.domain } = rest;
    const scope: Scope = { name, path, domain: domain ?? undefined };
    checkScope(scope, secure);
    if (known.has(identityOf(scope))) {
      refuse(
        `a previous scope must differ from the present one and from the others: received ${JSON.stringify(scope)}`,
      );
    }
    known.add(identityOf(scope));
    return scope;
  });
}

function identityOf({ name, path, domain }: Scope): string {
  return JSON.stringify([name, path, domain?.toLowerCase()]);
}
