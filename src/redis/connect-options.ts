import { kindOf, knownOptions, ofType } from "../base/checks.ts";
import { type Duration, milliseconds } from "../base/durations.ts";
import { ACTION, malformed } from "./connection-errors.ts";

/** Options for `connectRedis`, and for `redisBackend` with an address. */
export interface ConnectOptions {
  /**
   * Overrides the user name in the URL. Needs a password, unless it is `default`. With Sentinel, this is the user name of the Redis servers; that of the
   * sentinels goes into the sentinel URLs.
   */
  readonly username?: string | undefined;
  /**
   * Overrides the password in the URL. With Sentinel, this is the password of the Redis servers. A function is called
   * for each connection, also when the client reconnects: for tokens that expire.
   */
  readonly password?: string | (() => string | Promise<string>) | undefined;
  /** TLS options for `rediss://`. Default: the certificate authorities of the system. */
  readonly tls?: RedisTls | undefined;
  /**
   * The version of IP for host names that have addresses of both: 4, 6, or 0 for either. Overrides `?family=` in the
   * URL. Default: 0.
   */
  readonly family?: 0 | 4 | 6 | undefined;
  /**
   * How long to try to establish the first connection. Default: `"10s"`. With `redisBackend`, how long each attempt to do so
   * may take. A connection that breaks later is retried without limit.
   */
  readonly connectTimeout?: Duration | undefined;
  /**
   * Caches sessions in this process until Redis reports a change (client-side caching). Default: false. `get`
   * and `peek` read from the cache until the next touch is due. If you send other commands through this client, do not modify their
   * replies: the cache shares one reply among all callers.
   */
  readonly clientSideCache?: boolean | undefined;
}

/** TLS options, as `tls.connect` of `node:tls` takes them. */
export interface RedisTls {
  /** The certificate authorities to trust instead of those of the system, in PEM format. */
  readonly ca?: string | undefined;
  /** The certificate of the client, in PEM format, if the server requires one. */
  readonly cert?: string | undefined;
  /** The private key of `cert`, in PEM format. */
  readonly key?: string | undefined;
  /** The host name that the server's certificate must have. Default: the host name of the address. */
  readonly servername?: string | undefined;
  /**
   * `false` accepts any certificate. The connection is then encrypted, but whoever can intercept it can pretend to be
   * the server, and read and change all sessions. For providers with self-signed certificates; use `ca` where the
   * provider publishes its certificate authority. Default: true.
   */
  readonly rejectUnauthorized?: boolean | undefined;
}

/** The names of the options. */
export const CONNECT_OPTIONS: readonly (keyof ConnectOptions)[] = [
  "username",
  "password",
  "tls",
  "family",
  "connectTimeout",
  "clientSideCache",
];

const TLS_OPTIONS: readonly (keyof RedisTls)[] = ["ca", "cert", "key", "servername", "rejectUnauthorized"];

/**
 * Checks the options.
 *
 * @throws {TypeError} If an option is unknown or has the wrong type. The message contains no value of an option.
 * @throws {RangeError} If `connectTimeout` is malformed or out of range.
 */
export function checkConnectOptions(options: ConnectOptions): void {
  const { username, password, tls, family, clientSideCache = false } = knownOptions(ACTION, options, CONNECT_OPTIONS);
  text("username", username);
  if (typeof password !== "function") text("password", password, "a string or a function");
  if (tls !== undefined) {
    const { rejectUnauthorized = true, ...texts } = knownOptions(ACTION, tls, TLS_OPTIONS, "tls");
    ofType(ACTION, "tls.rejectUnauthorized", rejectUnauthorized, "boolean");
    for (const [name, value] of Object.entries(texts)) text(`tls.${name}`, value);
  }
  if (family !== undefined && ![0, 4, 6].includes(family)) throw malformed("family must be 0, 4 or 6");
  ofType(ACTION, "clientSideCache", clientSideCache, "boolean");
  connectMs(options);
}

/** Returns `connectTimeout` in milliseconds. */
export function connectMs({ connectTimeout = "10s" }: ConnectOptions): number {
  return milliseconds(ACTION, "connectTimeout", connectTimeout, 1, 2 ** 31 - 1);
}

function text(name: string, value: unknown, expected = "a string"): void {
  if (value === undefined || typeof value === "string") return;
  throw malformed(`${name} must be ${expected}: received ${kindOf(value)}`);
}
