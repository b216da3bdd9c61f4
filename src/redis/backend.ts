import type { Change, ReadRequest, SessionBackend } from "../backend.ts";
import { type Absence, type Access, checkAccess } from "../base/access.ts";
import { nullObject } from "../base/null-object.ts";
import { randomText } from "../base/token.ts";
import {
  idleSeconds,
  isReserved,
  isSession,
  RESERVED_FIELDS,
  reserved,
  type StoredSession,
  timeOf,
} from "../record.ts";
import { ask, runScript } from "./answers.ts";
import type { BackendSettings } from "./backend-options.ts";
import { type RedisClient, type RedisKeys, servers } from "./client.ts";
import { codeOf } from "./error-codes.ts";
import * as indexScripts from "./index-scripts.ts";
import * as lifecycle from "./lifecycle-scripts.ts";
import type { Script } from "./lua.ts";
import { confirmedBy, type RunScript } from "./replicas.ts";
import {
  enteredOf,
  headFromReply,
  numbersFromReplies,
  pageOf,
  policyFromReply,
  recordFromReply,
  sampleOf,
  textFromReply,
  writtenFromReply,
  zip,
} from "./replies.ts";
import * as scripts from "./session-scripts.ts";

const KEYS_PER_PAGE = 1000;

/** The methods that the backend of a client has. */
export type ClientBackend = SessionBackend & Required<Pick<SessionBackend, "left">>;

/** Creates a backend over a client that `guard` has accepted. */
export function clientBackend(client: RedisClient, { prefix, waitForReplicas }: BackendSettings): ClientBackend {
  const run: RunScript = (script, key, args) => ask(client, "unknown", (to) => runScript(to, script, key, args));
  const runConfirmed = waitForReplicas === undefined ? run : confirmedBy(client, waitForReplicas);
  // Braces would choose the slot of the key in a cluster, so that one value could gather many indexes on one server.
  const indexKey = (entry: string): string => `${prefix}index:${entry.replace(/[%{}]/g, encodeURIComponent)}`;

  /**
   * Runs a script on a session's key and drops the cached copy of that key.
   *
   * @param otherwise The result if the key holds another type than a hash; the key is left as it is.
   */
  async function onSession(
    runs: RunScript,
    script: Script,
    key: string,
    args: string[],
    otherwise: string | null = "invalid",
  ): Promise<unknown> {
    try {
      return await runs(script, prefix + key, args);
    } catch (error) {
      return unreadable(error, otherwise);
    } finally {
      invalidate(key);
    }
  }

  /**
   * Drops the cached copy of a key. Redis sends the invalidation only after the reply to the write, so without this a
   * read in between would return the old session.
   */
  function invalidate(key: string): void {
    client.clientSideCache?.invalidate(prefix + key);
  }

  /** Reads a session with a plain command, without a script. */
  async function plain(key: string, fields: readonly string[] | null): Promise<StoredSession | "invalid"> {
    try {
      if (fields === null) {
        return ownFields(await ask(client, "not-applied", (from) => from.hGetAll(prefix + key), true));
      }
      const names = RESERVED_FIELDS.concat(fields);
      return zip(await ask(client, "not-applied", (from) => from.hmGet(prefix + key, names), true), fields);
    } catch (error) {
      return unreadable(error, "invalid");
    }
  }

  async function runRead(
    key: string,
    access: Access,
    { touch, fields }: ReadRequest,
  ): Promise<StoredSession | Absence> {
    const args = [...accessArgs(access), touch ? "1" : "0", ...(fields ?? [])];
    return recordFromReply(await onSession(run, scripts.READ, key, args), access, fields, []);
  }

  /**
   * Reads a session without touching it. Uses no script if possible: a plain read costs the server a fraction of that, and
   * node-redis can answer it from its client-side cache.
   */
  async function peek(key: string, access: Access, request: ReadRequest): Promise<StoredSession | Absence> {
    const { fields, maxAgeMs = 0 } = request;
    const isNear = maxAgeMs > 0 && client.clientSideCache !== undefined;
    if (!isNear) invalidate(key);
    const record = await plain(key, fields);
    // Whether the previous secret or a proof has expired, only the server's clock can tell.
    const found = record === "invalid" ? record : checkAccess(record, { ...access, previous: false, proof: null });
    if (found === "unproven") return await runRead(key, access, request);
    const isOpen = record !== "invalid" && found === "open";
    if (isOpen && isNear) {
      const age = access.now - timeOf(record[reserved.lastAccessedAt]);
      // Redis tells some time later that the key has expired.
      const idleMs = (idleSeconds(record) ?? 0) * 1000;
      if (age >= 0 && age < Math.min(maxAgeMs, idleMs)) return record;
    }
    if (isOpen && !isNear) return record;
    // The cached copy may be too old, for example from before a rotation. And if the session seems to have ended, only the
    // server's clock can tell. A missing session is not cached either, or made-up tokens would fill the cache.
    if (isNear) return await peek(key, access, { touch: false, fields });
    invalidate(key);
    if (record === "invalid" || !isSession(record)) return record === "invalid" ? record : null;
    return await runRead(key, access, request);
  }

  return {
    async insert(key, record, { absoluteMs, covered, lifeMs, notAfter, stamp = [] }) {
      const lengths = [absoluteMs, covered, lifeMs, notAfter].map((one) => String(one ?? ""));
      const args = [...lengths, String(stamp.length), ...stamp, ...Object.entries(record).flat()];
      return headFromReply(await run(lifecycle.INSERT, prefix + key, args), "taken", "revoked");
    },

    async read(key, access, request) {
      return await (request.touch ? runRead : peek)(key, access, request);
    },

    async write(key, access, change) {
      const { set, remove, expect = {}, fields, graceMs, maxBytes, notAfter, stamp = [], touch = true } = change;
      const { expected, absent } = expectedArgs(expect);
      const counts = [Object.keys(set).length, remove.length, expected.length, absent.length, stamp.length];
      const runs = set[reserved.verifier] === undefined ? run : runConfirmed;
      const reply = await onSession(runs, scripts.WRITE, key, [
        ...accessArgs(access),
        touch ? "1" : "0",
        ...[notAfter, graceMs, maxBytes].map((one) => String(one ?? "")),
        Object.keys(set).every(isReserved) ? "1" : "0",
        ...counts.map(String),
        ...Object.entries(set).flat(),
        ...remove,
        ...expected.flat(),
        ...absent,
        ...stamp,
        ...(fields ?? []),
      ]);
      return writtenFromReply(reply, access, change);
    },

    async increment(key, access, { field, by, from, min, max, maxBytes }) {
      const args = [...accessArgs(access), field, ...[by, from, min, max, maxBytes ?? ""].map(String)];
      const reply = await onSession(run, scripts.INCREMENT, key, args);
      const refusals = ["too_small", "too_big", "too_many_bytes", "invalid_type"] as const;
      return recordFromReply(reply, access, [field], refusals);
    },

    async remove(key, access, _ending, fields, expect = {}) {
      const { expected, absent } = expectedArgs(expect);
      // A script that is asked for no field returns the whole session.
      const wanted = fields?.length === 0 ? [reserved.createdAt] : fields;
      const counts = [expected.length, absent.length].map(String);
      const args = [...accessArgs(access), ...counts, ...expected.flat(), ...absent, ...(wanted ?? [])];
      const reply = await onSession(runConfirmed, lifecycle.REMOVE, key, args, null);
      return recordFromReply(reply, access, wanted, ["changed"]);
    },

    async revoke(key, entry, _ending, tombstoneMs) {
      const args = [entry, String(tombstoneMs)];
      return headFromReply(await onSession(runConfirmed, lifecycle.REVOKE, key, args, "other"), "other", "nothing");
    },

    async enter(entry, key, lifeMs, count) {
      return enteredOf(await run(indexScripts.ENTER, indexKey(entry), [key, String(lifeMs), String(count)]));
    },

    async extend(entry, key, lifeMs) {
      return sampleOf(await run(indexScripts.EXTEND, indexKey(entry), [key, String(lifeMs)]));
    },

    async page(entry, after, count) {
      const args = [String(after), String(count)];
      return pageOf(
        await ask(client, "not-applied", (from) => runScript(from, indexScripts.PAGE, indexKey(entry), args)),
      );
    },

    async leave(entry, members) {
      const args = members.flatMap(({ key, score }) => [key, String(score ?? "")]);
      await run(indexScripts.LEAVE, indexKey(entry), args);
    },

    async evictionPolicy() {
      const ran = ask(client, "not-applied", (to) => runScript(to, indexScripts.MEMORY, prefix, []));
      return policyFromReply(await ran);
    },

    async shared(name) {
      return textFromReply(await runConfirmed(lifecycle.SHARE, `${prefix}shared:${name}`, [randomText(32)]));
    },

    async left(keys) {
      const look = async (some: string[]): Promise<unknown> =>
        some.length === 0 ? [] : await ask(client, "not-applied", (from) => runScript(from, lifecycle.LEFT, some, []));
      const stored = keys.map((key) => prefix + key);
      // In a cluster, the keys of one script must be in one slot.
      const groups = client.masters === undefined ? [stored] : stored.map((key) => [key]);
      return numbersFromReplies(await Promise.all(groups.map(look)), keys.length);
    },

    async *keys() {
      for (const server of await ask(client, "not-applied", () => servers(client))) {
        let cursor = "0";
        do {
          const options = { MATCH: `${prefix}*`, COUNT: KEYS_PER_PAGE, TYPE: "hash" };
          const page = await ask(client, "not-applied", (one) => (server ?? (one as RedisKeys)).scan(cursor, options));
          yield page.keys.map((key) => key.slice(prefix.length));
          cursor = page.cursor;
        } while (cursor !== "0");
      }
    },
  };
}

/** Returns ARGV[1..4] of the scripts that check an access. */
function accessArgs({ verifier, previous, proof, unproven = false }: Access): string[] {
  return [verifier ?? "", previous ? "1" : "0", proof ?? "", unproven ? "1" : "0"];
}

/** Returns the texts and the absent fields of a compare-and-set. */
function expectedArgs(expect: NonNullable<Change["expect"]>) {
  const expected = Object.entries(expect).filter((entry): entry is [string, string] => entry[1] !== null);
  return { expected, absent: Object.keys(expect).filter((name) => expect[name] === null) };
}

/** Returns `answer` if the key holds another type than a hash; rethrows every other error. */
function unreadable<Answer>(error: unknown, answer: Answer): Answer {
  if (codeOf((error as Error).cause) !== "WRONGTYPE") throw error;
  return answer;
}

/** Copies the fields into an object without a prototype, so that inherited properties do not pass for fields. */
function ownFields(hash: Readonly<Record<string, string>>): StoredSession {
  return Object.assign(nullObject(), hash);
}
