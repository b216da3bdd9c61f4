/**
 * Tells connection errors that no retry can heal from passing ones, and describes both in words. The descriptions contain
 * error codes, but no address and no credentials.
 *
 * @module
 */
import { codeOf } from "./error-codes.ts";

/** Completes "Cannot <action> as ..." in the error messages of everything that connects. */
export const ACTION = "connect to Redis";

/**
 * Builds the error for a malformed address. Callers must not quote the address, as it may contain a password.
 *
 * @param why Completes "Cannot connect to Redis as ...".
 */
export function malformed(why: string): TypeError {
  return new TypeError(`Cannot ${ACTION} as ${why}`);
}

/** The error for a server that answers without TLS to a client that uses TLS. */
export class PlainServerError extends Error {
  /** The code of the error that TLS reports if such a server answers a handshake at all. */
  readonly code = "ERR_SSL_WRONG_VERSION_NUMBER";
}

/** Replies of a server that stay the same with every retry. */
const REFUSED_REPLIES: readonly (readonly [reply: RegExp, why: string])[] = [
  [
    /^(WRONGPASS|NOAUTH|NOPERM) /,
    "the server rejected the credentials: check the username, the password and the user's permissions",
  ],
  [/^DENIED /, "the server is in protected mode, in which it accepts other hosts only with a password (DENIED)"],
  [/^ERR (DB index is|invalid DB index)/i, "the database index is out of range: the server has fewer databases"],
  [/^ERR SELECT is not allowed/, "a cluster has no databases: remove the path from the address"],
  [
    /^ERR This instance has cluster support disabled/,
    "the server is not part of a cluster: pass its URL without { cluster }",
  ],
  [/^ERR unknown command .?SENTINEL/i, "the server is not a sentinel: check sentinel.nodes"],
  // Errors of node-redis, about the first byte of a reply: that of a TLS alert, and any other.
  [/^Unknown RESP type 21\b/, "the server speaks TLS: begin the address with rediss: instead of redis:"],
  [/^Unknown RESP type /, "the server does not speak the Redis protocol: check host and port"],
  [/^(NOPROTO |ERR unknown command .?(HELLO|CLUSTER))/i, "Redis 6.2 or later is required"],
];

/** Error codes of TLS, the last of which is for all others. */
const REFUSED_CODES: readonly (readonly [code: RegExp, why: string])[] = [
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|CERT_UNTRUSTED|INVALID_CA$/,
    "the server's certificate is not trusted (CODE): pass its certificate authority as the option tls.ca",
  ],
  [
    /ALTNAME_INVALID|HOSTNAME_MISMATCH/,
    "the server's certificate is for another host name (CODE): connect to that name, or pass it as the option tls.servername",
  ],
  [/^CERT_|^ERR_TLS_CERT|_CRL|CRL_/, "the server's certificate is not valid (CODE)"],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST|INVALID_CONTENT_TYPE/,
    "the server does not speak TLS (CODE): begin the address with redis: instead of rediss:",
  ],
  [
    /^ERR_SSL_.*(CERTIFICATE|HANDSHAKE_FAILURE)/,
    "the server rejected the TLS connection (CODE): if it requires a certificate, pass the options tls.cert and tls.key",
  ],
  [
    /^ERR_(OSSL|BORINGSSL|CRYPTO)/,
    "the TLS options are invalid (CODE): tls.ca, tls.cert and tls.key must be PEM texts that fit",
  ],
  [/^(ERR_SSL_|ERR_TLS_|EPROTO$)/, "the TLS handshake failed (CODE)"],
];

/**
 * Returns why a retry does not help, or `null` if the error may pass.
 *
 * @returns Completes "Cannot connect to Redis as ...".
 */
export function refusalOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const { name, message, code } = error as Error & { readonly code?: unknown };
  if (name === "NotCapable" || (code === "EPERM" && message.startsWith("getaddrinfo"))) {
    const [flag = "--allow-net"] = /--allow-[a-z]+/.exec(message) ?? [];
    return `this process has no permission to reach the server: run it with the flag ${flag} for this address`;
  }
  if (code === "ERR_MODULE_NOT_FOUND") {
    return 'the package "redis" is not installed: run "npm install redis" (Deno: "deno add npm:redis")';
  }
  const [, why] = REFUSED_REPLIES.find(([reply]) => reply.test(message)) ?? [];
  if (why !== undefined) return why;
  const text = typeof code === "string" ? code : "";
  const [, cause] = REFUSED_CODES.find(([pattern]) => pattern.test(text)) ?? [];
  return cause?.replace("CODE", text) ?? null;
}

/** The descriptions of errors of node-redis, which have no code, by the names of their classes. */
const PASSING: Readonly<Record<string, string>> = {
  ConnectionTimeoutError: "the server did not answer in time",
  SocketTimeoutError: "the server did not answer in time",
  SocketClosedUnexpectedlyError: "the server closed the connection",
};

/** Describes an error that may pass. */
export function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return "the cause is unknown";
  const { code } = error as Error & { readonly code?: unknown };
  // Such an error of a host with several addresses has an empty message.
  if (typeof code === "string") return code;
  const reply = codeOf(error);
  if (reply !== null && reply !== "ERR") return reply;
  // A server may quote what it was sent, such as a password.
  return PASSING[error.constructor.name] ?? (error.message.replace(/(['"`]).*\1/g, "$1...$1") || error.name);
}

/** Describes an error of a first connection that may pass, with a hint if the server may expect TLS. */
export function firstCauseOf(error: unknown, tls: boolean): string {
  const cause = causeOf(error);
  if (!["ECONNRESET", "EPIPE", PASSING["SocketClosedUnexpectedlyError"]].includes(cause)) return cause;
  const closed = `the server closed the connection during the handshake (${cause})`;
  return tls ? closed : `${closed}: if it speaks TLS, begin the address with rediss:`;
}
