import assert from "node:assert/strict";
import type { Ending, Increment, SessionBackend } from "../../backend.ts";
import type { Absence, Access } from "../../base/access.ts";
import { idleSeconds, reserved, type StoredSession } from "../../record.ts";
import type { Clock } from "../clock.ts";

/** The tests of one topic, by title. */
export type Cases = Readonly<Record<string, (subject: Subject) => Promise<void>>>;

/** The backend under test, with helpers for the tests. */
export interface Subject {
  readonly backend: SessionBackend;
  readonly clock: Clock;
  /** Returns an unused key. */
  newKey(): string;
  /** Creates a record to insert with some fields replaced. A field with `null` is left out. */
  record(fields?: Readonly<Record<string, string | null>>): StoredSession;
  /**
   * Creates a record as `record` does, stores it under a new key and returns the key. The fields that every insert writes can
   * be given as well, also if they are invalid; `null` removes them.
   */
  insert(fields?: Readonly<Record<string, string | null>>): Promise<string>;
  /** Creates an `Access`. By default it has no verifier, accepts the previous secret, and has the current time. */
  access(given?: Partial<Access>): Access;
  /** Reads the stored record without a touch, as a plain object that `assert.deepEqual` accepts. */
  stored(key: string): Promise<StoredSession | Absence>;
  /** Asserts that a stored time is the present time. */
  assertNow(text: string | undefined, message?: string): void;
  /** Whether the backend lists the key. */
  lists(key: string): Promise<boolean>;
}

export const VERIFIER: string = "v".repeat(43);
export const PREVIOUS: string = "p".repeat(43);
export const WRONG: string = "w".repeat(43);

/** The maximum difference between the clocks of the test and of the server. */
export const SKEW_MS = 1000;

/** The fields that every insert writes. */
const WRITTEN: readonly string[] = [reserved.createdAt, reserved.lastAccessedAt, reserved.deadline];

/** The default ending of the tests. */
export const DESTROYED: Ending = { id: "i".repeat(22), cause: "destroyed" };

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
  read: ({ backend }, key, access) => backend.read(key, access, { fields: null }),
  touch: ({ backend }, key, access) => backend.touch(key, access),
  write: ({ backend }, key, access) =>
    backend.write(key, access, { set: { name: "barbara" }, remove: ["count"], fields: null }),
  "write that expects absence": ({ backend }, key, access) =>
    backend.write(key, access, { set: { other: "new" }, remove: [], expect: { other: null }, fields: [] }),
  increment: ({ backend }, key, access) => backend.increment(key, access, BY_ONE),
};

export function subjectOf(backend: SessionBackend, clock: Clock): Subject {
  const newKey = (): string => crypto.randomUUID();

  function record(fields: Readonly<Record<string, string | null>> = {}): StoredSession {
    return texts(Object.entries({ ...RECORD, ...fields }));
  }

  function access(given: Partial<Access> = {}): Access {
    return { verifier: null, previous: true, now: clock.now(), ...given };
  }

  return {
    backend,
    clock,
    newKey,
    record,
    async insert(fields = {}) {
      const key = newKey();
      const planted = Object.entries(fields).filter(
        ([name]) => WRITTEN.includes(name) || isNoIdleTimeout(name, fields),
      );
      const rest = Object.entries(fields).filter(([name]) => planted.every(([other]) => other !== name));
      await backend.insert(key, record(Object.fromEntries(rest)), {}, clock.now());
      const remove = planted.flatMap(([name, text]) => (text === null ? [name] : []));
      const change = { set: texts(planted), remove, fields: [], touch: false };
      if (planted.length > 0) await backend.write(key, access(), change);
      return key;
    },
    access,
    async stored(key) {
      const found = await backend.read(key, access(), { fields: null });
      return plain(found);
    },
    assertNow(text, message) {
      const distance = Math.abs(Date.parse(text ?? "") - clock.now());
      assert.ok(text?.endsWith("Z") && distance < SKEW_MS, `${message ?? "time"}: ${text}`);
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
export async function ends(backend: SessionBackend, key: string, access: Access): Promise<boolean | string> {
  const ended = await backend.remove(key, access, DESTROYED, []);
  return typeof ended === "string" ? ended : ended !== null;
}

function isNoIdleTimeout(name: string, fields: Readonly<Record<string, string | null>>): boolean {
  const text = fields[name];
  return name === reserved.idleTimeout && (typeof text !== "string" || idleSeconds({ [name]: text }) === null);
}

function texts(fields: readonly (readonly [string, string | null])[]): StoredSession {
  return Object.fromEntries(fields.filter((field): field is [string, string] => field[1] !== null));
}
