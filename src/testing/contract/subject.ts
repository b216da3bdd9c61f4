import type { Increment, SessionBackend } from "../../backend.ts";
import { type Absence, type Access, reserved, type StoredSession, type WrongSecret } from "../../record.ts";
import type { Clock } from "../clock.ts";

/** The tests of one topic, by title. */
export type Cases = Readonly<Record<string, (subject: Subject) => Promise<void>>>;

/** The backend under test, with helpers for the tests. */
export interface Subject {
  readonly backend: SessionBackend;
  readonly clock: Clock;
  /** Returns an unused key. */
  newKey(): string;
  /** Creates a record with some fields replaced. A field with `null` is left out. */
  record(fields?: Readonly<Record<string, string | null>>): StoredSession;
  /** Creates a record as `record` does, stores it under a new key and returns the key. */
  insert(fields?: Readonly<Record<string, string | null>>): Promise<string>;
  /** Creates an `Access`. By default it has no verifier, accepts the previous secret, and has the current time. */
  access(given?: Partial<Access>): Access;
  /** Reads the stored record without a touch, as a plain object that `assert.deepEqual` accepts. */
  stored(key: string): Promise<StoredSession | Absence>;
  /** Whether the backend lists the key. */
  lists(key: string): Promise<boolean>;
}

export const VERIFIER: string = "v".repeat(43);
export const PREVIOUS: string = "p".repeat(43);
export const WRONG: string = "w".repeat(43);

/** The default increment of the tests. */
export const BY_ONE: Increment = {
  field: "count",
  by: 1,
  from: 0,
  min: Number.MIN_SAFE_INTEGER,
  max: Number.MAX_SAFE_INTEGER,
};

const RECORD = {
  name: "andrew",
  count: "1",
  [reserved.idleTimeout]: "1800",
  [reserved.verifier]: VERIFIER,
} as const;

/** All uses of a session that do not end it. Those that write change a field, so that tests can detect the write. */
export const USES: Readonly<Record<string, (subject: Subject, key: string, access: Access) => Promise<unknown>>> = {
  read: ({ backend }, key, access) => backend.read(key, access, { touch: false, fields: null }),
  "read that touches": ({ backend }, key, access) => backend.read(key, access, { touch: true, fields: ["name"] }),
  write: ({ backend }, key, access) =>
    backend.write(key, access, { set: { name: "barbara" }, remove: ["count"], fields: null }),
  "write that expects absence": ({ backend }, key, access) =>
    backend.write(key, access, { set: { other: "new" }, remove: [], expect: { other: null }, fields: [] }),
  increment: ({ backend }, key, access) => backend.increment(key, access, BY_ONE),
};

export function subjectOf(backend: SessionBackend, clock: Clock): Subject {
  const newKey = (): string => crypto.randomUUID();

  function record(fields: Readonly<Record<string, string | null>> = {}): StoredSession {
    const at = new Date(clock.now()).toISOString();
    const all = { ...RECORD, [reserved.createdAt]: at, [reserved.lastAccessedAt]: at, ...fields };
    return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null));
  }

  function access(given: Partial<Access> = {}): Access {
    return { verifier: null, previous: true, now: clock.now(), ...given };
  }

  return {
    backend,
    clock,
    newKey,
    record,
    async insert(fields) {
      const key = newKey();
      await backend.insert(key, record(fields), clock.now());
      return key;
    },
    access,
    async stored(key) {
      const found = await backend.read(key, access(), { touch: false, fields: null });
      return goneOr(plain(found));
    },
    async lists(key) {
      for await (const page of backend.keys()) if (page.includes(key)) return true;
      return false;
    },
  };
}

/** Copies a record into a plain object, because `node:assert/strict` also compares prototypes. */
export function plain<A>(answer: A): A {
  return typeof answer === "object" && answer !== null ? { ...answer } : answer;
}

/** Removes a session. Returns whether it existed, or why the secret was not accepted. */
export async function ends(backend: SessionBackend, key: string, access: Access): Promise<boolean | WrongSecret> {
  const ended = await backend.remove(key, access);
  return typeof ended === "string" ? ended : ended !== null;
}

/** Replaces `expired` by `null`: a backend may answer either of them for a session after its deadline. */
export function goneOr<A>(answer: A): A | null {
  return answer === "expired" ? null : answer;
}
