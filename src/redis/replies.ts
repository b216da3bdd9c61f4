import type { Change, EnteredPage, IndexPage, IndexSample, Member, Written } from "../backend.ts";
import { type Absence, type Access, isReused } from "../base/access.ts";
import { nullObject } from "../base/null-object.ts";
import { changedCopy, NO_SECRET, RESERVED_FIELDS, reserved, type StoredSession, timeOf } from "../record.ts";
import { unavailable } from "./answers.ts";

/** But for `Reused`, which has many forms. */
const ABSENCES = [null, "wrong-secret", "unproven", "invalid"] as const satisfies readonly Absence[];

/**
 * Parses the reply of a script that returns a session. Rejects a session whose token hash does not match the access: it
 * is the reply to another request.
 *
 * @param others Further words with which the script may reply.
 */
export function recordFromReply<const Other extends string>(
  reply: unknown,
  access: Access,
  fields: readonly string[] | null,
  others: readonly Other[],
): StoredSession | Absence | Other {
  const texts = textsOf(reply);
  if (texts === null) return isReused(reply) ? reply : oneOf<Absence | Other>(reply, [...ABSENCES, ...others]);
  const record = fields !== null && fields.length > 0 ? zip(texts, fields) : hashOf(texts);
  const { [reserved.verifier]: verifier = NO_SECRET, [reserved.previous]: previous } = record;
  return access.verifier === null || [verifier, previous].includes(access.verifier) ? record : garbled();
}

/** Parses the reply of the script that touches a session: the fields that it may change. */
export function touchFromReply(reply: unknown): StoredSession | Absence {
  const texts = textsOf(reply);
  if (texts === null) return isReused(reply) ? reply : oneOf<Absence>(reply, ABSENCES);
  const [lastAccessedAt, idleTimeout, deadline] = texts;
  if (typeof lastAccessedAt !== "string" || typeof idleTimeout !== "string") return garbled();
  const touched = nullObject();
  touched[reserved.lastAccessedAt] = lastAccessedAt;
  touched[reserved.idleTimeout] = idleTimeout;
  if (typeof deadline === "string") touched[reserved.deadline] = deadline;
  return touched;
}

/** Parses the reply of the script that changes a session: the session before and after the change, or why it was not changed. */
export function writtenFromReply(
  reply: unknown,
  access: Access,
  { fields, grace, remove, set, stamp = [], touch = true }: Change,
): Written | "changed" | "revoked" | "too_many_bytes" | Absence {
  const [time, idle, texts] = Array.isArray(reply) ? reply : [null, null, reply];
  const before = recordFromReply(texts, access, fields, ["changed", "revoked", "too_many_bytes"]);
  if (before === null || typeof before === "string") return before;
  if (typeof time !== "string" || typeof idle !== "string") return garbled();
  const stamped = nullObject();
  for (const name of stamp) stamped[name] = time;
  if (grace !== undefined) stamped[reserved.grace] = String(timeOf(time) + grace);
  if (touch) Object.assign(stamped, { [reserved.lastAccessedAt]: time, [reserved.idleTimeout]: idle });
  return { before, after: changedCopy(before, { ...set, ...stamped }, remove) };
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

/** Parses the reply of a script that creates or ends a session: its reserved fields, or why it did not. */
export function headFromReply<Other extends string | null>(
  reply: unknown,
  ...others: readonly Other[]
): StoredSession | Other {
  const texts = textsOf(reply);
  return texts === null ? oneOf(reply, others) : zip(texts, []);
}

/** Returns a reply that is a text. */
export function textFromReply(reply: unknown): string {
  return typeof reply === "string" ? reply : garbled();
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

/** Parses the reply of the script that lets an index live longer. */
export function sampleOf(reply: unknown): IndexSample {
  const [at, sample, added] = Array.isArray(reply) ? reply : [];
  return { at: oneNumber(at), sample: membersOf(sample), isNew: added === 1 };
}

/** Parses the replies of a script that returns one number for each of its keys. */
export function numbersFromReplies(replies: readonly unknown[], count: number): number[] {
  const numbers = replies.flat().map(oneNumber);
  return numbers.length === count ? numbers : garbled();
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

/**
 * Returns the cursor for the next page of keys; `"0"` at the end. Rejects a cursor that comes again, as the pass would never end.
 *
 * @param before The cursors of the pass, to which this one is added.
 */
export function cursorOf(reply: unknown, before: Set<string>): string {
  const cursor = String(reply);
  if (before.has(cursor)) return garbled();
  before.add(cursor);
  return cursor;
}

/** Parses the reply of the script that reads `INFO memory`: the eviction policy, or `null` if nothing is evicted. */
export function policyFromReply(reply: unknown): string | null {
  const policy = /^maxmemory_policy:(.+?)\r?$/m.exec(String(reply))?.[1];
  return policy === undefined || policy === "noeviction" ? null : policy;
}

function garbled(): never {
  throw unavailable("unknown", new TypeError("The Redis server sent a reply that this command never has"));
}
