import type { IndexPage, Member } from "../backend.ts";
import { nullObject } from "../base/null-object.ts";
import { type Absence, type Access, isReused, matchSecret, RESERVED_FIELDS, type StoredSession } from "../record.ts";
import { unavailable } from "./answers.ts";

/** But for `Reused`, which has many forms. */
const ABSENCES = [null, "invalid", "expired"] as const satisfies readonly Absence[];

/**
 * The reply of a script in the place of a session. A session that this access does not open is somebody else's answer.
 *
 * @param others What else the script may say.
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

/** A list, that may be in the form of JSON; `null` for anything else. */
function textsOf(reply: unknown): readonly unknown[] | null {
  if (typeof reply !== "string" || !reply.startsWith("[")) return Array.isArray(reply) ? reply : null;
  try {
    return JSON.parse(reply);
  } catch {
    return garbled();
  }
}

/** The reserved fields of a session that a script ended, or why it did not. */
export function endedOf<Other extends string | null>(
  reply: unknown,
  ...others: readonly Other[]
): StoredSession | Other {
  return Array.isArray(reply) ? zip(reply, []) : oneOf(reply, others);
}

/** A sum in decimal digits, or why there is none. */
export function sumOf(reply: unknown): number | "too_small" | "too_big" | "invalid_type" | Absence {
  if (typeof reply === "string" && /^-?[0-9]{1,16}$/.test(reply)) return Number(reply);
  return isReused(reply) ? reply : oneOf(reply, [...ABSENCES, "too_small", "too_big", "invalid_type"]);
}

/** One of the answers that a script may give. */
export function oneOf<Answer>(reply: unknown, answers: readonly Answer[]): Answer {
  return answers.includes(reply as Answer) ? (reply as Answer) : garbled();
}

/** The reply of a script in the place of a page, with the sample that may follow. */
export function pageOf(reply: unknown): IndexPage & { readonly sample: readonly Member[] } {
  const [at, size, members, sample = []] = Array.isArray(reply) ? reply : [];
  if (!Number.isInteger(at) || !Number.isInteger(size)) return garbled();
  return { at, size, members: membersOf(members), sample: membersOf(sample) };
}

/** Members and scores by turns. */
function membersOf(flat: unknown): Member[] {
  if (!Array.isArray(flat)) return garbled();
  const members = [];
  for (let i = 0; i < flat.length; i += 2) members.push({ key: flat[i], score: Number(flat[i + 1]) });
  return members;
}

/** Texts in the order of the reserved fields and those that were asked for. */
export function zip(texts: readonly unknown[], fields: readonly string[]): StoredSession {
  if (texts.length !== RESERVED_FIELDS.length + fields.length) return garbled();
  const record = nullObject();
  texts.forEach((text, at) => {
    const name = RESERVED_FIELDS[at] ?? fields[at - RESERVED_FIELDS.length];
    if (typeof text === "string" && name !== undefined) record[name] = text;
  });
  return record;
}

/** Names and texts by turns. */
function hashOf(flat: readonly unknown[]): StoredSession {
  const record = nullObject();
  for (let at = 0; at < flat.length; at += 2) record[flat[at] as string] = flat[at + 1] as string;
  return record;
}

function garbled(): never {
  throw unavailable("unknown", new TypeError("The reply is none that this command has"));
}
