import { describe, expect, test, vi } from "vitest";
import { newSecret, plainTokens, randomText, secretTokens } from "../../src/base/token.ts";
import { createSessionStore, memoryBackend, SessionConflictError } from "../../src/index.ts";
import { keysOf } from "../support/backends.ts";
import { type VisitStore, visit, visits } from "../support/visits.ts";

const ID = "AbCdEfGhIjKlMnOpQrStUv";
const SECRET = "0123456789-_abcdefghijklmnopqrstuvwxyzABCDE";
const TOKEN = `${ID}.${SECRET}`;
const BARE = SECRET;

/** The results of every method for this token; all null if it is invalid. */
async function answers(store: VisitStore, token: string, plainIds: boolean): Promise<unknown[]> {
  return [
    await store.get(token),
    await store.peek(token),
    await store.update(token, {}),
    await store.update(token, () => ({})),
    await store.increment(token, "pageViews"),
    await store.take(token, "flash"),
    await store.setIdleTimeout(token, 60),
    await (plainIds ? null : store.rotate(token)),
    (await store.destroy(token)) || null,
  ];
}

/** Expects that the token is rejected without a backend call, with and without plainIds. */
async function expectNoToken(token: unknown): Promise<void> {
  for (const plainIds of [false, true]) {
    const { store, calls, events } = visits({ plainIds });
    expect(await answers(store, token as string, plainIds)).toEqual(Array.from({ length: 9 }, () => null));
    expect(calls).toEqual([]);
    expect(events).toEqual([]);
  }
}

/** Another base64url text for the same bytes: some bits of the last character are unused. */
function alias(text: string): string {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const other = text.slice(0, -1) + digits.charAt(digits.indexOf(text.slice(-1)) ^ 1);
  expect(Buffer.from(other, "base64url")).toEqual(Buffer.from(text, "base64url"));
  return other;
}

test.each([0, 1, 22, 23, 42, 44, 65, 67, 43_000, 66_000])(
  "I-01 a text of %d characters is rejected as a token",
  async (length) => {
    await expectNoToken("A".repeat(length));
    await expectNoToken(TOKEN.padEnd(length, "A").slice(0, length === 66 ? 65 : length));
  },
);

test.each([
  `${ID}${SECRET}`,
  `.${SECRET}`,
  `${ID}.`,
  `${ID}..${SECRET}`,
  `${ID}.${SECRET}.`,
  `${ID}A.${SECRET.slice(1)}`,
  `${ID.slice(1)}.${SECRET}A`,
])("I-01 a token with parts of the wrong length or number is rejected: %j", expectNoToken);

test.each(["\n", "\0", " ", "\r\n", "=", ";", "\t"])(
  "I-02 a token with %j before, after or inside it is rejected",
  async (more) => {
    for (const token of [TOKEN, BARE]) {
      await expectNoToken(token + more);
      await expectNoToken(more + token);
      await expectNoToken(token.slice(0, -1) + more);
      await expectNoToken(token.slice(0, 30) + more + token.slice(30));
    }
  },
);

test("I-03 another base64url spelling of the same bytes is not accepted as the token", async () => {
  const { store, events } = visits();
  const { token, session } = await store.create({});
  const [id, secret] = token.split(".") as [string, string];
  expect(await store.get(`${id}.${alias(secret)}`)).toBeNull();
  expect(await store.get(`${alias(id)}.${secret}`)).toBeNull();
  expect(await store.destroy(`${id}.${alias(secret)}`)).toBe(false);
  expect(await store.get(token)).toEqual(session);
  expect(events.map((event) => event.type)).toEqual(["created", "wrong-secret", "wrong-secret"]);

  const bare = visits({ plainIds: true });
  const issued = await bare.store.create({});
  expect(await bare.store.get(alias(issued.token))).toBeNull();
});

test.each(["а", "Ａ", "\u202e", "😀", "\u00e9", "\ud800", "İ", "ſ"])(
  "I-04 a token that contains %j is rejected",
  async (character) => {
    await expectNoToken(`${ID}.${SECRET.slice(1)}${character}`);
    await expectNoToken(`${character}${TOKEN.slice(1)}`);
    await expectNoToken(BARE.slice(1) + character);
  },
);

test.each([
  "../../etc/passwd",
  "*",
  "?",
  "[a-z]*",
  "{slot}",
  "a:b",
  "' OR 1",
  "$ne",
  "\r\nDEL x",
  "+",
  "/",
  "%41",
  "__proto__!",
])("I-05 a token that contains %j never reaches the backend, even if its length is right", async (text) => {
  await expectNoToken(text);
  await expectNoToken(`${text.padEnd(22, "A")}.${SECRET}`);
  await expectNoToken(`${ID}.${text.padEnd(43, "A")}`);
  await expectNoToken(text.padEnd(43, "A"));
});

test("I-05 a token that is not a string is rejected", async () => {
  const others = [undefined, null, 0, 42, true, {}, [TOKEN], Symbol("token"), { toString: () => TOKEN }];
  for (const other of others) await expectNoToken(other);
});

test("I-06 a well-formed token that was never issued is rejected after one backend call and never adopted", async () => {
  const { store, calls, backend, events } = visits();
  expect(await store.get(TOKEN)).toBeNull();
  expect(calls).toEqual(["read"]);
  expect(await answers(store, TOKEN, false)).toEqual(Array.from({ length: 9 }, () => null));
  expect(await keysOf(backend)).toEqual([]);
  expect(events).toEqual([]);
  const { token, session } = await store.create({});
  expect(token).not.toContain(ID);
  expect(session.id).not.toBe(ID);
});

test("I-07 every method returns null for the token of an expired or destroyed session", async () => {
  const { store, advance, backend } = visits();
  const expired = await store.create({});
  advance(1800.001);
  const destroyed = await store.create({});
  await store.destroy(destroyed.token);
  for (const { token } of [expired, destroyed]) {
    expect(await answers(store, token, false)).toEqual(Array.from({ length: 9 }, () => null));
  }
  expect(await keysOf(backend)).toEqual([]);
});

test("I-07 a rotated token is rejected and reported as reused", async () => {
  const { store, events } = visits();
  const { token, session } = await store.create({});
  await store.rotate(token);
  events.length = 0;
  expect(await answers(store, token, false)).toEqual(Array.from({ length: 9 }, () => null));
  expect(events).toHaveLength(9);
  for (const event of events) expect(event).toMatchObject({ type: "reused", id: session.id });
});

test("I-08 a token is invalid in a store with another backend", async () => {
  const one = visits();
  const other = visits();
  const { token } = await one.store.create({});
  expect(await other.store.get(token)).toBeNull();
  await other.store.create({});
  expect(await other.store.get(token)).toBeNull();
});

test("I-08 a plain ID and a token with a secret are invalid in a store of the other kind", async () => {
  const backend = memoryBackend();
  const secrets = visits({ backend });
  const bare = visits({ backend, plainIds: true });
  const one = await secrets.store.create({});
  const other = await bare.store.create({});
  expect(await bare.store.get(one.token)).toBeNull();
  expect(await bare.store.get(String(one.session.id))).toBeNull();
  expect(await secrets.store.get(other.token)).toBeNull();
  expect(await secrets.store.get(`${one.session.id}.${other.token}`)).toBeNull();
  for await (const { id } of secrets.store.scan()) expect(id).toBe(one.session.id);
  for await (const { id } of bare.store.scan()) expect(id).toBe(other.session.id);
});

test("I-09 the session ID and the stored token hash are not valid tokens", async () => {
  const { store, calls, backend, clock } = visits();
  const { session } = await store.create({});
  calls.length = 0;
  expect(await store.get(String(session.id))).toBeNull();
  expect(calls).toEqual([]);
  const access = { verifier: null, previous: false, now: clock.now() };
  const record = await backend.read(session.id, access, { fields: [] });
  const texts = Object.values(record ?? {}).filter((text) => text.length === 43);
  expect(texts).toHaveLength(1);
  for (const text of texts) expect(await store.get(`${session.id}.${text}`)).toBeNull();
});

test("I-09 with plainIds, the public session ID is not a valid token", async () => {
  const { store } = visits({ plainIds: true });
  const { session } = await store.create({});
  expect(await store.get(String(session.id))).toBeNull();
});

describe("random texts", () => {
  test("a random text has the length that was asked for, and is another one each time", () => {
    const starts = new Set<string>();
    for (let at = 0; at < 2000; at++) {
      const bytes = at % 100 === 0 ? 8192 : 24;
      const text = randomText(bytes);
      expect(text).toHaveLength(Math.ceil((bytes * 4) / 3));
      starts.add(text.slice(0, 32));
    }
    expect(starts.size).toBe(2000);
  });

  test("random bytes are wiped as soon as they are used", () => {
    let drawn = new Uint8Array();
    const random = vi.spyOn(crypto, "getRandomValues").mockImplementation((bytes) => {
      drawn = bytes as Uint8Array<ArrayBuffer>;
      drawn.fill(255);
      return bytes;
    });
    try {
      randomText(8192);
      expect(randomText(32)).toBe(`${"_".repeat(42)}8`);
      expect(drawn.findIndex((byte) => byte !== 0)).toBe(32);
      expect(drawn.lastIndexOf(0)).toBe(31);
    } finally {
      randomText(8160);
      random.mockRestore();
    }
  });

  test("a random text of more than 8192 bytes is a RangeError", () => {
    expect(() => randomText(8193)).toThrow(RangeError);
  });
});

describe("I-10 token generation", () => {
  test("an option for a custom token generator is rejected", () => {
    const options = { schema: visit, backend: memoryBackend(), generateId: () => "x" };
    expect(() => createSessionStore(options)).toThrow(TypeError);
  });

  test("a token consists of 16 and 32 random bytes in base64url", () => {
    const issued = Array.from({ length: 1000 }, () => secretTokens.issue());
    for (const { token, key, id, verifier } of issued) {
      expect(token).toMatch(/^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/);
      const [first = "", second = ""] = token.split(".");
      expect(Buffer.from(first, "base64url").toString("base64url")).toBe(first);
      expect(Buffer.from(second, "base64url").toString("base64url")).toBe(second);
      expect(secretTokens.read(token)).toEqual({ key, id, verifier });
    }
    for (const part of [0, 1]) expect(new Set(issued.map(({ token }) => token.split(".")[part])).size).toBe(1000);
  });

  test("a plain ID consists of 32 random bytes in base64url", () => {
    const issued = Array.from({ length: 1000 }, () => plainTokens.issue());
    expect(new Set(issued.map(({ token }) => token)).size).toBe(1000);
    for (const { token, key, id } of issued) {
      expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(key).toBe(token);
      expect(plainTokens.read(token)).toEqual({ key, id, verifier: "none" });
    }
  });

  test("each bit of a secret is set about half of the time", () => {
    const counts = Array.from({ length: 256 }, () => 0);
    const rounds = 4000;
    for (let round = 0; round < rounds; round++) {
      const bytes = Buffer.from(newSecret().text, "base64url");
      for (let bit = 0; bit < 256; bit++)
        counts[bit] = (counts[bit] ?? 0) + (((bytes[bit >> 3] ?? 0) >> (bit & 7)) & 1);
    }
    // The limit is ten standard deviations.
    for (const count of counts) expect(Math.abs(count - rounds / 2)).toBeLessThan(10 * Math.sqrt(rounds / 4));
  });

  test("the stored token hash is the SHA-256 hash of the secret", async () => {
    const { text, verifier } = newSecret();
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    expect(verifier).toBe(Buffer.from(digest).toString("base64url"));
  });
});

describe("I-11 session ID collisions", () => {
  /** A store whose first `times` inserts fail because the key already exists. */
  function colliding(times: number) {
    const inner = memoryBackend();
    let left = times;
    const keys: string[] = [];
    const base = visits({
      backend: {
        ...inner,
        async insert(key, record, insertion, now) {
          keys.push(key);
          return left-- > 0 ? "taken" : await inner.insert(key, record, insertion, now);
        },
      },
    });
    return { ...base, inner, keys };
  }

  test.each([1, 2])("create generates another session ID if one is taken (collisions in a row: %d)", async (times) => {
    const { store, keys, events } = colliding(times);
    const { token, session } = await store.create({ userId: "42" });
    expect(new Set(keys).size).toBe(times + 1);
    expect(session.id).toBe(keys.at(-1));
    expect(await store.get(token)).toEqual(session);
    expect(events).toMatchObject([{ type: "created", id: session.id }]);
  });

  test("create fails after three collisions, and nothing is stored", async () => {
    const { store, keys, inner, events } = colliding(Number.POSITIVE_INFINITY);
    const error = await store.create({ userId: "42" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(SessionConflictError);
    expect(keys).toHaveLength(3);
    expect(await keysOf(inner)).toEqual([]);
    expect(events.filter((event) => event.type === "created")).toEqual([]);
  });

  test("an insert under an existing key does not change the stored record", async () => {
    const inner = memoryBackend();
    const { store, backend, clock } = visits({ backend: inner });
    const { token, session } = await store.create({ userId: "42" });
    const access = { verifier: null, previous: false, now: clock.now() };
    const record = await backend.read(session.id, access, { fields: ["userId"] });
    expect(await backend.insert(session.id, { ...(record as object), userId: "43" }, {}, clock.now())).toBe("taken");
    expect(await store.get(token)).toEqual(session);
  });
});

test("I-12 a caller cannot choose the session ID", async () => {
  const { store, calls } = visits();
  await expect(store.create({ id: ID } as never)).rejects.toMatchObject({ name: "SessionDataError" });
  expect(calls).toEqual([]);
  const options = { id: ID, token: TOKEN } as object;
  await expect(store.create({}, options)).rejects.toThrow('there is no option "id"');
  expect(calls).toEqual([]);
});

test("no error shows the secret of a token", async () => {
  const { store } = visits();
  const { token } = await store.create({});
  const [, secret = "?"] = token.split(".");
  const failures = [
    store.update(token, { theme: "blue" as never }),
    store.increment(token, "pageViews", 0.5),
    store.get(token, { signal: AbortSignal.abort() }),
    store.rotate(token, { grace: -1 }),
  ];
  for (const failure of failures) {
    const error = await failure.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(String((error as Error).stack)).not.toContain(secret);
  }
});

test("revoke with a token is a TypeError that does not show the token, and the session stays", async () => {
  const { store, calls } = visits();
  const { token } = await store.create({});
  calls.length = 0;
  const error: unknown = await store.revoke(String(token)).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(TypeError);
  expect((error as Error).message).toBe(
    "Cannot revoke a session by its ID as a token is not an ID: received a session token",
  );
  expect(calls).toEqual([]);
  expect(await store.get(token)).not.toBeNull();
});
