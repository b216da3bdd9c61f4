import type { EnteredPage, IndexPage, Member } from "../backend.ts";
import { nullObject } from "../base/null-object.ts";
import { type Absence, type Access, isReused, matchSecret, RESERVED_FIELDS, type StoredSession } from "../record.ts";
import { unavailable } from "./answers.ts";

/** But for `Reused`, which has many forms. */
const ABSENCES = [null, "wrong-secret", "invalid", "expired"] as const satisfies readonly Absence[];

/**
 * Parses the reply of a script that returns a session. Rejects a session whose token hash does not match the access: it
 * is the reply to another request.
 *
 * @param others Further words with which the script may reply.
 */
export function recordFromReply<Other extends string = never>(
  reply: unknown,
  access: Access,
  fields: readonly string[] | null,
  others: readonly Other[] = [],
): StoredSession | Absence | Other {
  const texts = textsOf(reply);
  if (texts === null) return isReused(reply) ? reply : oneOf<Absence | Other>(reply, [...ABSENCES, ...others]);
  const record = fields !== null && fields.length > 0 ? zip(texts, fields) : hashOf(texts);
  return matchSecret(record, access) === "open" ? record : garbled();
}

/** Returns the array in a reply, which may be encoded as JSON, or `null` if the reply is not an array. */
function textsOf(reply: unknown): readonly unknown[] | null {
  if (typeof reply !== "string" || !reply.startsWith("[")) return Array.isArray(reply) ? reply : null;
  try {
    return JSON.parse(reply);
  } catch {
    return garbled();
  }
}

/** Parses the reply of a script that ends a session: the session's reserved fields, or why it was not ended. */
export function endedOf<Other extends string | null>(
  reply: unknown,
  ...others: readonly Other[]
): StoredSession | Other {
  return Array.isArray(reply) ? zip(reply, []) : oneOf(reply, others);
}

/** Parses the reply of an increment: the sum, or why nothing was added. */
export function sumOf(reply: unknown): number | "too_small" | "too_big" | "too_many_bytes" | "invalid_type" | Absence {
  if (typeof reply === "string" && /^-?[0-9]{1,16}$/.test(reply)) return Number(reply);
  return isReused(reply)
    ? reply
    : oneOf(reply, [...ABSENCES, "too_small", "too_big", "too_many_bytes", "invalid_type"]);
}

/** Returns the reply if it is one of the expected values, otherwise throws. */
export function oneOf<Answer>(reply: unknown, answers: readonly Answer[]): Answer {
  return answers.includes(reply as Answer) ? (reply as Answer) : garbled();
}

/** Parses the reply of a script that returns a page of an index. */
export function pageOf(reply: unknown): IndexPage {
  const [at, size, members] = Array.isArray(reply) ? reply : [];
  if (!Number.isInteger(at) || !Number.isInteger(size)) return garbled();
  return { at, size, members: membersOf(members) };
}

/** Parses the reply of the script that enters a member into an index. */
export function enteredOf(reply: unknown): EnteredPage {
  const page = pageOf(reply);
  const [, , , sample, score, added] = reply as unknown[];
  return { ...page, sample: membersOf(sample), score: oneNumber(score), isNew: added === 1 };
}

function oneNumber(reply: unknown): number {
  return Number.isSafeInteger(reply) ? (reply as number) : garbled();
}

/** Converts member, score, member, score, ... to objects. */
function membersOf(flat: unknown): Member[] {
  if (!Array.isArray(flat)) return garbled();
  const members = [];
  for (let i = 0; i < flat.length; i += 2) members.push({ key: flat[i], score: Number(flat[i + 1]) });
  return members;
}

/** Builds a session from its values: those of the reserved fields, followed by those of the requested fields. */
export function zip(texts: readonly unknown[], fields: readonly string[]): StoredSession {
  if (texts.length !== RESERVED_FIELDS.length + fields.length) return garbled();
  const record = nullObject();
  texts.forEach((text, at) => {
    const name = RESERVED_FIELDS[at] ?? fields[at - RESERVED_FIELDS.length];
    if (typeof text === "string" && name !== undefined) record[name] = text;
  });
  return record;
}

/** Builds a session from name, value, name, value, ... as HGETALL returns them. */
function hashOf(flat: readonly unknown[]): StoredSession {
  const record = nullObject();
  for (let at = 0; at < flat.length; at += 2) record[flat[at] as string] = flat[at + 1] as string;
  return record;
}

function garbled(): never {
  throw unavailable("unknown", new TypeError("The Redis server sent a reply that this command never has"));
}
