import { kindOf } from "../base/checks.ts";

/** Completes "Cannot <action> as ..." in the error messages of `connectRedis`. */
export const ACTION = "connect to Redis";

/** A user name and a password of Redis or of a sentinel. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** Returns the credentials without those that are `undefined`. */
export function credentialsOf({ username, password }: Credentials): { username?: string; password?: string } {
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
}

/** The parts of a server's URL. */
export interface ServerAddress extends Credentials {
  readonly host: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly tls: boolean;
}

/**
 * Parses the URLs of cluster nodes or of sentinels.
 *
 * @param name The option that holds them, for error messages.
 * @throws {TypeError} If there is no URL, a URL is malformed or selects a database, or only some of them use TLS.
 */
export function parseAddresses(name: string, urls: readonly string[]): readonly [ServerAddress, ...ServerAddress[]] {
  if (!Array.isArray(urls)) throw malformed(`${name} must be an array of URLs: received ${kindOf(urls)}`);
  const [first, ...others] = urls.map((url) => parseAddress(url, ["redis:", "rediss:"]));
  if (first === undefined) throw malformed(`${name} must hold at least one URL: received an empty array`);
  if (others.some(({ tls }) => tls !== first.tls)) {
    throw malformed(`${name} mixes redis: and rediss: URLs: use rediss: for all nodes or for none`);
  }
  if ([first, ...others].some(({ path }) => path.length > 1)) {
    throw malformed(`a URL in ${name} selects a database, which only a single server has: remove its path`);
  }
  return [first, ...others];
}

/**
 * Parses the URL of a server.
 *
 * @throws {TypeError} If it is malformed or has another protocol.
 */
export function parseAddress(address: string, protocols: readonly string[]): ServerAddress {
  const protocol = protocols.find((protocol) => String(address).startsWith(`${protocol}//`));
  // URL.parse() rejects a user name without a host, as in unix://user@/path, so a host is inserted.
  const url = protocol === undefined ? null : URL.parse(address.replace(/^(unix:\/\/(?:[^/?#]*@)?)\//, "$1socket/"));
  if (url === null || url.hostname === "" || !isEncoded(address)) {
    throw malformed(`the address must be a valid URL that begins with ${protocols.join(" or ")}`);
  }
  const text = (part: string): string | undefined => (part === "" ? undefined : decodeURIComponent(part));
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? undefined : Number(url.port),
    path: url.pathname,
    username: text(url.username),
    password: text(url.password),
    tls: protocol === "rediss:",
  };
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** Builds the error for a malformed address. Callers must not quote the address, as it may contain a password. */
export function malformed(why: string): TypeError {
  return new TypeError(`Cannot ${ACTION} as ${why}`);
}
