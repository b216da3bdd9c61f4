import { describe, expect, test } from "vitest";
import type { SessionBackend } from "../../src/backend.ts";
import { createSessionStore, memoryBackend, type SessionEvent } from "../../src/index.ts";
import { gate, idle, never } from "../support/gate.ts";
import { visit, visits } from "../support/visits.ts";

const IDLE = 60;
/** Seconds after an access in the middle of the first idle time: the next one extends the indexes, and must wait for that. */
const LATE = 45;
/** Seconds after which the next access extends the indexes. */
const DUE = 40;

/** A session whose indexes must live longer, and a backend that keeps back the first reply to one of its methods. */
async function due() {
  const inner = memoryBackend();
  const [reached, going] = [gate(), gate()];
  let kept: string | null = null;
  const keeping =
    <Args extends unknown[], R>(name: string, method: (...args: Args) => Promise<R>) =>
    async (...args: Args): Promise<R> => {
      const reply = await method(...args);
      if (kept !== name) return reply;
      kept = null;
      reached.open();
      await going.passed;
      return reply;
    };
  const backend: SessionBackend = {
    ...inner,
    write: keeping("write", inner.write),
    extend: keeping("extend", inner.extend),
  };
  const base = visits({ backend, indexes: { user: "userId" }, idleTimeout: IDLE, absoluteTimeout: "none" });
  const { token, session } = await base.store.create({ userId: "42" });
  base.advance(IDLE / 2);
  await base.store.increment(token, "pageViews", 0);
  base.advance(LATE);
  return {
    ...base,
    inner,
    token,
    session,
    reached: reached.passed,
    release: going.open,
    keepBack(method: "write" | "extend") {
      kept = method;
    },
  };
}

describe("calls of one session while its indexes are extended", () => {
  test.each(["write", "extend"] as const)(
    "setIdleTimeout and rotate raise the idle timeout while another call waits for its %s",
    async (method) => {
      for (const how of ["setIdleTimeout", "rotate"] as const) {
        const { store, events, clock, token, keepBack, reached, release, advance } = await due();
        keepBack(method);
        const getting = store.get(token);
        await reached;
        const raising =
          how === "rotate"
            ? store.rotate(token, { idleTimeout: "1h", patch: { theme: "dark" } })
            : store.setIdleTimeout(token, "1h").then((session) => session && { token, session });
        await idle();
        release();
        expect((await getting)?.data.userId).toBe("42");
        const raised = await raising;
        expect(raised?.session.idleTimeout, how).toBe(3600);
        expect(raised?.session.data.theme, how).toBe(how === "rotate" ? "dark" : "light");
        expect(raised?.session.expiresAt.getTime(), how).toBe(clock.now() + 3_600_000);
        expect(events.every(({ at }) => !Number.isNaN(at.getTime()))).toBe(true);
        advance(3599);
        expect(await store.get(raised?.token ?? token), how).not.toBeNull();
      }
    },
  );

  test("the abort of the call that extends the indexes does not shorten the session of another call", async () => {
    const { store, clock, token, keepBack, reached, release } = await due();
    keepBack("extend");
    const controller = new AbortController();
    const getting = store.get(token, { signal: controller.signal });
    await reached;
    const other = store.get(token);
    await idle();
    controller.abort();
    await expect(getting).rejects.toMatchObject({ reason: "aborted" });
    release();
    expect(await other).not.toBeNull();
    await idle();
    expect((await store.peek(token))?.expiresAt.getTime()).toBe(clock.now() + IDLE * 1000);
  });

  test("no call fails if the server of an index does not answer, and one event reports it", async () => {
    for (const call of ["get", "increment", "update", "rotate"] as const) {
      const { inner, clock, token } = await due();
      const events: SessionEvent[] = [];
      const hanging = createSessionStore({
        schema: visit,
        backend: { ...inner, extend: never },
        indexes: { user: "userId" },
        idleTimeout: IDLE,
        operationTimeout: "200ms",
        now: clock.now,
        onEvent: (event) => events.push(event),
      });
      const acts = {
        get: () => hanging.get(token),
        increment: () => hanging.increment(token, "pageViews"),
        update: () => hanging.update(token, { theme: "dark" }),
        rotate: () => hanging.rotate(token),
      };
      expect(await acts[call](), call).not.toBeNull();
      await expect
        .poll(() => events.filter(({ type }) => type === "unavailable"))
        .toMatchObject([{ type: "unavailable", error: { reason: "timeout" } }]);
    }
  });
});

test.each(["[]", "{", '"user:42"', "[5]", "[null, {}]", '[["user:42"]]'])(
  "a session that is due keeps its idle timeout if its stored index entries are %s",
  async (entries) => {
    const { store, inner, clock, token, session, advance } = await due();
    const access = { verifier: null, previous: false, now: clock.now() };
    const change = { set: { session_index: entries }, remove: [], fields: null, touch: false };
    await inner.write(session.id, access, change);
    for (let use = 0; use < 5; use++) {
      await store.get(token);
      await idle();
      expect((await store.peek(token))?.expiresAt.getTime()).toBe(clock.now() + IDLE * 1000);
      expect(await store.increment(token, "pageViews")).toBe(use + 1);
      advance(DUE);
    }
    expect(await store.update(token, { userId: "43" })).not.toBeNull();
    const other = createSessionStore({ schema: visit, backend: inner, indexes: { user: "userId" }, now: clock.now });
    expect(await other.count({ user: "43" })).toBe(1);
  },
);

test("a session in use stays listed even if another program removed its deadline", async () => {
  const { store, inner, clock, token, session, advance } = await due();
  const access = { verifier: null, previous: false, now: clock.now() };
  await inner.write(session.id, access, { set: {}, remove: ["session_deadline"], fields: [] });
  const other = createSessionStore({ schema: visit, backend: inner, indexes: { user: "userId" }, now: clock.now });
  for (let use = 0; use < 10; use++) {
    expect((await store.get(token))?.deadline).toBeNull();
    expect(await other.count({ user: "42" })).toBe(1);
    advance(DUE);
  }
});
