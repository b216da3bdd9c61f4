import { createClient } from "redis";
import * as z from "zod";
import { createSessionStore } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";

export const PROCESSES = 8;
export const SESSIONS = 100;
export const USERS: readonly string[] = Array.from({ length: 20 }, (_, at) => `user${at}`);

const shape = {
  userId: z.string(),
  theme: z.string().default("light"),
  hits: z.int().default(0),
  turns: z.int().default(0),
  code: z.string().optional(),
};
/** A field for each process, which no other process writes. */
export const ownField = (process: number): "own0" => `own${process}` as "own0";
const own = Object.fromEntries(Array.from({ length: PROCESSES }, (_, at) => [ownField(at), z.int().default(0)]));

export const FIELDS: readonly string[] = [...Object.keys(shape), ...Object.keys(own)];

/** The server and prefix that all processes share. */
export interface Place {
  readonly url: string;
  readonly prefix: string;
}

export async function storeAt({ url, prefix }: Place, touchInterval = 0) {
  const client = createClient({ url });
  client.on("error", () => {});
  await client.connect();
  const store = createSessionStore({
    schema: z.object({ ...shape, ...(own as Record<"own0", z.ZodDefault<z.ZodInt>>) }),
    backend: redisBackend(client, { prefix }),
    idleTimeout: 600,
    absoluteTimeout: 3600,
    touchInterval,
    indexes: { user: { from: "userId", limit: { max: 100, whenFull: "evict-oldest" } } },
    // Many processes on few cores are slow, which is not under test.
    operationTimeout: "20s",
  });
  return { client, store };
}

export type Store = Awaited<ReturnType<typeof storeAt>>["store"];

/** A token for one of the shared sessions, sent by the parent process. */
export interface Deal {
  readonly slot: number;
  readonly token: string;
}

/** A message from a process: it has rotated a session, or a token is invalid. */
export type News =
  | { readonly slot: number; readonly from: string; readonly to: string }
  | { readonly slot: number; readonly lost: string };

/** The changes of a process to one shared session. */
export interface Tally {
  hits: number;
  turns: number;
  /** Increments with an unknown outcome. */
  unknownHits: number;
  unknownTurns: number;
  /** The last value of the process's own field; `null` if it is unknown. */
  own: number | null;
}

/** The final message of a process. */
export interface Report {
  readonly calls: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly tallies: Readonly<Record<string, Tally>>;
  /** The codes that it took and the IDs of sessions that it ended, as far as they are recent. */
  readonly taken: readonly string[];
  readonly ended: readonly string[];
}

export const idOf = (token: string): string => token.slice(0, 22);

/** Returns a random element. */
export const any = <V>(values: readonly V[]): V => values[Math.floor(Math.random() * values.length)] as V;
