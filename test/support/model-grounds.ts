import { randomUUID } from "node:crypto";
import { memoryBackend, type SessionBackend } from "../../src/index.ts";
import type { StoredSession } from "../../src/record.ts";
import { manualClock } from "../../src/testing/index.ts";
import { ENTRIES } from "./model-data.ts";
import type { connect } from "./redis.ts";
import { redisWithClock } from "./redis-clock.ts";

/** The stored records by session ID and the indexes by entry. `left` is the time to live in ms, `null` if unknown. */
export interface Stored {
  readonly records: ReadonlyMap<string, { readonly fields: StoredSession; readonly left: number | null }>;
  readonly indexes: ReadonlyMap<string, { readonly members: readonly string[]; readonly left: number | null }>;
}

/** The backend and clock with which a store is compared to the model. */
export interface Ground {
  readonly backend: SessionBackend;
  readonly now: () => number;
  /** Whether advancing the clock also ages the members of an index. */
  readonly aging: boolean;
  /** The minimum distance in milliseconds that the clock keeps from the end of a session. */
  readonly blur: number;
  advance(milliseconds: number): Promise<void>;
  stored(): Promise<Stored>;
  /** The real time in milliseconds by which stored keys may expire earlier than the clock says. */
  lag(): number;
  close(): Promise<void>;
}

export async function memoryGround(): Promise<Ground> {
  const { now, advance } = manualClock();
  const backend = memoryBackend();
  const byKey = () => ({ verifier: null, previous: true, now: now() });
  return {
    backend,
    now,
    aging: true,
    blur: 0,
    advance: async (milliseconds) => advance(`${milliseconds}ms`),
    lag: () => 0,
    close: async () => {},
    async stored() {
      const records = new Map();
      for await (const keys of backend.keys()) {
        for (const key of keys) {
          const fields = await backend.read(key, byKey(), { fields: null });
          if (typeof fields === "object" && fields !== null) records.set(key, { fields, left: null });
        }
      }
      const indexes = new Map();
      for (const entry of ENTRIES) {
        const { members } = await backend.page(entry, 0, 1000, now());
        if (members.length > 0) indexes.set(entry, { members: members.map(({ key }) => key), left: null });
      }
      return { records, indexes };
    },
  };
}

const DUMP = /* lua */ `
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local hash = redis.call('TYPE', key).ok == 'hash'
  local content = hash and redis.call('HGETALL', key) or redis.call('ZRANGE', key, 0, -1)
  table.insert(found, { key, hash and 'hash' or 'index', redis.call('PTTL', key), content })
end
return found
`;

const DELETE = /* lua */ `
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do redis.call('DEL', key) end
`;

/**
 * A Redis backend with its own key prefix and a clock that only moves when it is advanced. The times to live of its keys are
 * real; the real time that passes is the lag.
 */
export async function redisGround(client: Awaited<ReturnType<typeof connect>>): Promise<Ground> {
  const prefix = `zession-model:${randomUUID()}:`;
  const started = Date.now();
  const { backend, clock } = await redisWithClock(client, prefix, started);
  const run = (script: string, ...more: string[]) => client.eval(script, { keys: [], arguments: [prefix, ...more] });
  return {
    backend,
    now: clock.now,
    aging: true,
    blur: 2000,
    advance: (milliseconds) => clock.advance(milliseconds / 1000),
    lag: () => Date.now() - started + 2,
    close: async () => void (await run(DELETE)),
    async stored() {
      const records = new Map();
      const indexes = new Map();
      const found = (await run(DUMP)) as [key: string, kind: "hash" | "index", left: number, content: string[]][];
      for (const [key, kind, left, content] of found) {
        const name = key.slice(prefix.length);
        if (kind === "hash") records.set(name, { fields: fieldsOf(content), left });
        else indexes.set(name.slice("index:".length), { members: content, left });
      }
      return { records, indexes };
    },
  };
}

function fieldsOf(flat: readonly string[]): StoredSession {
  return Object.fromEntries(flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] as string]] : [])));
}
