import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { Session, SessionEvent } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import {
  expectFailure,
  expectNoSecrets,
  type Failure,
  type Grounds,
  type GroundsOptions,
  holdUps,
  onGrounds,
  recovers,
  storeOn,
} from "./fault-grounds.ts";
import { type Jar, request, tokenOf } from "./http.ts";
import { allListed } from "./members.ts";
import { send, signIn, type Visit, type Visitor, type Visits } from "./requests.ts";

const kinds = ["look", "touch", "write", "trim", "rotate", "exchange", "end", "list", "sweep"] as const;

/**
 * The kinds of calls. A fault may let some through and not others: a plain read (`look`); one step that reads and touches,
 * writes, only removes a field, or ends a session (`touch`, `write`, `trim`, `end`); a write that asks whether it took
 * effect if its reply is lost (`rotate`); a plain read and then a write (`exchange`); a page of an index and then plain
 * reads (`list`) or ends (`sweep`).
 */
export type Kind = (typeof kinds)[number];

/** The result of a call: it succeeds, it returns the session without extending it, or it fails. */
export type Answer = "works" | "untouched" | Failure;
export type Expected = Readonly<Record<Kind, Answer>>;

/** A fault, and what it does to each kind of call. */
export interface Fault extends GroundsOptions {
  /** Runs before the first session is created. */
  prepare?(grounds: Grounds): Promise<unknown>;
  /** Starts the fault. Returns a function that ends it. */
  start(grounds: Grounds): Promise<() => unknown> | (() => unknown);
  /** The result of each kind of call during the fault. */
  readonly expected: Expected;
  /** Milliseconds within which every operation must settle. The default is so long that no reply looks like a timeout. */
  readonly timeoutMs?: number;
}

interface Use {
  readonly kind: Kind;
  /** An operation on the session of a request. */
  readonly act?: (session: Visitor) => Promise<unknown>;
  /** An operation of the store, by ID or by user. */
  readonly call?: (store: Visits, by: { readonly id: string; readonly user: string }) => Promise<unknown>;
  /** The stored fields that differ if the operation has taken effect. */
  readonly effect?: Readonly<Record<string, unknown>>;
}

const uses: Readonly<Record<string, Use>> = {
  peek: { kind: "look", act: (session) => session.peek() },
  get: { kind: "touch", act: (session) => session.get() },
  update: { kind: "write", act: (session) => session.update({ theme: "dark" }), effect: { theme: "dark" } },
  "update by a function": {
    kind: "exchange",
    act: (session) => session.update(({ pageViews }) => ({ pageViews: pageViews + 1 })),
    effect: { pageViews: "1" },
  },
  increment: { kind: "write", act: (session) => session.increment("pageViews"), effect: { pageViews: "1" } },
  take: { kind: "trim", act: (session) => session.take("code"), effect: { code: undefined } },
  setIdleTimeout: { kind: "trim", act: (session) => session.setIdleTimeout(3600), effect: { session_ttl: "3600" } },
  rotate: {
    kind: "rotate",
    act: (session) => session.rotate(),
    effect: {
      session_verifier: expect.any(String),
      session_previous: expect.any(String),
      session_rotated_at: expect.any(String),
    },
  },
  create: { kind: "write", act: (session) => session.create({ userId: "create" }) },
  destroy: { kind: "end", act: (session) => session.destroy() },
  revoke: { kind: "end", call: (store, { id }) => store.revoke(id) },
  revokeAll: { kind: "sweep", call: (store, { user }) => store.revokeAll({ user }) },
  list: { kind: "list", call: (store, { user }) => allListed(store, { user }) },
  count: { kind: "list", call: (store, { user }) => store.count({ user }) },
};

function everything(answer: Answer): Expected {
  return Object.fromEntries(kinds.map((kind) => [kind, answer])) as Record<Kind, Answer>;
}

const failing = (reason: Failure["reason"], outcome: Failure["outcome"] = "not-applied"): Failure => ({
  reason,
  outcome,
});
const rejected = failing("rejected");

export const works: Expected = everything("works");
export const unavailable: Expected = everything(failing("unavailable"));
export const rejectsAll: Expected = everything(rejected);
/** Reads succeed, and a rejected touch does not fail them. */
export const readsOnly: Expected = { ...rejectsAll, look: "works", touch: "untouched", list: "works" };
/** Nothing new can be stored. */
export const full: Expected = { ...works, write: rejected, exchange: rejected };

/** The outcome is unknown if the step that was sent may write. */
const silent = (reason: Failure["reason"]): Expected => ({
  ...everything(failing(reason)),
  write: failing(reason, "unknown"),
  trim: failing(reason, "unknown"),
  // `rotate` keeps asking whether the rotation took effect, until it times out.
  rotate: failing("timeout", "unknown"),
  end: failing(reason, "unknown"),
});
export const hangs: Expected = silent("timeout");
export const breaks: Expected = silent("unavailable");

const PATIENT_MS = 3000;
const LATE_MS = 500;
/** The time left of every session before the fault, so that a touch is noticed. */
const SHORTENED_MS = 600_000;

type Hash = Readonly<Record<string, string>>;

interface Stored {
  /** Without what a touch changes. */
  readonly hash: Hash;
  readonly left: number;
}

/** Every session with a prefix, by ID. */
async function storedUnder({ admin }: Grounds, prefix: string): Promise<Readonly<Record<string, Stored>>> {
  const found: Record<string, Stored> = {};
  for await (const keys of admin.scanIterator({ MATCH: `${prefix}*`, TYPE: "hash" })) {
    for (const key of keys) {
      const { last_accessed_at: _, ...hash } = await admin.hGetAll(key);
      found[key.slice(prefix.length)] = { hash, left: await admin.pTTL(key) };
    }
  }
  return found;
}

/** The result of one operation. */
interface Outcome {
  readonly result?: unknown;
  readonly error?: unknown;
  readonly response?: Response;
  readonly milliseconds: number;
}

interface SignedIn {
  readonly jar: Jar;
  readonly session: Session<Visit>;
}

/** Runs an operation, in a request if it belongs to one. */
async function attempt(store: Visits, name: string, { jar, session }: SignedIn): Promise<Outcome> {
  const { act, call } = uses[name] as Use;
  const since = performance.now();
  let error: unknown;
  const caught = (reason: unknown): never => {
    error = reason;
    throw reason;
  };
  const from = name === "create" ? request() : jar.request();
  const done = act
    ? send(store, from, (visitor) => act(visitor).catch(caught))
    : call?.(store, { id: session.id, user: name }).then((result) => ({ result }), caught);
  const answer = await done?.catch((reason: unknown) => ({ result: undefined, error: reason }));
  return { ...answer, ...(error === undefined ? {} : { error }), milliseconds: performance.now() - since };
}

function expectWorked(
  name: string,
  wanted: "works" | "untouched",
  { session }: SignedIn,
  outcome: Outcome,
  is?: Stored,
): void {
  const { kind } = uses[name] as Use;
  expect(outcome, name).not.toHaveProperty("error");
  expect(outcome.result ?? "nothing", name).not.toBe("nothing");
  if (kind === "look" || kind === "touch") {
    expect(outcome.result, name).toMatchObject({ id: session.id, data: { userId: name } });
  }
  if (kind === "end" || kind === "sweep") expect(is, name).toBeUndefined();
  else if (kind === "look" || kind === "list" || name === "create" || wanted === "untouched") {
    expect(is?.left, name).toBeLessThanOrEqual(SHORTENED_MS);
  } else expect(is?.left, name).toBeGreaterThan(SHORTENED_MS);
}

function expectFailed(name: string, wanted: Failure, { jar }: SignedIn, outcome: Outcome): void {
  const { error, response } = outcome;
  expectFailure(error, wanted, name);
  expectNoSecrets(error, tokenOf(jar.cookie), tokenOf(jar.cookie).slice(23));
  if (response === undefined) return;
  expect(response.status, name).toBe(503);
  expect(response.headers.get("retry-after"), name).not.toBeNull();
  expect(response.headers.getSetCookie(), name).toEqual([]);
}

/** An operation with an unknown outcome has taken effect once or not at all. */
function expectOnce(name: string, was: Stored | undefined, is: Stored | undefined): void {
  const { kind, effect } = uses[name] as Use;
  if (kind === "end" && is === undefined) return;
  const { code: _, ...rest } = was?.hash ?? {};
  const changed = name === "take" ? rest : { ...was?.hash, ...effect };
  expect([was?.hash, changed], name).toContainEqual(is?.hash);
}

/**
 * Registers the test of a fault. During it, every operation settles in time with the expected result, no cookie is set or
 * cleared and no stored session is lost. Afterwards, the same client works again by itself.
 */
export function fault(name: string, { prepare, start, expected, timeoutMs = PATIENT_MS, ...options }: Fault): void {
  test.concurrent(name, async () => {
    await onGrounds(options, async (grounds) => {
      const { admin, client } = grounds;
      await prepare?.(grounds);
      const prefix = `${randomUUID()}:`;
      const place = { backend: redisBackend(admin, { prefix }), now: Date.now };
      const names = Object.keys(uses);
      const everybody = await Promise.all(names.map((use) => signIn(place, { userId: use, code: "123456" })));
      const before = await storedUnder(grounds, prefix);
      await Promise.all(Object.keys(before).map((id) => admin.pExpire(prefix + id, SHORTENED_MS)));
      const events: SessionEvent[] = [];
      const store = storeOn(client, prefix, timeoutMs, (event) => events.push(event));

      const end = await start(grounds);
      const heldUp = holdUps();
      let outcomes: Outcome[];
      try {
        outcomes = await Promise.all(names.map((use, at) => attempt(store, use, everybody[at] as SignedIn)));
      } finally {
        await end();
      }
      const inTimeMs = timeoutMs + LATE_MS + heldUp();
      const reasons = events.flatMap((event) => (event.type === "unavailable" ? [event.error.reason] : []));
      const bystander = await signIn(place, { userId: "bystander" });
      await recovers(store, tokenOf(bystander.jar.cookie));

      const after = await storedUnder(grounds, prefix);
      for (const [at, use] of names.entries()) {
        const [who, outcome] = [everybody[at] as SignedIn, outcomes[at] as Outcome];
        const [was, is] = [before[who.session.id], after[who.session.id]];
        const wanted = expected[(uses[use] as Use).kind];
        expect(outcome.milliseconds, use).toBeLessThan(inTimeMs);
        if (typeof wanted === "string") {
          expectWorked(use, wanted, who, outcome, is);
          const told = events.filter((event) => event.type === "unavailable" && event.id === who.session.id);
          expect(told, use).toHaveLength(wanted === "untouched" ? 1 : 0);
          continue;
        }
        expectFailed(use, wanted, who, outcome);
        expect(reasons, use).toContain(wanted.reason);
        if (wanted.outcome === "unknown") expectOnce(use, was, is);
        else {
          expect(is?.hash, use).toEqual(was?.hash);
          expect(is?.left, use).toBeLessThanOrEqual(SHORTENED_MS);
        }
      }
      const created = Object.keys(after).filter((id) => before[id] === undefined && id !== bystander.session.id);
      const { write } = expected;
      const most = typeof write === "object" && write.outcome === "not-applied" ? 0 : 1;
      expect(created.length).toBeLessThanOrEqual(most);
    });
  });
}
