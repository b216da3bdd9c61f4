import assert from "node:assert/strict";
import { expect, test, vi } from "vitest";
import * as z from "zod";
import {
  createSessionStore,
  memoryBackend,
  type Session,
  type SessionBackend,
  SessionBackendError,
  SessionConflictError,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { explore, type Outcome, type Performed, timedOnArrival, type World } from "../support/explore.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

const schema = z.object({
  userId: z.string().optional(),
  name: z.string().default("old"),
  n: z.int().default(0),
  flash: z.string().optional(),
});
type Visit = z.output<typeof schema>;

function storeOn(backend: SessionBackend, now: () => number) {
  return createSessionStore({ schema, backend, now, indexes: { user: "userId" }, operationTimeout: "30s" });
}
type Store = ReturnType<typeof storeOn>;

const acts = {
  logIn: (store: Store, token: string) =>
    store.create((previous) => ({ ...(previous ?? { name: "none" }), userId: "u" }), { replaces: token }),
  patch: (store: Store, token: string) => store.update(token, { name: "new" }),
  function: (store: Store, token: string) => store.update(token, ({ n }) => ({ n: n + 1 })),
  increment: (store: Store, token: string) => store.increment(token, "n"),
  take: (store: Store, token: string) => store.take(token, "flash"),
  rotate: (store: Store, token: string) => store.rotate(token),
  rotateWithPatch: (store: Store, token: string) => store.rotate(token, { patch: { name: "new" } }),
  get: (store: Store, token: string) => store.get(token),
  destroy: (store: Store, token: string) => store.destroy(token),
  revokeAll: (store: Store) => store.revokeAll({ user: "u" }),
} as const;
type Name = keyof typeof acts;

/** What an acknowledged write leaves in the data. */
const written: { readonly [N in Name]?: (data: Visit) => boolean } = {
  patch: ({ name }) => name === "new",
  function: ({ n }) => n >= 1,
  increment: ({ n }) => n >= 1,
  take: ({ flash }) => flash === undefined,
  rotateWithPatch: ({ name }) => name === "new",
};

async function worldOf(names: readonly Name[], faults: boolean): Promise<World> {
  const clock = manualClock();
  const backend = timedOnArrival(memoryBackend(), clock.now);
  const store = storeOn(backend, clock.now);
  const { token, session } = await store.create({ flash: "hello" });
  return {
    backend,
    actors: names.map((name) => (own) => acts[name](storeOn(own, clock.now), token)),
    check: (outcomes, trace) => holds(names, outcomes, trace, store, session.id, faults),
  };
}

async function holds(
  names: readonly Name[],
  outcomes: readonly Outcome[],
  trace: readonly Performed[],
  store: Store,
  oldId: string,
  faults: boolean,
): Promise<void> {
  const did = names.map((name, at) => ({ name, ...outcomes[at]! }));
  const live = new Map<string, Session<Visit>>();
  for await (const session of store.scan()) live.set(session.id, session);
  const logins = did.filter(({ name }) => name === "logIn");
  // A token that was rotated before it was read is not valid, and replaces nothing.
  const at = (actor: number, method: string) =>
    trace.findIndex((performed) => performed.actor === actor && performed.method === method);
  const rotations = names.flatMap((name, actor) => (name.startsWith("rotate") ? [at(actor, "write")] : []));
  const isLate = names.some(
    (name, actor) => name === "logIn" && rotations.some((rotated) => rotated !== -1 && rotated < at(actor, "read")),
  );
  const done = logins.filter(({ status }) => status === "fulfilled");
  const issued = done.map(({ value }) => (value as { session: Session<Visit> }).session);

  for (const { status, reason } of did) {
    if (status === "pending") assert(faults);
    if (status !== "rejected") continue;
    assert(reason instanceof SessionConflictError || (faults && reason instanceof SessionBackendError), String(reason));
  }
  // A login that succeeded has ended the old session; one that was refused has left it.
  const isEnded = names.includes("destroy") && !live.has(oldId);
  if (done.length > 0) assert(isLate || !live.has(oldId));
  else if (logins.every(({ reason }) => reason instanceof SessionConflictError)) assert(live.has(oldId) || isEnded);
  // The new sessions exist with the data that the caller got, and no others do.
  const isRevoked = did.some(({ name, status }) => name === "revokeAll" && status !== "pending");
  for (const session of issued) {
    if (live.has(session.id)) assert.deepEqual(live.get(session.id)?.data, session.data);
    else assert(isRevoked || names.includes("revokeAll"));
  }
  const strangers = [...live.keys()].filter((id) => id !== oldId && !issued.some((session) => session.id === id));
  if (logins.every(({ status }) => status !== "pending") && !faults) assert.deepEqual(strangers, []);
  // What was written to the old session is in a new one, unless a logout or another login ended the old one first.
  for (const { name, status, value } of did) {
    const isThere = written[name];
    if (isThere === undefined || status !== "fulfilled" || value === null) continue;
    if (names.includes("destroy") || live.has(oldId) || issued.length === 0 || issued.length < logins.length) continue;
    assert(
      issued.some(({ data }) => isThere(data)),
      `${name} was lost`,
    );
  }
  // A login that found the old session has its data, even if somebody else ended the old one afterwards.
  for (const [actor, { name, status, value }] of did.entries()) {
    if (name !== "logIn" || status !== "fulfilled" || isLate) continue;
    const ends = names.flatMap((_, other) => (other === actor ? [] : [at(other, "remove")]));
    const isAfter = ends.some((end) => end !== -1 && end < at(actor, "read"));
    if (!isAfter) assert.notEqual((value as { session: Session<Visit> }).session.data.name, "none");
  }
  // Each of them is listed.
  const listed = (await store.list({ user: "u" })).sessions.map(({ id }) => id);
  for (const id of live.keys()) if (id !== oldId) assert(listed.includes(id));
}

const OTHERS = (Object.keys(acts) as Name[]).filter((name) => name !== "logIn");

test("a login from a session loses no write, in every order with every other operation", {
  timeout: 900_000,
}, async () => {
  let count = 0;
  for (const other of [...OTHERS, "logIn" as const])
    count += await explore(() => worldOf(["logIn", other], false), false);
  console.log(`${count} schedules`);
  expect(count).toBeGreaterThan(25);
});

test("a login from a session keeps its promises with every single fault", { timeout: 900_000 }, async () => {
  let count = 0;
  for (const other of [...OTHERS, "logIn" as const])
    count += await explore(() => worldOf(["logIn", other], true), true);
  console.log(`${count} schedules with faults`);
  expect(count).toBeGreaterThan(500);
});

test.each<[Name, Name]>([
  ["logIn", "patch"],
  ["logIn", "increment"],
  ["logIn", "take"],
  ["logIn", "rotateWithPatch"],
  ["patch", "increment"],
  ["function", "take"],
])("a login from a session loses no write, in every order with %s and %s", { timeout: 900_000 }, async (one, other) => {
  const count = await explore(() => worldOf(["logIn", one, other], false), false);
  console.log(`${count} schedules of logIn, ${one} and ${other}`);
  expect(count).toBeGreaterThan(15);
});
