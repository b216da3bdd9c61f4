/**
 * Rotations whose callers gave up, on real servers.
 *
 * @module
 */
import { describe, expect, test } from "vitest";
import type { SessionEvent } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { intercept } from "../support/backends.ts";
import { type Grounds, onGrounds, recovers, storeOn } from "../support/fault-grounds.ts";
import { gate, idle } from "../support/gate.ts";
import { processOn, type Visits } from "../support/requests.ts";
import { persevering, until } from "../support/until.ts";

const PREFIX = "s:";
const TIMEOUT_MS = 300;
const PATIENT_MS = 20_000;
/** A silent connection is given up after 3 seconds. */
const STALLS = {
  "that is shorter than the silence of a connection": 1000,
  "after which the connection is given up": 5000,
};

type Rotation = NonNullable<Parameters<Visits["rotate"]>[1]>;
const rotations: Readonly<Record<string, Rotation>> = {
  bare: {},
  graced: { grace: 60 },
  patch: { patch: { theme: "dark", code: undefined } },
  function: { patch: ({ pageViews }) => ({ pageViews: pageViews + 1 }) },
  move: { patch: { userId: "somebody else" } },
  login: { authenticated: true, patch: { pageViews: 7 }, idleTimeout: 60 },
};

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function storedOf({ admin }: Grounds, id: string): Promise<Record<string, string>> {
  // An undone move counts as a move, and its indexes hold the session for longer.
  const {
    last_accessed_at: _,
    session_absolute: __,
    session_deadline: ___,
    ...rest
  } = await admin.hGetAll(PREFIX + id);
  return rest;
}

describe("a rotation that times out or is aborted while Redis stalls, and is applied when Redis continues", () => {
  for (const [which, milliseconds] of Object.entries(STALLS)) {
    for (const how of ["timeout", "abort"] as const) {
      test.concurrent(`the rotation is undone and no token is reported as reused after a stall ${which}: ${how}`, async () => {
        await onGrounds({}, async (grounds) => {
          const events: SessionEvent[] = [];
          const controller = new AbortController();
          const going = gate();
          let [reached, isReady] = [0, false];
          const backend = intercept(redisBackend(grounds.client, { prefix: PREFIX }), async (method) => {
            if (!isReady || method !== "write") return;
            reached++;
            await going.passed;
          });
          const operationTimeoutMs = how === "timeout" ? TIMEOUT_MS : PATIENT_MS;
          const store = processOn(backend, Date.now, {
            operationTimeout: `${operationTimeoutMs}ms`,
            onEvent: (event) => events.push(event),
          });
          const people = await Promise.all(
            Object.entries(rotations).map(async ([name, options]) => {
              const { token, session } = await store.create({ userId: name, code: "1" });
              // Now the server knows the script of a rotation, and runs it before what is sent later.
              await store.update(token, {});
              return { name, options, token, id: session.id, before: await storedOf(grounds, session.id) };
            }),
          );
          isReady = true;
          const attempts = people.map(({ token, options }) =>
            store.rotate(token, { ...options, signal: controller.signal }),
          );
          const settled = Promise.allSettled(attempts);
          await until("all are about to write", () => reached === people.length);
          const resume = grounds.server.stall();
          going.open();
          await idle();
          const since = performance.now();
          if (how === "abort") controller.abort();
          for (const outcome of await settled) {
            const reason = how === "timeout" ? "timeout" : "aborted";
            expect(outcome).toMatchObject({ status: "rejected", reason: { reason, outcome: "unknown" } });
          }
          await pause(milliseconds - (performance.now() - since));
          resume();
          for (const { name, token, before, id } of people) {
            await recovers(store, token);
            await until(`all is as before: ${name}`, async () => {
              const { session_verifier } = await storedOf(grounds, id);
              return session_verifier === before["session_verifier"];
            });
            expect(await storedOf(grounds, id), name).toEqual(before);
          }
          expect(events.filter(({ type }) => type === "reused")).toEqual([]);
        });
      });
    }
  }

  test.concurrent("requests with the old token during the stall keep their session", async () => {
    await onGrounds({}, async (grounds) => {
      const events: SessionEvent[] = [];
      const patient = storeOn(grounds.client, PREFIX, PATIENT_MS);
      const store = storeOn(grounds.client, PREFIX, TIMEOUT_MS, (event) => events.push(event));
      for (let round = 0; round < 20; round++) {
        const { token } = await patient.create({ userId: "1" });
        const resume = grounds.server.stall();
        await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout" });
        const polls = Array.from({ length: 20 }, () => store.get(token));
        resume();
        // On a busy machine one may be late, which is a failure and no answer.
        for (const poll of await Promise.allSettled(polls)) {
          if (poll.status === "fulfilled") expect(poll.value).not.toBeNull();
        }
      }
      expect(events.filter(({ type }) => type === "reused")).toEqual([]);
    });
  });
});

test.concurrent("a rotation that no replica confirms is undone", async () => {
  await onGrounds({ server: ["--repl-diskless-sync-delay", "0"] }, async (grounds) => {
    const waitForReplicas = { count: 1, timeout: `${TIMEOUT_MS}ms` } as const;
    const events: SessionEvent[] = [];
    const backend = redisBackend(grounds.client, { prefix: PREFIX, waitForReplicas });
    const store = processOn(backend, Date.now, { onEvent: (event) => events.push(event) });
    for (const [name, options] of Object.entries(rotations)) {
      const { token, session } = await store.create({ userId: name, code: "1" });
      const before = await storedOf(grounds, session.id);
      const unconfirmed = persevering(() => store.rotate(token, options));
      await expect(unconfirmed, name).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
      await until(`all is as before: ${name}`, async () => {
        const { session_verifier } = await storedOf(grounds, session.id);
        return session_verifier === before["session_verifier"];
      });
      expect(await store.peek(token), name).not.toBeNull();
      expect(await storedOf(grounds, session.id), name).toEqual(before);
    }
    expect(events.filter(({ type }) => type === "reused")).toEqual([]);
  });
});
