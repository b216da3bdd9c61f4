import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  createSessionStore,
  isFresh,
  memoryBackend,
  nistTimeouts,
  type RequestSession,
  sessionMiddleware,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { cookieJar, request, tokenOf } from "../support/http.ts";
import { type NewVisit, type Visit, visits } from "../support/visits.ts";

const DAY = 86_400;
const FRESH = 300;

/** A site that lets a user change the password only within five minutes after authentication. */
function site() {
  const world = visits({ idleTimeout: 3600, absoluteTimeout: DAY });
  const handle = sessionMiddleware(world.store);
  const jar = cookieJar();
  const visit = async (handler: (session: RequestSession<Visit, NewVisit>) => Promise<Response>) =>
    jar.receive(await handle(jar.request(), handler));
  return {
    ...world,
    jar,
    logIn: () =>
      visit(async (session) => {
        await session.create({ userId: "42" }, { authenticated: true });
        return new Response();
      }),
    proveAgain: () =>
      visit(async (session) => {
        const rotated = await session.rotate({ authenticated: true });
        return new Response(null, { status: rotated === null ? 401 : 200 });
      }),
    changePassword: () =>
      visit(async (session) => {
        const current = await session.get();
        if (current === null) return new Response(null, { status: 401 });
        if (!isFresh(current, FRESH, world.clock.now())) return new Response(null, { status: 403 });
        return new Response();
      }),
  };
}

describe("an action that requires recent authentication", () => {
  test("the action is allowed for five minutes after a login and refused before and afterwards", async () => {
    const { logIn, changePassword, advance } = site();
    expect((await changePassword()).status).toBe(401);
    await logIn();
    expect((await changePassword()).status).toBe(200);
    advance(FRESH);
    expect((await changePassword()).status).toBe(200);
    advance(0.001);
    expect((await changePassword()).status).toBe(403);
  });

  test("the action is allowed again after a rotation with authenticated: true, and the old token is invalid", async () => {
    const { logIn, changePassword, proveAgain, advance, jar, store } = site();
    await logIn();
    const before = tokenOf(jar.cookie);
    advance(FRESH + 1);
    expect((await changePassword()).status).toBe(403);
    expect((await proveAgain()).status).toBe(200);
    expect((await changePassword()).status).toBe(200);
    expect(tokenOf(jar.cookie)).not.toBe(before);
    expect(await store.get(before)).toBeNull();
    advance(FRESH + 1);
    expect((await changePassword()).status).toBe(403);
  });

  test("a rotation without authenticated: true and other uses of the session do not allow the action again", async () => {
    const { logIn, changePassword, advance, jar, store } = site();
    await logIn();
    advance(FRESH + 1);
    const rotated = await store.rotate(tokenOf(jar.cookie), { patch: { theme: "dark" } });
    const copy = cookieJar("__Host-Http-sid", `__Host-Http-sid=${rotated?.token}`);
    await store.update(rotated?.token ?? "", { pageViews: 1 });
    const response = await sessionMiddleware(store)(copy.request(), async (session) => {
      const current = await session.get();
      return new Response(String(current !== null && isFresh(current, FRESH, current.lastAccessedAt.getTime())));
    });
    expect(await response.text()).toBe("false");
    expect((await changePassword()).status).toBe(401);
  });

  test("the action is refused if the authentication time is more than a minute in the future", async () => {
    const { logIn, changePassword, clock, jar, store } = site();
    await logIn();
    clock.advance(-60);
    expect((await changePassword()).status).toBe(200);
    clock.advance(-0.001);
    expect((await changePassword()).status).toBe(403);
    expect(await store.peek(tokenOf(jar.cookie))).not.toBeNull();
  });
});

describe("the absolute timeout", () => {
  test("the deadline is kept by a rotation with authenticated: true and set anew by a login", async () => {
    const { logIn, proveAgain, advance, jar, store } = site();
    await logIn();
    const first = await store.peek(tokenOf(jar.cookie));
    advance(3000);
    await proveAgain();
    const proven = await store.peek(tokenOf(jar.cookie));
    expect([proven?.id, proven?.deadline]).toEqual([first?.id, first?.deadline]);
    advance(3000);
    await logIn();
    const second = await store.peek(tokenOf(jar.cookie));
    expect(second?.id).not.toBe(first?.id);
    expect(second?.deadline?.getTime()).toBe((first?.deadline?.getTime() ?? 0) + 6_000_000);
  });

  test("a session in constant use ends at the absolute timeout, and an unused one at the idle timeout", async () => {
    const { store, advance } = visits({ idleTimeout: 3600, absoluteTimeout: DAY });
    const busy = await store.create({});
    for (let minute = 0; minute < 24 * 60 - 1; minute++) {
      advance(60);
      expect(await store.get(busy.token)).not.toBeNull();
    }
    advance(60);
    expect(await store.get(busy.token)).toBeNull();
    const quiet = await store.create({});
    advance(3600);
    expect(await store.peek(quiet.token)).not.toBeNull();
    advance(0.001);
    expect(await store.peek(quiet.token)).toBeNull();
  });

  test("a login with remember-me gets its own absolute timeout, and its cookie lasts as long", async () => {
    const { store } = visits({ idleTimeout: 3600, absoluteTimeout: DAY });
    const handle = sessionMiddleware(store, { persistent: ({ data }) => data.theme === "dark" });
    const logIn = async (remember: boolean): Promise<string> => {
      const response = await handle(request(), async (session) => {
        const lasting = remember ? ({ idleTimeout: "14d", absoluteTimeout: "30d" } as const) : {};
        const { deadline, createdAt } = await session.create({ theme: remember ? "dark" : "light" }, lasting);
        expect((deadline?.getTime() ?? 0) - createdAt.getTime()).toBe((remember ? 30 : 1) * DAY * 1000);
        return new Response();
      });
      return response.headers.getSetCookie().join();
    };
    expect(await logIn(true)).toContain(`Max-Age=${30 * DAY};`);
    expect(await logIn(false)).not.toContain("Max-Age");
  });
});

describe("revocation by others", () => {
  const schema = z.object({ userId: z.string(), provider: z.string().optional() });
  function place() {
    const backend = memoryBackend();
    const indexes = { user: "userId", provider: "provider" } as const;
    return createSessionStore({ schema, backend, indexes, now: manualClock().now });
  }

  test("an identity provider can revoke the sessions that it started and no others", async () => {
    const store = place();
    const [laptop, phone, other] = await Promise.all([
      store.create({ userId: "42", provider: "sid-1" }),
      store.create({ userId: "42", provider: "sid-2" }),
      store.create({ userId: "43" }),
    ]);
    expect(await store.revokeAll({ provider: "sid-1" })).toBe(1);
    const left = await Promise.all([laptop, phone, other].map(({ token }) => store.peek(token)));
    expect(left.map((session) => session?.id)).toEqual([undefined, phone.session.id, other.session.id]);
  });

  test("an administrator can revoke one session, all sessions of a user, or all sessions", async () => {
    const store = place();
    const users = ["42", "42", "42", "43", "44"];
    const issued = await Promise.all(users.map((userId) => store.create({ userId })));
    const living = async (): Promise<boolean[]> =>
      (await Promise.all(issued.map(({ token }) => store.peek(token)))).map((session) => session !== null);
    expect(await store.revoke(issued[0]?.session.id ?? "")).toBe(true);
    expect(await living()).toEqual([false, true, true, true, true]);
    expect(await store.revokeAll({ user: "42" })).toBe(2);
    expect(await living()).toEqual([false, false, false, true, true]);
    expect(await store.revokeEverybody()).toBe(2);
    expect(await living()).toEqual([false, false, false, false, false]);
  });
});

describe("timeout presets within the limits of NIST SP 800-63B-4", () => {
  // Sections 2.1.3, 2.2.3 and 2.3.3: overall 30 days, 24 hours, 12 hours; inactivity unspecified, 1 hour, 15 minutes.
  test.each([
    ["aal1", 30 * DAY, 30 * DAY],
    ["aal2", DAY, 3600],
    ["aal3", 12 * 3600, 15 * 60],
  ] as const)("the timeouts of the preset %s are within the limits of NIST", async (level, overall, inactivity) => {
    const { store, advance } = visits(nistTimeouts[level]);
    const { session, token } = await store.create({});
    const { createdAt, deadline, idleTimeout } = session;
    expect(deadline?.getTime()).toBe(createdAt.getTime() + overall * 1000);
    expect(idleTimeout).toBeLessThanOrEqual(inactivity);
    if (level !== "aal1") expect(idleTimeout).toBe(inactivity);
    advance(idleTimeout);
    expect(await store.get(token)).not.toBeNull();
    advance(idleTimeout + 0.001);
    expect(await store.get(token)).toBeNull();
  });
});
