import { afterAll, describe, expect, test } from "vitest";
import type { SessionBackend } from "../../src/backend.ts";
import { createSessionStore, memoryBackend, SessionBackendError } from "../../src/index.ts";
import { gate, idle, never } from "../support/gate.ts";
import { unhandledRejections } from "../support/unhandled.ts";
import { until } from "../support/until.ts";
import { type VisitOptions, type VisitStore, visit, visits } from "../support/visits.ts";

type Rotation = NonNullable<Parameters<VisitStore["rotate"]>[1]>;
type Write = () => ReturnType<SessionBackend["write"]>;

const TIMEOUT_MS = 30;

const unhandled = unhandledRejections();
afterAll(() => {
  expect(unhandled).toEqual([]);
});

const lost = (reason: SessionBackendError["reason"] = "unavailable") =>
  new SessionBackendError("The reply was lost", { reason, outcome: "unknown" });

/** A session with a past: it was rotated with a grace and has data, and a backend that does other things with writes. */
async function scene(options: VisitOptions = {}) {
  const inner = memoryBackend();
  let onWrite = (write: Write): ReturnType<SessionBackend["write"]> => write();
  const backend: SessionBackend = { ...inner, write: (...args) => onWrite(() => inner.write(...args)) };
  const base = visits({ backend, operationTimeout: `${TIMEOUT_MS}ms`, ...options });
  const created = await base.store.create({ userId: "42", flash: "hi" });
  base.advance(5);
  const { token, session } = (await base.store.rotate(created.token, { grace: 60 })) as typeof created;
  base.advance(5);
  base.events.length = base.calls.length = 0;
  const access = () => ({ verifier: null, previous: true, now: base.clock.now() });
  return {
    ...base,
    created,
    token,
    session,
    writes(act: typeof onWrite) {
      onWrite = act;
    },
    /** The record without what every access moves. */
    async stored() {
      const record = await inner.read(session.id, access(), { fields: null });
      const { last_accessed_at: _, ...rest } = { ...(record as object) } as Record<string, string>;
      return rest;
    },
    types: () => base.events.map(({ type }) => type),
  };
}

/** Runs one write and keeps its reply, or the write itself, until it is let go; what follows passes. */
function slow(when: "before" | "after") {
  const [reached, going] = [gate(), gate()];
  let isFirst = true;
  return {
    reached: reached.passed,
    release: going.open,
    async act(write: Write) {
      if (!isFirst) return await write();
      isFirst = false;
      const early = when === "after" ? await write() : null;
      reached.open();
      await going.passed;
      return early ?? (await write());
    },
  };
}

const rotations: readonly (readonly [string, Rotation])[] = [
  ["no options", {}],
  ["a grace", { grace: 60 }],
  ["a patch", { patch: { userId: "admin", flash: undefined } }],
  ["a function", { patch: ({ pageViews }) => ({ pageViews: pageViews + 1 }) }],
  ["a login", { authenticated: true, patch: { userId: "admin", theme: "dark" }, idleTimeout: 60 }],
];

describe.each(rotations)("rollback of a rotation with %s whose new token nobody receives", (_, options) => {
  for (const when of ["before", "after"] as const) {
    test(`a rotation is undone after a timeout if the backend is slow ${when} the write`, async () => {
      const { store, token, stored, writes, types } = await scene();
      const before = await stored();
      const { act, release } = slow(when);
      writes(act);
      await expect(store.rotate(token, options)).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
      release();
      await idle();
      expect(await stored()).toEqual(before);
      expect(await store.get(token)).not.toBeNull();
      expect(types()).toEqual(["unavailable"]);
    });

    test(`a rotation is undone after its signal aborts if the backend is slow ${when} the write`, async () => {
      const { store, token, stored, writes, types } = await scene();
      const before = await stored();
      const { act, reached, release } = slow(when);
      writes(act);
      const controller = new AbortController();
      const rotating = store.rotate(token, { ...options, signal: controller.signal });
      await reached;
      controller.abort();
      await expect(rotating).rejects.toMatchObject({ reason: "aborted", outcome: "unknown" });
      release();
      await idle();
      expect(await stored()).toEqual(before);
      expect(types()).toEqual([]);
    });
  }

  test("a rotation is undone if its signal aborts when the reply has already arrived", async () => {
    const { store, token, stored, writes, types } = await scene();
    const before = await stored();
    const controller = new AbortController();
    let isFirst = true;
    writes(async (write) => {
      const reply = await write();
      if (isFirst) controller.abort();
      isFirst = false;
      return reply;
    });
    await expect(store.rotate(token, { ...options, signal: controller.signal })).rejects.toMatchObject({
      reason: "aborted",
    });
    await idle();
    expect(await stored()).toEqual(before);
    expect(types()).toEqual([]);
  });

  test("a rotation with a lost reply is undone, as far as its changes are known, once the backend is back", async () => {
    const { store, token, stored, writes, types } = await scene();
    const before = await stored();
    let isAway = false;
    writes(async (write) => {
      if (!isAway) await write();
      isAway = true;
      throw lost();
    });
    await expect(store.rotate(token, options)).rejects.toMatchObject({ outcome: "unknown" });
    writes((write) => write());
    expect(await store.get(token)).not.toBeNull();
    const isBack = async () => (await stored())["session_verifier"] === before["session_verifier"];
    await until("it is taken back", isBack);
    const { session_previous, session_grace, session_rotated_at, ...rest } = before;
    const isBare = options.patch === undefined && options.idleTimeout === undefined;
    expect(await stored()).toMatchObject(isBare ? rest : before);
    if (isBare)
      for (const name of ["session_previous", "session_rotated_at"]) expect(await stored()).not.toHaveProperty(name);
    expect(types()).toEqual(["unavailable"]);
  });

  test("a rotation is undone if the replicas do not confirm it", async () => {
    const { store, token, writes, types } = await scene();
    writes(async (write) => {
      await write();
      throw lost("timeout");
    });
    await expect(store.rotate(token, options)).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
    writes((write) => write());
    expect((await store.get(token))?.data).toMatchObject({ userId: "42", theme: "light", pageViews: 0 });
    expect(types()).toEqual(["unavailable"]);
  });

  test("a rotation with a lost reply is undone if it reaches the backend after the first rollback attempts", async () => {
    const { store, token, stored, writes, calls, types } = await scene();
    const [late, held] = [gate(), gate()];
    let isFirst = true;
    writes(async (write) => {
      if (!isFirst) return await write();
      isFirst = false;
      held.passed.then(write).then(() => late.open());
      throw lost();
    });
    await expect(store.rotate(token, options)).rejects.toMatchObject({ outcome: "unknown" });
    await until("it was looked for", () => calls.filter((method) => method === "read").length > 2);
    const before = await stored();
    held.open();
    await late.passed;
    expect(await store.peek(token)).not.toBeNull();
    await until("it is taken back", async () => (await stored())["session_verifier"] === before["session_verifier"]);
    expect(types()).toEqual(["unavailable"]);
  });
});

describe("while the outcome of a rotation is unknown", () => {
  const uses: readonly (readonly [string, (store: VisitStore, token: string) => Promise<unknown>])[] = [
    ["get", (store, token) => store.get(token)],
    ["peek", (store, token) => store.peek(token)],
    ["update", (store, token) => store.update(token, { theme: "dark" })],
    ["increment", (store, token) => store.increment(token, "pageViews")],
    ["rotate", (store, token) => store.rotate(token)],
    ["destroy", async (store, token) => (await store.destroy(token)) || null],
  ];

  test.each(uses)("%s with the old token waits for the outcome and succeeds", async (_, use) => {
    const { store, token, writes, types } = await scene({ operationTimeout: "1s" });
    const { act, reached, release } = slow("after");
    writes(act);
    const controller = new AbortController();
    const rotating = store.rotate(token, { signal: controller.signal });
    await reached;
    const using = use(store, token);
    controller.abort();
    await expect(rotating).rejects.toMatchObject({ reason: "aborted" });
    release();
    expect(await using).not.toBeNull();
    expect(types()).not.toContain("reused");
  });

  test("a call with the old token fails after its own timeout", async () => {
    const { store, token, writes, types } = await scene();
    const { act, release } = slow("after");
    writes(act);
    await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout" });
    await expect(store.get(token)).rejects.toMatchObject({ reason: "timeout" });
    expect(types()).toEqual(["unavailable", "unavailable"]);
    release();
    await idle();
    expect(await store.get(token)).not.toBeNull();
  });

  test("a token from before the previous rotation returns null at once", async () => {
    const { store, token, created, writes } = await scene();
    const { act, release } = slow("after");
    writes(act);
    await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout" });
    expect(await store.get(created.token)).toBeNull();
    release();
    await idle();
    expect(await store.get(created.token)).not.toBeNull();
  });

  test("two concurrent rotations that both time out do not end the session", async () => {
    const { store, token, writes, types } = await scene();
    const going = gate();
    writes(async (write) => {
      await going.passed;
      return await write();
    });
    for (const rotating of [store.rotate(token), store.rotate(token, { patch: { userId: "43" } })]) {
      await expect(rotating).rejects.toMatchObject({ reason: "timeout" });
    }
    going.open();
    expect((await store.get(token))?.data.userId).toBe("42");
    expect(types()).not.toContain("reused");
  });

  test("a call with the old token waits for a rotation that succeeds, and is then reported as reused", async () => {
    const { store, token, writes, events, at } = await scene({ operationTimeout: "1s" });
    const { act, reached, release } = slow("after");
    writes(act);
    const rotating = store.rotate(token);
    await reached;
    const using = store.get(token);
    release();
    expect(await rotating).not.toBeNull();
    expect(await using).toBeNull();
    expect(events).toContainEqual(expect.objectContaining({ type: "reused", rotatedAt: at() }));
  });
});

describe("rollback", () => {
  test("a rollback keeps a later write by somebody else to the same field", async () => {
    const { store, token, session, backend, clock, writes } = await scene();
    const { act, release } = slow("after");
    writes(act);
    const rotating = store.rotate(token, { patch: { userId: "admin", theme: "dark" } });
    await expect(rotating).rejects.toMatchObject({ reason: "timeout" });
    const access = { verifier: null, previous: false, now: clock.now() };
    await backend.write(session.id, access, { set: { userId: "nobody" }, remove: [], fields: [] });
    release();
    await idle();
    expect((await store.get(token))?.data).toMatchObject({ userId: "nobody", theme: "light" });
  });

  test("a rollback keeps the index values that others gave the session after the rotation", async () => {
    const indexes = { user: "userId", theme: "theme" } as const;
    const { store, backend, clock, token, writes } = await scene({ indexes });
    const other = createSessionStore({ schema: visit, backend, indexes, now: clock.now });
    let isAway = false;
    writes(async (write) => {
      if (!isAway) await write();
      isAway = true;
      throw lost("timeout");
    });
    const rotating = store.rotate(token, { patch: { userId: "admin", theme: "dark" } });
    await expect(rotating).rejects.toMatchObject({ outcome: "unknown" });
    await idle();
    writes((write) => write());
    expect(await other.updateAll({ user: "admin" }, { userId: "43" })).toBe(1);
    await until("the rotation is undone", async () => (await other.count({ theme: "light" })) === 1);
    expect((await other.list({ user: "43" })).sessions.map(({ data }) => data.theme)).toEqual(["light"]);
    expect(await other.count({ user: "admin" })).toBe(0);
    expect(await other.revokeAll({ user: "43" })).toBe(1);
    expect(await store.peek(token)).toBeNull();
  });

  test("a rollback does not restore a session that was revoked meanwhile", async () => {
    const { store, token, session, writes, types } = await scene();
    const { act, release } = slow("after");
    writes(act);
    await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout" });
    expect(await store.revoke(session.id)).toBe(true);
    release();
    await idle();
    expect(await store.get(token)).toBeNull();
    expect(types()).toEqual(["unavailable", "revoked"]);
  });

  test("no rollback is sent if the rotation was rejected or never sent", async () => {
    const { store, token, writes, calls } = await scene();
    const { act, release } = slow("before");
    writes(act);
    await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout" });
    writes((write) => write());
    const winner = await store.rotate(token);
    calls.length = 0;
    release();
    await idle();
    await expect(store.rotate(winner?.token as string, { signal: AbortSignal.abort() })).rejects.toThrow();
    expect(calls).toEqual([]);
    writes(() => Promise.reject(new SessionBackendError("Full", { reason: "rejected", outcome: "not-applied" })));
    await expect(store.rotate(winner?.token as string)).rejects.toMatchObject({ reason: "rejected" });
    await idle();
    expect(calls).toEqual(["write"]);
  });

  test("a rollback does not block other calls if the backend never replies", async () => {
    const { store, token, writes } = await scene();
    writes(never);
    await expect(store.rotate(token)).rejects.toMatchObject({ reason: "timeout" });
    expect(await store.get(token)).not.toBeNull();
  });
});
