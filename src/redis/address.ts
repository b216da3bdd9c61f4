export const ACTION = "connect to Redis";

/** Who a connection is. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** Those that are given, as node-redis takes them. */
export function credentialsOf({ username, password }: Credentials): { username?: string; password?: string } {
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
}

/** What the URL of a server says. */
export interface ServerAddress extends Credentials {
  readonly host: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly tls: boolean;
}

/** @throws {TypeError} If there is none, they do not agree whether to use TLS, or name a database. */
export function parseAddresses(urls: readonly string[]): readonly [ServerAddress, ...ServerAddress[]] {
  const [first, ...others] = (Array.isArray(urls) ? urls : []).map((url) => parseAddress(url, ["redis:", "rediss:"]));
  if (first === undefined) throw malformed("it names no node");
  if (others.some(({ tls }) => tls !== first.tls)) throw malformed("either all nodes use rediss: or none does");
  if ([first, ...others].some(({ path }) => path.length > 1)) throw malformed("a node has no database of its own");
  return [first, ...others];
}

/** @throws {TypeError} If it is no such URL. */
export function parseAddress(address: string, protocols: readonly string[]): ServerAddress {
  const protocol = protocols.find((protocol) => String(address).startsWith(`${protocol}//`));
  // No standard URL has a user and no host.
  const url = protocol === undefined ? null : URL.parse(address.replace(/^(unix:\/\/(?:[^/?#]*@)?)\//, "$1socket/"));
  if (url === null || url.hostname === "" || !isEncoded(address)) {
    throw malformed(`an address must be a URL that begins with ${protocols.join(", ")}`);
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

/** Does not repeat an address, which may hold a password. */
export function malformed(why: string): TypeError {
  return new TypeError(`Cannot ${ACTION} as ${why}`);
}
