import type { Change, SessionBackend } from "../backend.ts";
import { randomText } from "../base/token.ts";
import { isReserved, reserved } from "../record.ts";
import { ask, runScript } from "./answers.ts";
import type { BackendSettings } from "./backend-options.ts";
import type { RedisClient, RedisKeys } from "./client.ts";
import * as indexScripts from "./index-scripts.ts";
import * as lifecycle from "./lifecycle-scripts.ts";
import { servers } from "./primaries.ts";
import { confirmedBy, type RunScript } from "./replicas.ts";
import {
  cursorOf,
  enteredOf,
  headFromReply,
  numbersFromReplies,
  pageOf,
  policyFromReply,
  recordFromReply,
  sampleOf,
  textFromReply,
  writtenFromReply,
} from "./replies.ts";
import { sessionKeys } from "./session-keys.ts";
import * as scripts from "./session-scripts.ts";

const KEYS_PER_PAGE = 1000;

/** The methods that the backend of a client has. */
export type ClientBackend = SessionBackend & Required<Pick<SessionBackend, "left">>;

/** Creates a backend over a client that `guard` has accepted. */
export function clientBackend(client: RedisClient, { prefix, waitForReplicas }: BackendSettings): ClientBackend {
  const run: RunScript = (script, key, args) => ask(client, "unknown", (to) => runScript(to, script, key, args));
  const runConfirmed = waitForReplicas === undefined ? run : confirmedBy(client, waitForReplicas);
  // On one server, a replica that has a session also has what was written before it. In a cluster the index of the session may
  // be on another master, whose replica may not have the member.
  const runOnIndex = client.masters === undefined ? run : runConfirmed;
  // Braces would choose the slot of the key in a cluster, so that one value could gather many indexes on one server.
  const indexKey = (entry: string): string => `${prefix}index:${entry.replace(/[%{}]/g, encodeURIComponent)}`;

  const { onSession, read, touch } = sessionKeys(client, prefix, run);
  return {
    async insert(key, record, { absolute, covered, life, notAfter, stamp = [] }) {
      const lengths = [absolute, covered, life, notAfter].map((one) => String(one ?? ""));
      const args = [...lengths, String(stamp.length), ...stamp, ...Object.entries(record).flat()];
      return headFromReply(await run(lifecycle.INSERT, prefix + key, args), "taken", "revoked");
    },

    read,
    touch,

    async write(key, access, change) {
      const { set, remove, expect = {}, fields, grace, maxBytes, notAfter, stamp = [], touch = true } = change;
      const { expected, absent } = expectedArgs(expect);
      const counts = [Object.keys(set).length, remove.length, expected.length, absent.length, stamp.length];
      const runs = set[reserved.verifier] === undefined ? run : runConfirmed;
      const reply = await onSession(runs, scripts.WRITE, key, [
        ...scripts.accessArgs(access),
        touch ? "1" : "0",
        ...[notAfter, grace, maxBytes].map((one) => String(one ?? "")),
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
      const args = [...scripts.accessArgs(access), field, ...[by, from, min, max, maxBytes ?? ""].map(String)];
      const reply = await onSession(run, scripts.INCREMENT, key, args);
      const refusals = ["too_small", "too_big", "too_many_bytes", "invalid_type"] as const;
      return recordFromReply(reply, access, [field], refusals);
    },

    async remove(key, access, _ending, fields, expect = {}) {
      const { expected, absent } = expectedArgs(expect);
      // A script that is asked for no field returns the whole session.
      const wanted = fields?.length === 0 ? [reserved.createdAt] : fields;
      const counts = [expected.length, absent.length].map(String);
      const args = [...scripts.accessArgs(access), ...counts, ...expected.flat(), ...absent, ...(wanted ?? [])];
      const reply = await onSession(runConfirmed, lifecycle.REMOVE, key, args, null);
      return recordFromReply(reply, access, wanted, ["changed"]);
    },

    async revoke(key, entry, _ending, tombstone) {
      const args = [entry, String(tombstone)];
      return headFromReply(await onSession(runConfirmed, lifecycle.REVOKE, key, args, "other"), "other", "nothing");
    },

    async enter(entry, key, life, count) {
      return enteredOf(await runOnIndex(indexScripts.ENTER, indexKey(entry), [key, String(life), String(count)]));
    },

    async extend(entry, key, life) {
      return sampleOf(await runOnIndex(indexScripts.EXTEND, indexKey(entry), [key, String(life)]));
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
        const options = { MATCH: `${prefix}*`, COUNT: KEYS_PER_PAGE, TYPE: "hash" };
        const cursors = new Set<string>();
        let cursor = "0";
        do {
          const page = await ask(client, "not-applied", (one) => (server ?? (one as RedisKeys)).scan(cursor, options));
          yield page.keys.map((key) => key.slice(prefix.length));
          cursor = cursorOf(page.cursor, cursors);
        } while (cursor !== "0");
      }
    },
  };
}

/** Returns the texts and the absent fields of a compare-and-set. */
function expectedArgs(expect: NonNullable<Change["expect"]>) {
  const expected = Object.entries(expect).filter((entry): entry is [string, string] => entry[1] !== null);
  return { expected, absent: Object.keys(expect).filter((name) => expect[name] === null) };
}
