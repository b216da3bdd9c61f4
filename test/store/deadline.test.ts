import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { SessionBackend } from "../../src/backend.ts";
import { withTimeout } from "../../src/base/step.ts";
import { createSessionStore, memoryBackend, SessionBackendError } from "../../src/index.ts";
import { type BackendMethod, intercept } from "../support/backends.ts";
import { gate, idle, never } from "../support/gate.ts";
import { unhandledRejections } from "../support/unhandled.ts";
import { type Visit, type VisitStore, visits } from "../support/visits.ts";

const unhandled = unhandledRejections();

/** A store on a backend whose `method` hangs after `stall()`. */
function stalling(method: BackendMethod) {
  let stalled = false;
  const backend = intercept(memoryBackend(), (called) => (stalled && called === method ? never() : undefined));
  return {
    ...visits({ backend, operationTimeout: "20ms" }),
    stall(on = true) {
      stalled = on;
    },
  };
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => expect.fail("It did not fail"),
    (error: unknown) => error,
  );
}

type Call = (store: VisitStore, token: string, signal?: AbortSignal) => Promise<unknown>;
const operations: readonly (readonly [string, BackendMethod, SessionBackendError["outcome"], Call])[] = [
  ["create", "insert", "unknown", (store, _, signal) => store.create({}, { signal })],
  ["get", "read", "not-applied", (store, token, signal) => store.get(token, { signal })],
  ["peek", "read", "not-applied", (store, token, signal) => store.peek(token, { signal })],
  ["update with a patch", "write", "unknown", (store, token, signal) => store.update(token, {}, { signal })],
  [
    "update with a function (read)",
    "read",
    "not-applied",
    (store, token, signal) => store.update(token, () => ({}), { signal }),
  ],
  [
    "update with a function (write)",
    "write",
    "unknown",
    (store, token, signal) => store.update(token, () => ({}), { signal }),
  ],
  ["increment", "increment", "unknown", (store, token, signal) => store.increment(token, "pageViews", 1, { signal })],
  ["take", "write", "unknown", (store, token, signal) => store.take(token, "flash", { signal })],
  ["setIdleTimeout", "write", "unknown", (store, token, signal) => store.setIdleTimeout(token, 60, { signal })],
  ["rotate", "write", "unknown", (store, token, signal) => store.rotate(token, { signal })],
  ["destroy", "remove", "unknown", (store, token, signal) => store.destroy(token, { signal })],
  ["revokeEverybody (keys)", "keys", "not-applied", (store, _, signal) => store.revokeEverybody({ signal })],
  ["revokeEverybody (remove)", "remove", "unknown", (store, _, signal) => store.revokeEverybody({ signal })],
  ["scan (keys)", "keys", "not-applied", (store, _, signal) => store.scan({ signal })[Symbol.asyncIterator]().next()],
  ["scan (read)", "read", "not-applied", (store, _, signal) => store.scan({ signal })[Symbol.asyncIterator]().next()],
];

test("a call that timed out before its turn came says so, and its outcome is not-applied", async () => {
  const waiting = withTimeout("update a session", 1, undefined, never);
  await expect(waiting).rejects.toMatchObject({
    reason: "timeout",
    outcome: "not-applied",
    message: "Cannot update a session as other calls that change the same session took more than 1 ms",
  });
});

test("function updates of one session that finish within the timeout all succeed", async () => {
  const { store } = visits();
  const { token } = await store.create({});
  const add = ({ pageViews }: Visit) => ({ pageViews: pageViews + 1 });
  await Promise.all(Array.from({ length: 100 }, () => store.update(token, add)));
  expect((await store.peek(token))?.data.pageViews).toBe(100);
});

describe("a backend that never responds", () => {
  test.each(operations)(
    "%s rejects after operationTimeout if the backend never responds",
    async (name, method, outcome, call) => {
      const { store, stall, events, at } = stalling(method);
      const { token, session } = await store.create({});
      events.length = 0;
      stall();
      const error = await failureOf(call(store, token));
      expect(error).toBeInstanceOf(SessionBackendError);
      expect(error).toMatchObject({ reason: "timeout", outcome });
      const id = /^(create|revokeEverybody|scan)/.test(name) ? null : session.id;
      expect(events).toEqual([{ type: "unavailable", id, at: at(), error }]);
    },
  );

  test("a get whose touch never ends has an unknown outcome in the second half of the idle time, and answers before", async () => {
    const backend = { ...memoryBackend(), touch: never };
    const { store, advance, events } = visits({ backend, operationTimeout: "20ms", idleTimeout: 1000 });
    const { token } = await store.create({});
    advance(499);
    expect(await store.get(token)).not.toBeNull();
    advance(1);
    expect(await failureOf(store.get(token))).toMatchObject({ reason: "timeout", outcome: "unknown" });
    const timeout = { type: "unavailable", error: { reason: "timeout" } };
    await expect.poll(() => events.slice(1)).toMatchObject([timeout, timeout]);
  });

  test("a timed-out update does not block the next update once the backend responds again", async () => {
    const { store, stall } = stalling("read");
    const { token } = await store.create({});
    stall();
    await failureOf(store.update(token, () => ({ theme: "dark" })));
    stall(false);
    expect((await store.update(token, () => ({ theme: "dark" })))?.data.theme).toBe("dark");
  });

  test("updates that wait for each other all time out after their own operationTimeout", async () => {
    const { store, stall } = stalling("write");
    const { token } = await store.create({});
    stall();
    const updates = Array.from({ length: 5 }, () => store.update(token, () => ({ theme: "dark" })));
    for (const update of updates) expect(await failureOf(update)).toMatchObject({ reason: "timeout" });
  });
});

describe("after a timeout or an abort", () => {
  test("an update that timed out during its read never sends its write", async () => {
    const held = gate();
    const backend = intercept(memoryBackend(), (method) => (method === "read" ? held.passed : undefined));
    const { store, calls } = visits({ backend, operationTimeout: "20ms" });
    const { token } = await store.create({});
    await failureOf(store.update(token, () => ({ theme: "dark" })));
    calls.length = 0;
    held.open();
    await idle();
    expect(calls).toEqual([]);
    expect((await store.peek(token))?.data.theme).toBe("light");
  });

  test("an update that was aborted while waiting for its turn sends nothing to the backend", async () => {
    const held = gate();
    let reads = 0;
    const backend = intercept(memoryBackend(), (method) =>
      method === "read" && ++reads === 1 ? held.passed : undefined,
    );
    const { store, calls } = visits({ backend });
    const { token } = await store.create({});
    calls.length = 0;
    const first = store.update(token, () => ({ theme: "dark" }));
    const controller = new AbortController();
    const second = failureOf(store.update(token, () => ({ userId: "42" }), { signal: controller.signal }));
    controller.abort();
    expect(await second).toMatchObject({ reason: "aborted", outcome: "not-applied" });
    held.open();
    expect((await first)?.data.theme).toBe("dark");
    await idle();
    expect(calls).toEqual(["read", "write"]);
  });

  test("a backend failure after the timeout causes no unhandled rejection", async () => {
    const held = gate();
    const backend = intercept(memoryBackend(), (method) => (method === "insert" ? undefined : held.passed));
    const { store } = visits({ backend, operationTimeout: "20ms" });
    const { token } = await store.create({});
    const calls = operations.filter(([name]) => name !== "create").map(([, , , call]) => call(store, token));
    for (const call of calls) expect(await failureOf(call)).toMatchObject({ reason: "timeout" });
    held.fail(new Error("late"));
    await idle();
    expect(unhandled).toEqual([]);
  });
});

describe("a signal", () => {
  test.each(operations)(
    "with an already aborted signal, %s sends nothing to the backend",
    async (_, _method, _outcome, call) => {
      const { store, calls } = visits();
      const { token } = await store.create({});
      calls.length = 0;
      const reason = new Error("gone");
      const error = await failureOf(call(store, token, AbortSignal.abort(reason)));
      expect(error).toBeInstanceOf(SessionBackendError);
      expect(error).toMatchObject({ reason: "aborted", outcome: "not-applied", cause: reason });
      expect(calls).toEqual([]);
    },
  );

  test.each(operations)("%s rejects at once when its signal aborts", async (_, method, outcome, call) => {
    const reached = gate();
    let stalled = false;
    const backend = intercept(memoryBackend(), (called) => {
      if (!stalled || called !== method) return undefined;
      reached.open();
      return never();
    });
    const { store, events } = visits({ backend });
    const { token } = await store.create({});
    events.length = 0;
    stalled = true;
    const controller = new AbortController();
    const answer = failureOf(call(store, token, controller.signal));
    await reached.passed;
    controller.abort();
    expect(await answer).toMatchObject({ reason: "aborted", outcome });
    expect(events).toEqual([]);
  });

  test("a signal that aborts after create has returned has no effect", async () => {
    const { store } = visits();
    const controller = new AbortController();
    const { token, session } = await store.create({}, { signal: controller.signal });
    controller.abort();
    await idle();
    expect(await store.peek(token)).toEqual(session);
  });
});

describe("a backend that fails", () => {
  const error = new SessionBackendError("The server is full", { reason: "rejected", outcome: "not-applied" });
  const failing: SessionBackend = intercept(memoryBackend(), () => Promise.reject(error));

  test.each(operations)(
    "%s passes a backend error on and reports it as an event",
    async (_, _method, _outcome, call) => {
      const { store, events } = visits({ backend: failing });
      const token = `${"i".repeat(22)}.${"s".repeat(43)}`;
      expect(await failureOf(call(store, token))).toBe(error);
      expect(events).toMatchObject([{ type: "unavailable", error: { reason: "rejected" } }]);
    },
  );

  test("an unexpected error of the backend is passed on unchanged and reported by no event", async () => {
    const defect = new TypeError("a defect");
    const { store, events } = visits({ backend: intercept(memoryBackend(), () => Promise.reject(defect)) });
    expect(await failureOf(store.create({}))).toBe(defect);
    expect(events).toEqual([]);
  });
});

test("a timed-out updateAll does not block later updates of its sessions", async () => {
  let stalled = false;
  const backend = intercept(memoryBackend(), (called) => (stalled && called === "write" ? never() : undefined));
  const schema = z.object({ userId: z.string(), n: z.int().default(0) });
  const store = createSessionStore({ schema, backend, indexes: { user: "userId" }, operationTimeout: "20ms" });
  const tokens = await Promise.all([1, 2, 3].map(async () => (await store.create({ userId: "42" })).token));
  stalled = true;
  expect(await failureOf(store.updateAll({ user: "42" }, { n: 1 }))).toMatchObject({ reason: "timeout" });
  stalled = false;
  for (const token of tokens) expect((await store.update(token, ({ n }) => ({ n: n + 5 })))?.data.n).toBe(5);
});
