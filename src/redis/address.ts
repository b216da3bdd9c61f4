import { kindOf } from "../base/checks.ts";
import { type AddressParameters, parametersOf } from "./address-parameters.ts";
import { malformed } from "./connection-errors.ts";

/**
 * The address of Redis, in one of three forms:
 *
 * - the URL of a single server: `redis://`, `rediss://` (TLS) or `unix:///path/to/socket`;
 * - the URLs of some nodes of a cluster;
 * - the URLs of the sentinels and the name under which they know the primary.
 *
 * A URL may contain a user name and a password, percent-encoded. The URL of a single server may also select a database:
 * `redis://host/1`, `unix:///path/to/socket?db=1`. `?family=4`, `6` or `0` has the meaning of the option `family`. Any
 * other parameter is refused.
 */
export type RedisAddress =
  | string
  | { readonly cluster: readonly string[] }
  | { readonly sentinel: { readonly name: string; readonly nodes: readonly string[] } };

/** A user name and a password of Redis or of a sentinel. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** The parts of a server's URL. */
export interface ServerAddress extends Credentials, AddressParameters {
  /** The host name or IP address; for a Unix socket its path. */
  readonly host: string;
  readonly port: number;
  readonly isSocket: boolean;
  readonly tls: boolean;
}

/**
 * Parses the URL of a single server.
 *
 * @throws {TypeError} If it is malformed.
 */
export function parseAddress(url: unknown): ServerAddress {
  return parse(url, ["redis:", "rediss:", "unix:"], 6379);
}

/**
 * Parses the URLs of cluster nodes or of sentinels. Their credentials and their family are the same in all URLs that
 * contain them, and the result has them in its first element.
 *
 * @param name The option that holds them, for error messages.
 * @param defaultPort The port of a URL without one.
 * @throws {TypeError} If there is no URL, a URL is malformed or selects a database, or the URLs contradict each other.
 */
export function parseAddresses(
  name: string,
  urls: readonly string[],
  defaultPort: number,
): readonly [ServerAddress, ...ServerAddress[]] {
  if (!Array.isArray(urls)) throw malformed(`${name} must be an array of URLs: received ${kindOf(urls)}`);
  const [first, ...others] = urls.map((url) => parse(url, ["redis:", "rediss:"], defaultPort));
  if (first === undefined) throw malformed(`${name} must hold at least one URL: received an empty array`);
  const all = [first, ...others];
  if (all.some(({ tls }) => tls !== first.tls)) {
    throw malformed(`${name} mixes redis: and rediss: URLs: use rediss: for all nodes or for none`);
  }
  if (all.some(({ database }) => database !== undefined)) {
    throw malformed(`a URL in ${name} selects a database, which only a single server has: remove its path`);
  }
  const common = <K extends "username" | "password" | "family">(part: K): ServerAddress[K] => {
    const [value, ...more] = new Set(all.map((server) => server[part]).filter((given) => given !== undefined));
    if (more.length > 0) throw malformed(`the URLs in ${name} have different values for the ${part}: use one for all`);
    return value;
  };
  return [
    { ...first, username: common("username"), password: common("password"), family: common("family") },
    ...others,
  ];
}

/** Returns the address for error messages: host and port, without credentials. */
export function placeOf({ host, port, isSocket }: Pick<ServerAddress, "host" | "port" | "isSocket">): string {
  if (isSocket) return host;
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function parse(given: unknown, protocols: readonly string[], defaultPort: number): ServerAddress {
  if (typeof given !== "string") throw malformed(`the address must be a URL: received ${kindOf(given)}`);
  const address = given.trim();
  if (/^["'`]|["'`]$/.test(address))
    throw malformed("the address is in quotes, which are part of the value: remove them");
  const [start = "", scheme = ""] = /^([a-z]+:)\/\//i.exec(address) ?? [];
  const protocol = scheme.toLowerCase();
  if (!protocols.includes(protocol)) {
    const expected = protocols.map((protocol) => `${protocol}//`).join(" or ");
    throw malformed(`the address must be a URL that begins with ${expected}`);
  }
  const rest = address.slice(start.length);
  const isSocket = protocol === "unix:";
  const url = /\s/.test(rest) ? null : parts(rest, isSocket);
  const [username, password, path] = [url?.username, url?.password, url?.pathname].map(decoded);
  if (url == null || username === null || password === null || path === null) {
    throw malformed(
      "its URL cannot be parsed: a user name and a password must be percent-encoded (encodeURIComponent), and there must be a host and a port from 0 to 65535",
    );
  }
  const parameters = parametersOf(url, isSocket);
  return {
    ...parameters,
    database: isSocket ? parameters.database : databaseOf(url.pathname),
    host: isSocket ? (path ?? "") : url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? defaultPort : Number(url.port),
    isSocket,
    username: username || undefined,
    password: password || undefined,
    tls: protocol === "rediss:",
  };
}

/** Returns the parts of an address, or `null` if it is malformed. */
function parts(rest: string, isSocket: boolean): URL | null {
  const [authority = ""] = /^[^/?#]*/.exec(rest) ?? [];
  const after = rest.slice(authority.length);
  // URL.parse() rejects a user name without a host, so a host is inserted.
  if (isSocket)
    return /^(.*@)?$/.test(authority) && after.length > 1 ? URL.parse(`unix://${authority}socket${after}`) : null;
  // Part of a password that contains "/", "?" or "#" would pass for a database or be shown as a host.
  const url = after.includes("@") ? null : URL.parse(`redis://${rest}`);
  // The parser percent-encodes characters that no host name has.
  return url === null || url.hostname === "" || url.hostname.includes("%") ? null : url;
}

/** Returns the decoded text, or `null` if it is not percent-encoded correctly. */
function decoded(text = ""): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function databaseOf(path: string): number | undefined {
  if (path === "" || path === "/") return undefined;
  const [, digits] = /^\/(\d{1,9})$/.exec(path) ?? [];
  if (digits === undefined) throw malformed("the database in its path must be a whole number, as in redis://host/1");
  return Number(digits);
}
