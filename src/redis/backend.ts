import type { Absence, IndexPage, Member, SessionBackend } from "../backend.ts";
import { knownOptions } from "../options.ts";
import {
  type Access,
  admit,
  FALLBACK_IDLE_SECONDS,
  idleSeconds,
  lifetime,
  RESERVED_FIELDS,
  reserved,
  type StoredSession,
} from "../record.ts";
import { answerOf, guard, type RedisClient, runScript, script, servers } from "./client.ts";
import * as indexScripts from "./index-scripts.ts";
import * as scripts from "./scripts.ts";

/** Of `redisBackend`. */
export interface RedisBackendOptions {
  /** Comes before every key: letters, digits and `_ - . : /`; default `"session:"`. One store, one prefix. */
  readonly prefix?: string | undefined;
}

type Increased = Awaited<ReturnType<SessionBackend["increment"]>>;

const PREFIX = /^[A-Za-z0-9_.:/-]{1,128}$/;
const PAGE = 1000;
const insert = script(scripts.INSERT);
const read = script(scripts.READ);
const write = script(scripts.WRITE);
const increment = script(scripts.INCREMENT);
const remove = script(scripts.REMOVE);
const revoke = script(indexScripts.REVOKE);
const enter = script(indexScripts.ENTER);
const page = script(indexScripts.PAGE);
const leave = script(indexScripts.LEAVE);

/**
 * Keeps sessions in Redis >= 6.2 or Valkey, one hash each, as the session-store guides of the Redis documentation do.
 *
 * The client stays the caller's, who connects and closes it.
 *
 * @param client A connected node-redis client of any kind: `createClient`, `createClientPool`, `createCluster`,
 * `createSentinel`.
 * @throws {TypeError} If it is no such client, or the prefix has other characters.
 */
export function redisBackend(client: RedisClient, options: RedisBackendOptions = {}): SessionBackend {
  const action = "create a Redis backend";
  const { prefix = "session:" } = knownOptions(action, options, ["prefix"]);
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    throw new TypeError(`Cannot ${action} as prefix must be 1 to 128 letters, digits and _ - . : /`);
  }
  guard(client);

  const indexKey = (entry: string): string => `${prefix}index:${entry}`;

  /** What is there now, without a script: a plain read costs the server a fraction of one. */
  async function peek(key: string, access: Access, fields: readonly string[] | null): Promise<StoredSession | Absence> {
    const record = await answerOf(client, "not-applied", async () =>
      fields === null
        ? ownFields(await client.hGetAll(prefix + key))
        : zip(await client.hmGet(prefix + key, [...RESERVED_FIELDS, ...fields]), fields),
    );
    const admitted = admit(record, access);
    return admitted === "open" ? record : admitted;
  }

  return {
    async insert(key, record, now, notAfter) {
      const life = lifetime(record, idleSeconds(record) ?? FALLBACK_IDLE_SECONDS, now);
      const args = [String(life), String(notAfter ?? ""), ...Object.entries(record).flat()];
      return (await runScript(client, insert, prefix + key, args)) as Awaited<ReturnType<SessionBackend["insert"]>>;
    },

    async read(key, access, { touch, fields }) {
      if (!touch) return await peek(key, access, fields);
      const reply = await runScript(client, read, prefix + key, [...accessArgs(access), ...(fields ?? [])]);
      return recordOf(reply, fields);
    },

    async write(key, access, { set, remove: gone, expect = {}, fields, notAfter, touch = true }) {
      const expected = Object.entries(expect).filter((entry): entry is [string, string] => entry[1] !== null);
      const absent = Object.keys(expect).filter((name) => expect[name] === null);
      const counts = [Object.keys(set).length, gone.length, expected.length, absent.length];
      const reply = await runScript(client, write, prefix + key, [
        ...accessArgs(access),
        set[reserved.idleTimeout] ?? "",
        String(notAfter ?? ""),
        touch ? "1" : "0",
        ...counts.map(String),
        ...Object.entries(set).flat(),
        ...gone,
        ...expected.flat(),
        ...absent,
        ...(fields ?? []),
      ]);
      return reply === "changed" || reply === "revoked" ? reply : recordOf(reply, fields);
    },

    async increment(key, access, { field, by, from, min, max }) {
      const args = [...accessArgs(access), field, ...[by, from, min, max].map(String)];
      const reply = await runScript(client, increment, prefix + key, args);
      return (typeof reply === "string" && /^-?[0-9]/.test(reply) ? Number(reply) : reply) as Increased;
    },

    async remove(key, access) {
      const reply = await runScript(client, remove, prefix + key, accessArgs(access));
      return Array.isArray(reply) ? zip(reply, []) : (reply as "reused" | null);
    },

    async revoke(key, entry, tombstoneMs) {
      const reply = await runScript(client, revoke, prefix + key, [entry, String(tombstoneMs)]);
      return Array.isArray(reply) ? zip(reply, []) : (reply as "other" | "nothing");
    },

    async enter(entry, key, lifeMs, count) {
      const reply = await runScript(client, enter, indexKey(entry), [key, String(lifeMs), String(count)]);
      return { ...pageOf(reply), sample: membersOf((reply as string[][])[3] ?? []) };
    },

    async page(entry, after, count) {
      return pageOf(await runScript(client, page, indexKey(entry), [String(after), String(count)]));
    },

    async leave(entry, members) {
      const args = members.flatMap(({ key, score }) => [key, String(score ?? "")]);
      await runScript(client, leave, indexKey(entry), args);
    },

    async *keys() {
      for (const server of await answerOf(client, "not-applied", () => servers(client))) {
        let cursor = "0";
        do {
          const options = { MATCH: `${prefix}*`, COUNT: PAGE, TYPE: "hash" };
          const page = await answerOf(client, "not-applied", () => server.scan(cursor, options));
          yield page.keys.map((key) => key.slice(prefix.length));
          cursor = page.cursor;
        } while (cursor !== "0");
      }
    },
  };
}

/** ARGV[1..4] of every script that takes an access. */
function accessArgs({ now, verifier, previous }: Access): string[] {
  return [String(now), new Date(now).toISOString(), verifier ?? "", previous ? "1" : "0"];
}

/** The reply of a script in the place of a session. */
function recordOf(reply: unknown, fields: readonly string[] | null): StoredSession | Absence {
  if (!Array.isArray(reply)) return reply as Absence;
  if (fields !== null && fields.length > 0) return zip(reply, fields);
  const record: Record<string, string> = Object.create(null);
  for (let at = 0; at < reply.length; at += 2) record[reply[at]] = reply[at + 1];
  return record;
}

/** The reply of a script in the place of a page. */
function pageOf(reply: unknown): IndexPage {
  const [at, size, flat] = reply as [number, number, string[]];
  return { at, size, members: membersOf(flat) };
}

/** Members and scores by turns. */
function membersOf(flat: readonly string[]): Member[] {
  const members = [];
  for (let i = 0; i < flat.length; i += 2) members.push({ key: flat[i] as string, score: Number(flat[i + 1]) });
  return members;
}

/** Texts in the order of the reserved fields and those that were asked for. */
function zip(texts: readonly (string | null)[], fields: readonly string[]): StoredSession {
  const record: Record<string, string> = Object.create(null);
  texts.forEach((text, at) => {
    const name = RESERVED_FIELDS[at] ?? fields[at - RESERVED_FIELDS.length];
    if (text !== null && name !== undefined) record[name] = text;
  });
  return record;
}

/** What a hash holds, and nothing that an object inherits. */
function ownFields(hash: Readonly<Record<string, string>>): StoredSession {
  return Object.assign(Object.create(null), hash);
}
