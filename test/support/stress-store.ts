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
/** One field for each process, which no other one writes. */
export const ownField = (process: number): "own0" => `own${process}` as "own0";
const own = Object.fromEntries(Array.from({ length: PROCESSES }, (_, at) => [ownField(at), z.int().default(0)]));

export const FIELDS: readonly string[] = [...Object.keys(shape), ...Object.keys(own)];

/** Where everybody meets. */
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
    indexes: { user: "userId" },
    limits: { user: { max: 100, whenFull: "evict-oldest" } },
    // Many processes on few cores are slow, and that is not what is looked at here.
    operationTimeoutMs: 20_000,
  });
  return { client, store };
}

export type Store = Awaited<ReturnType<typeof storeAt>>["store"];

/** A token for one of the places of the shared sessions, from the parent. */
export interface Deal {
  readonly slot: number;
  readonly token: string;
}

/** What a process says while it runs: that it rotated, or that a token opens nothing. */
export type News =
  | { readonly slot: number; readonly from: string; readonly to: string }
  | { readonly slot: number; readonly lost: string };

/** What a process did to one shared session. */
export interface Tally {
  hits: number;
  turns: number;
  /** What may have been added as well: the outcome of these is unknown. */
  unknownHits: number;
  unknownTurns: number;
  /** What its own field was set to last; `null` once that is unknown. */
  own: number | null;
}

/** What a process says in the end. */
export interface Report {
  readonly calls: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly tallies: Readonly<Record<string, Tally>>;
  /** Codes that were taken, and ids of sessions that it ended; the latest. */
  readonly taken: readonly string[];
  readonly ended: readonly string[];
}

export const idOf = (token: string): string => token.slice(0, 22);

/** One at random. */
export const any = <V>(values: readonly V[]): V => values[Math.floor(Math.random() * values.length)] as V;
