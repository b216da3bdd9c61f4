import { hash } from "node:crypto";

/** Ids, secrets and what is kept of them. A token is `<id>.<secret>`; only the verifier of the secret is stored. */

const ID = /^[A-Za-z0-9_-]{22}$/;
const TOKEN = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/;
const PLAIN_TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** What a well-formed token leads to. */
export interface ParsedToken {
  /** Names the record in the backend. */
  readonly key: string;
  /** Names the session in public. */
  readonly id: string;
  /** Verifier of the presented secret; `null` where the key alone opens. */
  readonly verifier: string | null;
  /** Does the secret before the last rotation do while its grace lasts? Default true. */
  readonly previous?: boolean;
}

/** How a store makes and reads tokens. */
export interface TokenForm {
  /** A new token and what it leads to. */
  issue(): { readonly token: string } & ParsedToken;
  /** `null` for anything that is not a token: that is decided without the backend. */
  read(token: unknown): ParsedToken | null;
  /** Is this key of the backend one of a session? Index keys and foreign keys are not. */
  isKey(key: string): boolean;
  /** The public id of the session under a key. */
  idOf(key: string): string;
}

/**
 * A public id of 16 random bytes and a secret of 32, each in base64url. ASVS 5.0 7.2.3 asks for 128 random bits from a
 * CSPRNG; a plain hash is enough for a secret of this length (ASVS 5.0 6.5.2).
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
  idOf: (key) => key,
};

/** 32 random bytes that are key and token at once, as the Redis documentation's guides have it. Its digest is the id. */
export const plainTokens: TokenForm = {
  issue() {
    const token = randomText(32);
    return { token, key: token, id: digest(token), verifier: null };
  },
  read(token) {
    if (typeof token !== "string" || !PLAIN_TOKEN.test(token)) return null;
    return { key: token, id: digest(token), verifier: null };
  },
  isKey: (key) => PLAIN_TOKEN.test(key),
  idOf: digest,
};

/** Has it the form of a token, of either kind? */
export function isToken(text: string): boolean {
  return TOKEN.test(text) || PLAIN_TOKEN.test(text);
}

/** A new secret and its verifier, for a session that exists. */
export function newSecret(): { readonly text: string; readonly verifier: string } {
  const text = randomText(32);
  return { text, verifier: digest(text) };
}

/** SHA-256 of the text as presented: a second spelling of the same bytes is another secret. */
function digest(text: string): string {
  return hash("sha256", text, "base64url");
}

function randomText(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return btoa(String.fromCharCode(...random))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}
