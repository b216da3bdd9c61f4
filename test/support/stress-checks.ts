import { createClient } from "redis";
import type { StoredSession } from "../../src/record.ts";
import { allListed } from "./members.ts";
import { FIELDS, idOf, ownField, type Place, type Report, type Store, type Tally, USERS } from "./stress-store.ts";

/** A stored record, and the milliseconds until its key expires. */
interface Kept {
  readonly id: string;
  readonly fields: StoredSession;
  readonly left: number;
}

/** The state after the run. */
export interface Scene {
  readonly place: Place;
  readonly store: Store;
  /** The tokens of the shared sessions. */
  readonly tokens: readonly string[];
  readonly reports: readonly Report[];
  /** The exit code of each process; 0 if all is well. */
  readonly exits: readonly (number | null)[];
}

/** Returns a description of each violation. */
export type Check = (scene: Scene) => Promise<string[]> | string[];

const PENDING_MS = 60_000;
const RESERVED = [
  "created_at",
  "last_accessed_at",
  "session_ttl",
  "session_deadline",
  "session_verifier",
  "session_index",
  "session_absolute",
];
const SOMETIMES = ["session_previous", "session_grace", "session_rotated_at", "code"];
const EXPECTED_ERRORS = [
  "SessionConflictError contended",
  "SessionConflictError revoked",
  "SessionBackendError timeout",
];

export const CHECKS: Readonly<Record<string, Check>> = {
  "every process exited without an error": ({ exits }) =>
    exits.flatMap((code, at) => (code === 0 ? [] : [`process ${at}: exit code ${code}`])),

  "calls failed only with expected errors": ({ reports }) =>
    reports.flatMap(({ errors }) => Object.keys(errors).filter((kind) => !EXPECTED_ERRORS.includes(kind))),

  "every key has an expiry": async ({ place }) =>
    await withKeys(place, async (client, keys) => {
      const left = await Promise.all(keys.map((key) => client.pTTL(key)));
      // -2 means that the key has expired meanwhile.
      return keys.filter((_, at) => (left[at] ?? 0) === -1);
    }),

  "every session has all its fields and expires in time": async ({ place }) =>
    (await recordsOf(place)).flatMap(({ id, fields, left }) => {
      if (fields["session_revoked"] !== undefined) {
        return Object.keys(fields).length === 1 && left <= PENDING_MS ? [] : [`${id}: a tombstone that is more`];
      }
      const missing = [...RESERVED, ...FIELDS].filter((name) => name !== "code" && fields[name] === undefined);
      const foreign = Object.keys(fields).filter((name) => ![...RESERVED, ...FIELDS, ...SOMETIMES].includes(name));
      const most = Math.min(
        Number(fields["session_ttl"]) * 1000,
        Number(fields["session_deadline"]) - Date.now() + 100,
      );
      const late = left > most ? [`has ${left} of ${most} ms`] : [];
      return [...missing.map((name) => `no ${name}`), ...foreign, ...late].map((what) => `${id}: ${what}`);
    }),

  "every session is in the index entry of its value": async ({ place, store }) => {
    const wrong: string[] = [];
    const records = (await recordsOf(place)).filter(({ fields }) => fields["created_at"] !== undefined);
    for (const user of USERS) {
      const listed = (await allListed(store, { user })).map(({ id }) => id);
      const there = records.filter(({ fields }) => fields["userId"] === user);
      // A session that ended between the two reads is in neither.
      const missing = there.filter(({ id, left }) => left > 5000 && !listed.includes(id));
      wrong.push(...missing.map(({ id }) => `${id} is not listed under ${user}`));
      wrong.push(
        ...there
          .filter(({ fields }) => fields["session_index"] !== JSON.stringify([`user:${user}`]))
          .map(({ id, fields }) => `${id} of ${user} has ${fields["session_index"]}`),
      );
    }
    return wrong;
  },

  "a list a minute later removes all members without a session from the index": async ({ place, store }) =>
    await withKeys(place, async (client) => {
      const indexes = USERS.map((user) => ({ user, key: `${place.prefix}index:user:${user}` }));
      for (const { key } of indexes) {
        // Ages the members by a minute, during which the session of a new member could still be stored.
        const members = await client.zRangeWithScores(key, 0, -1);
        const older = members.map(({ value, score }) => ({ value, score: score - (PENDING_MS + 1000) * 1000 }));
        if (older.length > 0) await client.zAdd(key, older);
      }
      // A session that ends while the lists are read is checked with the next ones.
      const users = new Map((await recordsOf(place)).map(({ id, fields }) => [id, fields["userId"]]));
      for (const { user } of indexes) await allListed(store, { user });
      const left = await Promise.all(
        indexes.map(async ({ user, key }) =>
          (await client.zRange(key, 0, -1)).filter((id) => users.get(id) !== user).map((id) => `${id} under ${user}`),
        ),
      );
      return left.flat();
    }),

  "counters and fields have every acknowledged write": async ({ place, tokens, reports }) => {
    const records = new Map((await recordsOf(place)).map((record) => [record.id, record.fields]));
    const live = tokens.filter((token) => records.has(idOf(token)));
    if (live.length < tokens.length / 2) return [`only ${live.length} of the shared sessions live`];
    return live.flatMap((token) => {
      const fields = records.get(idOf(token));
      if (fields === undefined) return [];
      const tallies = reports.map((report) => report.tallies[idOf(token)]);
      const sum = (name: Exclude<keyof Tally, "own">) => tallies.reduce((all, tally) => all + (tally?.[name] ?? 0), 0);
      const wrong = [
        between("hits", Number(fields["hits"]), sum("hits"), sum("unknownHits")),
        between("turns", Number(fields["turns"]), sum("turns"), sum("unknownTurns")),
        ...tallies.map((tally, at) =>
          tally && tally.own !== null ? between(ownField(at), Number(fields[ownField(at)]), tally.own, 0) : null,
        ),
      ];
      return wrong.filter((one) => one !== null).map((one) => `${idOf(token)}: ${one}`);
    });
  },

  "no one-time code was taken twice": ({ reports }) => {
    const taken = reports.flatMap((report) => report.taken);
    const seen = new Set<string>();
    return taken.filter((code) => seen.size === seen.add(code).size);
  },

  "no session that was ended still exists": async ({ place, reports }) => {
    const there = new Set((await recordsOf(place)).filter(({ fields }) => fields["created_at"]).map(({ id }) => id));
    return reports.flatMap(({ ended }) => ended.filter((id) => there.has(id)));
  },

  "revokeAll of every user leaves no session": async ({ place, store }) => {
    for (const user of USERS) await store.revokeAll({ user });
    return (await recordsOf(place)).filter(({ fields }) => fields["created_at"] !== undefined).map(({ id }) => id);
  },
};

function between(name: string, value: number, least: number, more: number): string | null {
  return value >= least && value <= least + more ? null : `${name} is ${value} and should be ${least} (+ ${more})`;
}

type Client = ReturnType<typeof createClient>;

async function withKeys<R>({ url, prefix }: Place, use: (client: Client, keys: string[]) => Promise<R>): Promise<R> {
  const client = createClient({ url });
  await client.connect();
  try {
    const keys = new Set<string>();
    for await (const page of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 }))
      for (const key of page) keys.add(key);
    return await use(client as Client, [...keys]);
  } finally {
    client.destroy();
  }
}

async function recordsOf(place: Place): Promise<Kept[]> {
  return await withKeys(place, async (client, keys) => {
    const hashes = keys.filter((key) => !key.startsWith(`${place.prefix}index:`));
    const kept = await Promise.all(
      hashes.map(async (key): Promise<Kept> => {
        const [left, fields] = await Promise.all([client.pTTL(key), client.hGetAll(key)]);
        return { id: key.slice(place.prefix.length), fields: { ...fields }, left };
      }),
    );
    return kept.filter(({ fields }) => Object.keys(fields).length > 0);
  });
}

/** Deletes all keys, as the server may not belong to the tests. */
export async function clear(place: Place): Promise<void> {
  await withKeys(place, async (client, keys) => {
    for (const key of keys) await client.del(key);
  });
}
