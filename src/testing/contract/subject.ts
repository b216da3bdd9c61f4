import type { Increment, SessionBackend } from "../../backend.ts";
import { type Absence, type Access, isReused, type Reused, reserved, type StoredSession } from "../../record.ts";
import type { Clock } from "../clock.ts";

/** Tests of one topic by the sentence that each of them proves. */
export type Cases = Readonly<Record<string, (subject: Subject) => Promise<void>>>;

/** A backend under test, and what the tests say to it all the time. */
export interface Subject {
  readonly backend: SessionBackend;
  readonly clock: Clock;
  /** A key that nothing is stored under. */
  newKey(): string;
  /** `RECORD`, made now, with these fields over it; `null` leaves one out. */
  record(fields?: Readonly<Record<string, string | null>>): StoredSession;
  /** Stores such a record under a new key. */
  insert(fields?: Readonly<Record<string, string | null>>): Promise<string>;
  /** By key alone unless a verifier is given, now unless a time is. */
  access(given?: Partial<Access>): Access;
  /** What is stored, as a plain object that can be compared; no touch. */
  stored(key: string): Promise<StoredSession | Absence>;
  /** Is the key among those that the backend lists? */
  lists(key: string): Promise<boolean>;
}

export const VERIFIER: string = "v".repeat(43);
export const PREVIOUS: string = "p".repeat(43);
export const WRONG: string = "w".repeat(43);

/** What an increment of the field `count` asks for where a test says nothing else. */
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

/** Each way to use a session but ending it; of those that write, what they write can be told from `RECORD`. */
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

/** A record may have any prototype; the comparison of `node:assert/strict` minds it. */
export function plain<A>(answer: A): A {
  return typeof answer === "object" && answer !== null ? { ...answer } : answer;
}

/** Ends what the access reaches. Was it a session? */
export async function ends(backend: SessionBackend, key: string, access: Access): Promise<boolean | Reused> {
  const ended = await backend.remove(key, access);
  return isReused(ended) ? ended : ended !== null;
}

/** A record that has passed its deadline is as good as none. */
export function goneOr<A>(answer: A): A | null {
  return answer === "expired" ? null : answer;
}
