import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, SessionDataError, type SessionEvent } from "../../src/index.ts";
import { intercept } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { type VisitOptions, type VisitStore, visits } from "../support/visits.ts";

type Rotation = Parameters<VisitStore["rotate"]>[1];

async function rotated(rotation?: Rotation, options?: VisitOptions) {
  const base = visits(options);
  const first = await base.store.create({ userId: "42" });
  base.advance(5);
  const second = await base.store.rotate(first.token, rotation);
  if (second === null) throw new Error("The rotation answered null");
  base.events.length = base.calls.length = 0;
  return { ...base, first, second };
}

describe("rotate", () => {
  test("rotate gives the same session a new token", async () => {
    const { store, first, second, at } = await rotated({}, { absoluteTimeout: 3600 });
    expect(second.token).not.toBe(first.token);
    expect(second.session).toEqual({
      ...first.session,
      lastAccessedAt: at(),
      expiresAt: new Date(at().getTime() + 1_800_000),
    });
    expect(await store.peek(second.token)).toEqual(second.session);
  });

  test("rotate needs only one backend call", async () => {
    const { store, second, calls } = await rotated();
    await store.rotate(second.token);
    expect(calls).toEqual(["write"]);
  });

  test("after rotate the old token is rejected by every method, and each use is reported as reused", async () => {
    const { store, first, second, events, at } = await rotated();
    expect(await store.get(first.token)).toBeNull();
    expect(await store.peek(first.token)).toBeNull();
    expect(await store.update(first.token, { theme: "dark" })).toBeNull();
    expect(await store.update(first.token, () => ({ theme: "dark" }))).toBeNull();
    expect(await store.increment(first.token, "pageViews")).toBeNull();
    expect(await store.take(first.token, "userId")).toBeNull();
    expect(await store.setIdleTimeout(first.token, 5)).toBeNull();
    expect(await store.rotate(first.token)).toBeNull();
    expect(await store.destroy(first.token)).toBe(false);
    expect(events).toEqual(
      Array.from({ length: 9 }, () => ({ type: "reused", id: first.session.id, at: at(), rotatedAt: at() })),
    );
    expect(await store.peek(second.token)).toEqual(second.session);
  });

  test("a token from two rotations ago is rejected without being reported as reused", async () => {
    const { store, first, second, events } = await rotated();
    await store.rotate(second.token);
    events.length = 0;
    expect(await store.get(first.token)).toBeNull();
    expect(events.map((event) => event.type)).toEqual(["wrong-secret"]);
    expect(await store.get(second.token)).toBeNull();
    expect(events.map((event) => event.type)).toEqual(["wrong-secret", "reused"]);
  });

  test("rotate with a patch changes token and data together", async () => {
    const { second } = await rotated({ patch: { userId: "43", theme: "dark" } });
    expect(second.session.data).toMatchObject({ userId: "43", theme: "dark" });
    const byFunction = await rotated({ patch: ({ userId }) => ({ userId: `${userId}!` }) });
    expect(byFunction.second.session.data.userId).toBe("42!");
  });

  test("rotate with idleTimeout changes token and idle timeout together", async () => {
    const { second, at } = await rotated({ idleTimeout: 60 });
    expect(second.session).toMatchObject({ idleTimeout: 60, expiresAt: new Date(at().getTime() + 60_000) });
  });

  test.each([{ patch: { theme: "blue" as never } }, { patch: () => ({ theme: "blue" as never }) }])(
    "the old token stays valid if the patch of rotate does not fit the schema: %o",
    async (options) => {
      const { store } = visits();
      const { token, session } = await store.create({});
      await expect(store.rotate(token, options)).rejects.toThrow(SessionDataError);
      expect(await store.peek(token)).toEqual(session);
    },
  );

  test.each([
    [{ idleTimeout: 0 }, RangeError],
    [{ grace: -1 }, RangeError],
    [{ grace: "0.5ms" }, RangeError],
    [{ grace: 61 }, RangeError],
    [{ grace: "5" }, RangeError],
    [{ grace: null }, TypeError],
    [{ grace: 5, authenticated: true }, TypeError],
    [{ grace: 5, idleTimeout: 60 }, TypeError],
    [{ grace: 5, patch: {} }, TypeError],
  ])("rotate with the invalid options %j throws and sends nothing to the backend", async (options, kind) => {
    const { store, calls } = visits();
    const { token } = await store.create({});
    calls.length = 0;
    await expect(store.rotate(token, options as never)).rejects.toThrow(kind);
    expect(calls).toEqual([]);
  });

  test("of two concurrent rotations one succeeds and the other returns null", async () => {
    const { store, second } = await rotated();
    const [one, other] = await Promise.all([store.rotate(second.token), store.rotate(second.token)]);
    expect([one, other].filter((answer) => answer === null)).toHaveLength(1);
    expect(await store.get((one ?? other)?.token ?? "")).not.toBeNull();
  });

  test("a rotation returns null and changes nothing if another one happened between its read and its write", async () => {
    const held = gate();
    const reached = gate();
    let hold = false;
    const backend = intercept(memoryBackend(), async (method) => {
      if (!hold || method !== "write") return;
      hold = false;
      reached.open();
      await held.passed;
    });
    const { store } = visits({ backend });
    const { token } = await store.create({ userId: "42" });
    hold = true;
    const late = store.rotate(token, { patch: ({ userId }) => ({ userId: `${userId}!` }) });
    await reached.passed;
    const winner = await store.rotate(token);
    held.open();
    expect(await late).toBeNull();
    expect((await store.peek(winner?.token ?? ""))?.data.userId).toBe("42");
  });
});

describe("rotate of a session whose stored data does not fit the schema", () => {
  test("a failed rotation leaves the old token valid and the data unchanged", async () => {
    const base = visits();
    const { token, session } = await base.store.create({ userId: "42", theme: "light" });
    const events: SessionEvent[] = [];
    const other = createSessionStore({
      schema: z.object({ userId: z.literal("admin"), theme: z.string() }),
      backend: base.backend,
      now: base.clock.now,
      onEvent: (event) => events.push(event),
    });
    const rotate = other.rotate(token, { patch: { theme: "dark" }, idleTimeout: 60, authenticated: true });
    await expect(rotate).rejects.toMatchObject({ name: "SessionDataError", origin: "stored" });
    expect(await base.store.peek(token)).toEqual(session);
    expect(events.map((event) => event.type)).toEqual(["invalid"]);
  });

  test("a failed rotation undoes its own patch but no concurrent write", async () => {
    const inner = memoryBackend();
    const { clock, store } = visits({ backend: inner });
    const { token, session } = await store.create({ theme: "light" });
    let writes = 0;
    const access = { verifier: null, previous: false, now: clock.now() };
    const change = { set: { theme: "dark" }, remove: [], fields: [] };
    const other = createSessionStore({
      schema: z.object({ pageViews: z.boolean(), theme: z.string(), flash: z.string().optional() }),
      backend: intercept(inner, (method) =>
        method === "write" && ++writes === 2 ? inner.write(session.id, access, change) : undefined,
      ),
      now: clock.now,
    });
    await expect(other.rotate(token)).rejects.toMatchObject({ origin: "stored" });
    expect((await store.peek(token))?.data).toEqual({ ...session.data, theme: "dark" });
  });
});

describe("the option grace of rotate", () => {
  test("the old token can read and write the session during the grace period", async () => {
    const { store, first, second, events } = await rotated({ grace: 10 });
    expect(await store.get(first.token)).toEqual(second.session);
    expect((await store.update(first.token, { theme: "dark" }))?.id).toBe(second.session.id);
    expect((await store.update(first.token, () => ({ userId: "43" })))?.id).toBe(second.session.id);
    expect(await store.increment(first.token, "pageViews")).toBe(1);
    expect(await store.take(first.token, "userId")).toBe("43");
    expect(await store.setIdleTimeout(first.token, 600)).not.toBeNull();
    const seen = await store.peek(second.token);
    expect(seen).toMatchObject({ idleTimeout: 600, data: { theme: "dark", pageViews: 1 } });
    expect(events).toEqual([]);
  });

  test("the old token cannot rotate the session during the grace period, and no event is raised", async () => {
    const { store, first, second, events } = await rotated({ grace: 10 });
    expect(await store.rotate(first.token)).toBeNull();
    expect(await store.rotate(first.token, { patch: () => ({ theme: "dark" }) })).toBeNull();
    expect(events).toEqual([]);
    expect((await store.peek(second.token))?.data.theme).toBe("light");
  });

  test("the old token can destroy the session during the grace period", async () => {
    const { store, first, second } = await rotated({ grace: 10 });
    expect(await store.destroy(first.token)).toBe(true);
    expect(await store.peek(second.token)).toBeNull();
  });

  test("the old token is rejected and reported as reused after the grace period", async () => {
    const { store, first, second, events, advance } = await rotated({ grace: 10 });
    advance(9.999);
    expect(await store.get(first.token)).not.toBeNull();
    advance(0.001);
    expect(await store.get(first.token)).toBeNull();
    expect(events.map((event) => event.type)).toEqual(["reused"]);
    expect(await store.get(second.token)).not.toBeNull();
  });

  test("the next rotation ends the grace period of the old token", async () => {
    const { store, first, second } = await rotated({ grace: 10 });
    await store.rotate(second.token);
    expect(await store.get(first.token)).toBeNull();
    expect(await store.get(second.token)).toBeNull();
  });

  test("the grace period applies only to the token before the last rotation", async () => {
    const { store, first, second } = await rotated({ grace: 10 });
    await store.rotate(second.token, { grace: 10 });
    expect(await store.get(first.token)).toBeNull();
    expect(await store.get(second.token)).not.toBeNull();
  });

  test("the old token is invalid once the session has expired, even within the grace period", async () => {
    const { store, first, advance } = await rotated({ grace: 10 });
    await store.setIdleTimeout(first.token, 2);
    advance(2.001);
    expect(await store.get(first.token)).toBeNull();
  });
});

describe("authenticatedAt", () => {
  test("authenticatedAt is null until a rotation with authenticated: true", async () => {
    const { store, advance, at } = visits();
    const { token, session } = await store.create({});
    advance(10);
    const changed = await store.rotate(token, { patch: { theme: "dark" } });
    expect(changed?.session.authenticatedAt).toBeNull();
    await store.update(changed?.token ?? "", { userId: "42" });
    const proven = await store.rotate(changed?.token ?? "", { authenticated: true });
    const then = at();
    expect(proven?.session).toMatchObject({ authenticatedAt: then, createdAt: session.createdAt });
    advance(10);
    const later = await store.rotate(proven?.token ?? "");
    expect(later?.session.authenticatedAt).toEqual(then);
    expect(await store.get(later?.token ?? "")).toMatchObject({ authenticatedAt: then });
  });
});
