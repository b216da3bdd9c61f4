import { Buffer } from "node:buffer";
import { hash } from "node:crypto";
import { NO_SECRET } from "../record.ts";

/**
 * Session IDs, session tokens and their secrets. A token is `<id>.<secret>`. Only the verifier of the secret, its SHA-256
 * hash, is stored.
 *
 * @module
 */

/**
 * The session token, which authenticates requests: the value of the session cookie, and nothing else. A plain string is
 * accepted as a token; a `SessionId` is not. The property exists only in the type.
 */
export type SessionToken = string & { readonly "~is"?: "token" | undefined };

/**
 * The public session ID, which stays the same when the token is rotated. It does not authenticate anyone, so it may be
 * logged and shown. 22 base64url characters; with `plainIds`, the SHA-256 hash of the token in 43 characters. A plain string
 * is accepted as an ID; a `SessionToken` is not. The property exists only in the type.
 */
export type SessionId = string & { readonly "~is"?: "id" | undefined };

const ID = /^[A-Za-z0-9_-]{22}$/;
const TOKEN = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/;
const PLAIN_TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** The parts of a well-formed token. */
export interface ParsedToken {
  /** The key of the record in the backend. */
  readonly key: string;
  /** The public session ID. */
  readonly id: string;
  /** The verifier of the presented secret, as in `Access`. */
  readonly verifier: string | null;
  /** Whether the secret before the last rotation is accepted during its grace period. Default true. */
  readonly previous?: boolean;
  /** Whether a session that is bound to a device is accessed without its proof. Default false. */
  readonly unproven?: boolean;
}

/** Creates and parses the tokens of a store. */
export interface TokenForm {
  /** Creates a random token. */
  issue(): { readonly token: string } & ParsedToken;
  /** Parses a token without calling the backend; `null` if it is malformed. */
  read(token: unknown): ParsedToken | null;
  /** Whether a key in the backend belongs to a session, and not to an index or another program. */
  isKey(key: string): boolean;
  /** Gives access to a session by its key, without a token. */
  ofKey(key: string): ParsedToken;
}

/**
 * Tokens with a public ID of 16 random bytes and a secret of 32 random bytes, both in base64url. ASVS 5.0 7.2.3 requires
 * 128 random bits from a CSPRNG. A plain hash is enough for a secret of this length (ASVS 5.0 6.5.2).
 */
export const secretTokens: TokenForm = {
  issue() {
    const id = randomText(16);
    const secret = newSecret();
    return { token: `${id}.${secret.text}`, key: id, id, verifier: secret.verifier };
  },
  read(token) {
    const parts = typeof token === "string" ? TOKEN.exec(token) : null;
    if (parts === null) return null;
    const [, id, secret] = parts as unknown as [string, string, string];
    return { key: id, id, verifier: digest(secret) };
  },
  isKey: (key) => ID.test(key),
  ofKey: (key) => ({ key, id: key, verifier: null }),
};

/**
 * Tokens of 32 random bytes that are also the key in the backend, as in the guides of the Redis documentation. The public
 * ID is the SHA-256 hash of the token.
 */
export const plainTokens: TokenForm = {
  issue() {
    const token = randomText(32);
    return { token, key: token, id: digest(token), verifier: null };
  },
  read(token) {
    if (typeof token !== "string" || !PLAIN_TOKEN.test(token)) return null;
    return plainToken(token);
  },
  isKey: (key) => PLAIN_TOKEN.test(key),
  // Prefixes may overlap. Otherwise a session with a secret would be valid by its public ID.
  ofKey: (key) => ({ ...plainToken(key), unproven: true }),
};

function plainToken(token: string): ParsedToken {
  return { key: token, id: digest(token), verifier: NO_SECRET };
}

/** Whether the text has the format of a token, with or without `plainIds`. */
export function isToken(text: string): boolean {
  return TOKEN.test(text) || PLAIN_TOKEN.test(text);
}

/**
 * Rejects a token where an ID is needed. Otherwise the call would succeed and do nothing.
 *
 * @throws {TypeError} If the ID is a token with a secret. The message does not contain it.
 */
export function refuseToken(action: string, id: unknown): void {
  if (typeof id === "string" && TOKEN.test(id)) {
    throw new TypeError(`Cannot ${action} by its ID as a token is not an ID: received a session token`);
  }
}

/** Creates a random secret and its verifier, to rotate the token of a session. */
export function newSecret(): { readonly text: string; readonly verifier: string } {
  const text = randomText(32);
  return { text, verifier: digest(text) };
}

/** Hashes the text itself, not the bytes it encodes, so that another base64url spelling of the bytes is not accepted. */
function digest(text: string): string {
  return hash("sha256", text, "base64url");
}

/** Random bytes for the next texts: drawing them for each text would be a quarter of the cost of a new session. */
const block = Buffer.alloc(8192);
/** The number of bytes of the block that are used up. They are zero, so that no secret stays in memory. */
let used: number = block.length;

/**
 * Returns random bytes in base64url.
 *
 * @throws {RangeError} If `bytes` exceeds 8192.
 */
export function randomText(bytes: number): string {
  if (bytes > block.length) {
    throw new RangeError(`Cannot create a random text as it has at most ${block.length} bytes: received ${bytes}`);
  }
  if (used + bytes > block.length) {
    crypto.getRandomValues(block);
    used = 0;
  }
  const from = used;
  used += bytes;
  const text = block.toString("base64url", from, used);
  block.fill(0, from, used);
  return text;
}
