import assert from "node:assert/strict";
import * as z from "zod";
import {
  createSessionStore,
  memoryBackend,
  type SessionBackend,
  SessionBackendError,
  SessionConflictError,
} from "../../src/index.ts";
import type { StoredSession } from "../../src/record.ts";
import { manualClock } from "../../src/testing/index.ts";
import { explore, type Outcome, type Performed, timedOnArrival, type World } from "./explore.ts";
import { allListed } from "./members.ts";

const Visit = z.object({
  userId: z.string(),
  name: z.string().default("old"),
  n: z.int().default(0),
  flash: z.string().optional(),
});
const IDLE = 1800;

function optionsOn(backend: SessionBackend, now: () => number) {
  return { schema: Visit, backend, idleTimeout: IDLE, now, operationTimeout: "30s" as const };
}

function storeOn(backend: SessionBackend, now: () => number) {
  return createSessionStore({ ...optionsOn(backend, now), indexes: { user: "userId" } });
}
type Store = ReturnType<typeof storeOn>;

/** A clock that is off by another amount at every question. No process may decide anything by such a clock. */
function wrongClock(now: () => number, actor: number): () => number {
  const minute = 60_000;
  const year = 525_600 * minute;
  const offsets = [10 * year, -10 * year, 45 * minute, -45 * minute, 0, 2 * minute, -2 * minute];
  let asked = actor;
  return () => now() + (offsets[asked++ % offsets.length] ?? 0);
}

/** The session that all operations use, a session of another user, and the clock. */
interface Scene {
  readonly token: string;
  readonly id: string;
  readonly clock: ReturnType<typeof manualClock>;
}

type Act = (store: Store, scene: Scene, backend: SessionBackend) => Promise<unknown>;

const acts = {
  create: (store) => store.create({ userId: "u" }),
  get: (store, { token }) => store.get(token),
  patch: (store, { token }) => store.update(token, { name: "new" }),
  function: (store, { token }) => store.update(token, ({ n }) => ({ n: n + 1 })),
  increment: (store, { token }) => store.increment(token, "n"),
  take: (store, { token }) => store.take(token, "flash"),
  move: (store, { token }) => store.update(token, { userId: "v" }),
  rotate: (store, { token }) => store.rotate(token),
  rotateWithPatch: (store, { token }) => store.rotate(token, { patch: ({ n }) => ({ n: n + 1 }) }),
  rotateWithGrace: (store, { token }) => store.rotate(token, { grace: 60 }),
  destroy: (store, { token }) => store.destroy(token),
  consume: (store, { token }) => store.consume(token),
  revoke: (store, { id }) => store.revoke(id),
  revokeOf: (store, { id }) => store.revoke(id, { of: { user: "u" } }),
  reindex: (store) => store.reindex(),
  revokeAll: (store) => store.revokeAll({ user: "u" }),
  raise: (store, { token }) => store.setIdleTimeout(token, 3 * IDLE),
  lower: (store, { token }) => store.setIdleTimeout(token, IDLE / 2),
  moveByOldVersion: (_store, { token, clock }, backend) =>
    createSessionStore(optionsOn(backend, clock.now)).update(token, { userId: "v" }),
  list: (store) => allListed(store, { user: "u" }),
  listOther: (store) => allListed(store, { user: "v" }),
  aMinutePasses: async (_store, { clock }, backend) => {
    await backend.page("*", 0, 1, clock.now());
    clock.advance("61s");
  },
  expiry: async (_store, { clock }, backend) => {
    await backend.page("*", 0, 1, clock.now());
    clock.advance(IDLE + 0.001);
  },
} satisfies Record<string, Act>;
export type Name = keyof typeof acts;

/** Operations that have a test of their own, because triples of them would take too long. */
export const OWN: readonly Name[] = ["consume", "revokeOf", "reindex"];
export const NAMES: readonly Name[] = (Object.keys(acts) as Name[]).filter((name) => !OWN.includes(name));
/** Operations that move a session, extend its indexes, or need that others do. */
export const COVERS: readonly Name[] = ["raise", "lower", "moveByOldVersion"];
const MOVES: readonly Name[] = ["move", "moveByOldVersion"];
const ENDS: readonly Name[] = ["destroy", "consume", "revoke", "revokeOf", "revokeAll", "expiry"];
/** Operations that take more than half a minute are refused. */
const PASSES: readonly Name[] = ["aMinutePasses", "expiry"];
export const ROTATES: readonly Name[] = ["rotate", "rotateWithPatch", "rotateWithGrace"];
const COUNTS: readonly Name[] = ["function", "increment", "rotateWithPatch"];

/** @param age The milliseconds since the session was last used. */
async function world(names: readonly Name[], age: number): Promise<World> {
  const clock = manualClock();
  const backend = timedOnArrival(memoryBackend(), clock.now);
  const setUp = storeOn(backend, clock.now);
  // The index entry of the session's former value still contains it.
  const { token, session } = await setUp.create({ userId: "v", flash: "hello" });
  await setUp.update(token, { userId: "u" });
  clock.advance(age / 1000);
  const other = await setUp.create({ userId: "w" });
  const scene: Scene = { token, id: session.id, clock };
  return {
    backend,
    actors: names.map((name, at) => (own) => acts[name](storeOn(own, wrongClock(clock.now, at)), scene, own)),
    check: (outcomes, trace) => holdsAfter(names, outcomes, trace, { ...scene, backend, store: setUp, other }),
  };
}

interface Final extends Scene {
  readonly backend: SessionBackend;
  readonly store: Store;
  readonly other: Awaited<ReturnType<Store["create"]>>;
}

async function rawRecord({ backend, clock }: Final, key: string): Promise<StoredSession | null> {
  const found = await backend.read(key, { verifier: null, previous: true, now: clock.now() }, { fields: null });
  return typeof found === "string" ? null : found;
}

/** Checks what must hold after every order of the operations. */
async function holdsAfter(
  names: readonly Name[],
  outcomes: readonly Outcome[],
  trace: readonly Performed[],
  final: Final,
): Promise<void> {
  const { store, token, id, other, clock, backend } = final;
  const did = names.map((name, at) => ({ name, ...outcomes[at]! }));
  const acknowledged = (wanted: readonly Name[]) =>
    did.filter(
      ({ name, status, value }) => wanted.includes(name) && status === "fulfilled" && value !== null && value !== false,
    );
  const unknown = (wanted: readonly Name[]) =>
    did.filter(
      ({ name, status, reason }) =>
        wanted.includes(name) && (status === "pending" || reason instanceof SessionBackendError),
    );

  for (const { status, reason } of did) {
    if (status === "rejected") {
      assert(reason instanceof SessionBackendError || reason instanceof SessionConflictError, String(reason));
    }
  }
  const record = await rawRecord(final, id);
  const expired = names.includes("expiry");

  // A session that has ended does not come back.
  const ends = acknowledged(["destroy", "consume", "revoke", "revokeOf"]);
  assert(ends.length <= 1);
  if (ends.length > 0) assert.equal(record, null);
  const revoked = did.some(({ name, status }) => name === "revokeAll" && status === "fulfilled");
  if (revoked && !names.some((name) => MOVES.includes(name))) assert.equal(record, null);
  if (revoked && record !== null) assert.equal(record["userId"], "v");
  // Without an operation that ends sessions, the session still exists.
  if (!names.some((name) => ENDS.includes(name))) assert.notEqual(record, null);

  // An acknowledged write is stored.
  if (record !== null) {
    if (acknowledged(["patch"]).length > 0) assert.equal(record["name"], "new");
    if (acknowledged(MOVES).length > 0) assert.equal(record["userId"], "v");
    const counted = acknowledged(COUNTS).length;
    const n = Number(record["n"]);
    assert(n >= counted && n <= counted + unknown(COUNTS).length, `${n} of ${counted} were counted`);
    if (acknowledged(["take"]).length > 0) assert.equal(record["flash"], undefined);
    else if (unknown(["take"]).length === 0) assert.equal(record["flash"], "hello");
  }
  assert(acknowledged(["take"]).length <= 1);

  // Only one token is valid, and within a grace period its predecessor.
  const rotations = acknowledged(ROTATES);
  assert(rotations.length <= 1);
  const tokens = [token, ...rotations.map(({ value }) => (value as { token: string }).token)];
  const working = [];
  for (const one of tokens) if ((await store.peek(one)) !== null) working.push(one);
  const graced = rotations.some(({ name }) => name === "rotateWithGrace");
  if (record === null) assert.deepEqual(working, []);
  else if (rotations.length > 0) assert.deepEqual(graced ? working.slice(-1) : working, tokens.slice(1));
  else if (unknown(ROTATES).length === 0) assert.deepEqual(working, [token]);

  // A version that does not declare the index leaves the entry; the next get corrects it.
  if (names.includes("moveByOldVersion")) await Promise.all(working.map((one) => store.get(one)));
  // Every live session is listed, so that revokeAll finds it. After a revokeAll, no session is left that it missed.
  for await (const keys of backend.keys()) {
    for (const key of keys) {
      const live = await rawRecord(final, key);
      if (live === null) continue;
      if (key === id && names.includes("moveByOldVersion") && working.length === 0) continue;
      const { members } = await backend.page(`user:${live["userId"]}`, 0, 100, clock.now());
      assert(members.some((member) => member.key === key));
      assert.equal(live["session_index"], JSON.stringify([`user:${live["userId"]}`]));
    }
  }
  // A session that was created exists, unless its create was refused or it was revoked.
  const stepOf = (actor: number, method: string) =>
    trace.findIndex((performed) => performed.actor === actor && performed.method === method);
  for (const [at, { name, status, value, reason }] of did.entries()) {
    if (name !== "create") continue;
    if (status === "rejected" && reason instanceof SessionConflictError) {
      assert(names.some((name) => name === "revokeAll" || PASSES.includes(name)));
    }
    if (status !== "fulfilled" || expired) continue;
    const lives = (await store.peek((value as { token: string }).token)) !== null;
    // A session that was added to the index before revokeAll read it does not survive.
    const seen = did.some(
      (one, by) => one.name === "revokeAll" && one.status === "fulfilled" && stepOf(by, "page") > stepOf(at, "enter"),
    );
    if (seen) assert(!lives);
    if (!names.includes("revokeAll")) assert(lives);
  }
  // The session of the other user is unchanged.
  if (!expired) assert.deepEqual((await store.peek(other.token))?.data, { userId: "w", name: "old", n: 0 });
}

/** The session was used a minute ago, so that its index entries are old enough to be removed. */
export const FRESH_MS = 61_000;
/** The session was used so long ago that its next use must extend its indexes. */
export const DUE_MS: number = IDLE * 700;

/**
 * Runs every order of each of these sets of operations.
 *
 * @param age The milliseconds since the session was last used.
 * @returns The number of schedules.
 */
export async function exploreAll(
  sets: readonly (readonly Name[])[],
  faults: boolean,
  age: number = FRESH_MS,
): Promise<number> {
  let count = 0;
  for (const names of sets) {
    try {
      count += await explore(() => world(names, age), faults);
    } catch (error) {
      (error as Error).message = `${names.join(", ")}: ${(error as Error).message}`;
      throw error;
    }
  }
  return count;
}

const pairsOf = (names: readonly Name[]): readonly (readonly Name[])[] =>
  names.flatMap((a, at) => names.slice(at).map((b) => [a, b]));

/** All pairs of operations, including each operation with itself. */
export const pairs = pairsOf(NAMES);
/** Pairs of those operations that differ if the indexes of the session are due. */
const duePairs = pairsOf([
  ...(["get", "move", "rotateWithPatch", "destroy", "revokeAll", "list", "aMinutePasses"] as const),
  ...COVERS,
]);

const hasOldVersion = (names: readonly Name[]): boolean => names.includes("moveByOldVersion");
const extendsTwice = (names: readonly Name[]): boolean => names.every((name) => COVERS.includes(name));
/** The due pairs in three parts. Those of the last one have so many orders that faults would take too long. */
export const dueByOldVersion = duePairs.filter((names) => hasOldVersion(names) && !extendsTwice(names));
export const otherDuePairs = duePairs.filter((names) => !hasOldVersion(names) && !extendsTwice(names));
export const dueTwice = duePairs.filter(extendsTwice);
