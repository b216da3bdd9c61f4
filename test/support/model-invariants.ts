import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import type { Outcome } from "./model.ts";
import { ENTRIES, entriesOf } from "./model-data.ts";
import type { Stored } from "./model-grounds.ts";
import type { ModelSession } from "./model-state.ts";
import type { Step } from "./model-steps.ts";
import { actOf, issuedOf, kindOf, type World } from "./model-world.ts";

const ID = /^[A-Za-z0-9_-]{22}$/;
const TOKEN = /^([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}$/;
const TOMBSTONE_MS = 60_000;
/** The maximum lifetime of an index: 400 days, plus a minute for sessions that are being created. */
export const LONGEST_MS = 400 * 86_400_000 + 60_000;

/** Performs a step, compares the result with the model and then checks the invariants. */
export async function take(world: World, step: Step): Promise<void> {
  const act = actOf(world, step);
  const known = world.model.sessions.flatMap(({ tokens }) => tokens);
  const actual = await act.call().then(
    (value): Outcome => ({ value }),
    (error: unknown): Outcome => {
      keepsSecrets(world, error, act.presented);
      return { error: kindOf(error) };
    },
  );
  await world.quiet();
  const issued = issuedOf(actual);
  if (issued !== null && "token" in issued) {
    assert.match(issued.token, TOKEN);
    assert.equal(TOKEN.exec(issued.token)?.[1], issued.session.id, "a token leads to its session");
    for (const token of known) assert.notEqual(token.slice(23), issued.token.slice(23), "a secret is used once");
  }
  same(actual, act.expected(actual), "the answer");
  sameEvents(world, act.presented);
  if ("value" in actual) isSafe(world, actual.value, act.presented);
  await holds(world);
}

function sameEvents(world: World, presented?: string): void {
  const events = world.takeEvents();
  const left = events.map(canonical);
  for (const { maybe, ...event } of world.model.takeEvents()) {
    const at = left.indexOf(canonical(event));
    assert.ok(at !== -1 || maybe, `an event is missing: ${canonical(event)}`);
    if (at !== -1) left.splice(at, 1);
  }
  assert.deepEqual(left, [], "events that nothing caused");
  keepsSecrets(world, events, presented);
}

/** Checks that a result is frozen and contains no secret apart from the issued token. */
function isSafe(world: World, value: unknown, presented?: string): void {
  const issued = value !== null && typeof value === "object" && "token" in value;
  const shown = issued ? (value as unknown as { session: unknown }).session : value;
  keepsSecrets(world, shown, presented);
  for (const session of Array.isArray(shown) ? shown : [shown]) {
    if (typeof session !== "object" || session === null) continue;
    const { data } = session as { data: object };
    for (const part of [session, data, ...Object.values(data)]) assert.ok(Object.isFrozen(part), "frozen");
    assert.ok(!Object.values(data).includes(undefined), "a field that is not there is not there");
  }
}

function keepsSecrets({ model }: World, shown: unknown, presented = ""): void {
  const text = `${JSON.stringify(shown)}${inspect(shown, { depth: 8 })}`;
  const tokens = [...model.sessions.flatMap(({ tokens }) => tokens), presented];
  for (const token of tokens) {
    const secret = token.slice(23);
    assert.ok(secret === "" || !text.includes(secret), "a result, event or record contains a secret");
  }
}

/** Checks the invariants that hold after every step. */
async function holds(world: World): Promise<void> {
  const { ground, model, store } = world;
  const held = model.sessions.flatMap(({ tokens }) => tokens.slice(-2));
  const seen = await Promise.all(held.map((token) => store.peek(token)));
  held.forEach((token, at) => {
    same({ value: seen[at] }, model.peek(token), "the result of peek for every token");
  });
  // A token that is invalid for peek is also invalid for get, which then changes nothing.
  const closed = held.filter((_, at) => seen[at] === null);
  const touches = closed.map((token) => store.get(token));
  const [stored, ...touched] = await Promise.all([ground.stored(), ...touches]);
  closed.forEach((token, at) => {
    same({ value: touched[at] }, model.get(token), "the result of get for an invalid token");
  });
  sameEvents(world);
  keepsSecrets(world, [...stored.records]);
  keepsSecrets(world, [...stored.indexes]);
  storesWhatItShould(world, stored);
  indexesWhatItShould(world, stored);
}

function storesWhatItShould({ model, ground }: World, { records }: Stored): void {
  for (const session of model.sessions) {
    if (!model.isLive(session)) continue;
    const record = records.get(session.id);
    assert.ok(record !== undefined, "no session is lost");
    const { session_index: index = "[]", ...fields } = record.fields;
    same(fields, recordOf(session), "the record");
    same(JSON.parse(index), model.entries(session), "the record's index entries");
    if (record.left === null) continue;
    const left = session.end - model.now();
    assert.ok(record.left > 0 && record.left <= left, `ends in time: ${record.left} of ${left}`);
    assert.ok(record.left >= left - ground.lag(), `does not end early: ${record.left} of ${left}`);
  }
  for (const [id, { fields, left }] of records) {
    assert.match(id, ID, "every key is a generated one");
    if (model.sessions.some((session) => session.id === id && model.isLive(session))) continue;
    same(Object.keys(fields), ["session_revoked"], "what has no session may have a tombstone");
    assert.ok(left === null || (left > 0 && left <= TOMBSTONE_MS), `a tombstone ends: ${left}`);
  }
}

/** The stored record of a session as the documentation describes it. */
function recordOf(session: ModelSession): Record<string, string | undefined> {
  const { data, tokens, authenticatedAt, rotatedAt, cutoff, deadline, grace, moves } = session;
  const [previous, current] = [tokens.at(-2), tokens.at(-1)];
  return {
    userId: data.userId,
    flash: data.flash,
    theme: data.theme,
    tags: JSON.stringify(data.tags),
    views: String(data.views),
    steps: String(data.steps),
    created_at: new Date(session.createdAt).toISOString(),
    last_accessed_at: new Date(session.lastAccessedAt).toISOString(),
    session_ttl: String(session.idleTimeout),
    session_deadline: cutoff === null ? undefined : String(cutoff),
    session_absolute: moves === null ? undefined : `${deadline ?? ""}/${moves}`,
    session_own_deadline: session.ownDeadline ? "1" : undefined,
    session_verifier: verifierOf(current),
    session_previous: verifierOf(previous),
    session_rotated_at: rotatedAt === null ? undefined : new Date(rotatedAt).toISOString(),
    session_grace: grace === null ? undefined : String(grace),
    session_authenticated_at: authenticatedAt === null ? undefined : new Date(authenticatedAt).toISOString(),
  };
}

function verifierOf(token: string | undefined): string | undefined {
  return token && createHash("sha256").update(token.slice(23)).digest("base64url");
}

function indexesWhatItShould({ model, rules, ground }: World, { indexes }: Stored): void {
  for (const [entry, { members, left }] of indexes) {
    assert.ok(rules.indexed && ENTRIES.includes(entry), `there is no such index: ${entry}`);
    for (const id of members) assert.match(id, ID);
    assert.ok(left === null || (left > 0 && left <= LONGEST_MS), `an index ends: ${left}`);
  }
  if (!rules.indexed) return;
  for (const session of model.sessions.filter(model.isLive)) {
    for (const entry of entriesOf(session.data)) {
      const index = indexes.get(entry);
      assert.ok(index?.members.includes(session.id), `a live session is listed: ${entry}`);
      if (index === undefined || index.left === null) continue;
      const needed = session.end - model.now() - ground.lag();
      assert.ok(index.left >= needed, `an index outlives its sessions: ${index.left}`);
    }
  }
}

export function same(actual: unknown, expected: unknown, what: string): void {
  assert.equal(canonical(actual), canonical(expected), what);
}

function canonical(value: unknown): string {
  if (value === undefined) return "undefined";
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
