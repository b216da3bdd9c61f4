import process from "node:process";
import { expect, test } from "vitest";
import { SessionBackendError, sessionMiddleware } from "../../src/index.ts";
import { accounts, type Ground } from "./advisories.ts";
import { counted, keysOf } from "./backends.ts";
import { gate } from "./gate.ts";
import { cookieJar, request, tokenOf } from "./http.ts";
import { allListed } from "./members.ts";
import { atEveryCall } from "./pauses.ts";

// These rows are tested elsewhere, on memory and on Redis, for every operation and at every point of it:
//
//   X-01, X-02 (two requests that write): test/support/races.ts "concurrent writes", test/support/scenarios.ts
//         "two concurrent requests that write";
//   X-03 (a session that is destroyed during a request): scenarios.ts "a logout during another request", races.ts "late
//         requests after a logout";
//   X-04 (a session that expires during a request): races.ts "late requests after expiration";
//   X-05 (two concurrent logouts): races.ts "two requests that end the session";
//   X-06 (two concurrent rotations): races.ts "of two concurrent rotations one succeeds";
//   X-07 (a rotation and late requests): scenarios.ts "a login that rotates the token during other requests";
//   X-09 (revokeAll during create, rotate and moves): test/support/revocations.ts;
//   X-10 (many first visits): races.ts "concurrent first visits".
//
// X-14 (the process ends during a request) needs no test: the library buffers no writes, so no confirmed write is lost.

/** Tests of concurrent requests. They run on every backend. */
export function concurrency(open: () => Ground | Promise<Ground>): void {
  test("X-08 a login in one tab survives a concurrent logout of the previous session in another tab", async () => {
    for (const first of ["login", "logout"] as const) {
      await atEveryCall(open, async ({ clock, backend: inner }, { around, backend, where }) => {
        const store = accounts({ backend: inner, clock });
        const { token } = await store.create({ userId: "42" });
        const jar = cookieJar("__Host-Http-sid", `__Host-Http-sid=${token}`);
        const [one, other] = [jar.request(), jar.request()];
        const logIn = (on: typeof backend) =>
          sessionMiddleware(accounts({ backend: on, clock }))(one, async (session) => {
            await session.create({ userId: "43" });
            return new Response();
          });
        const logOut = (on: typeof backend) =>
          sessionMiddleware(accounts({ backend: on, clock }))(other, async (session) => {
            await session.destroy();
            return new Response();
          });
        const [held, whole] = first === "login" ? [logIn, logOut] : [logOut, logIn];
        // The browser receives the responses in the order in which they were sent.
        await around(
          async () => jar.receive(await held(backend)),
          async () => jar.receive(await whole(inner)),
        );
        expect(await store.peek(token), where).toBeNull();
        // The logout ends the previous session or nothing, but never the session of the login.
        expect((await store.peek(tokenOf(jar.cookie)))?.data.userId, where).toBe("43");
        expect(await keysOf(inner), where).toEqual([tokenOf(jar.cookie).slice(0, 22)]);
      });
    }
  });

  test("X-11 a late update of a slow handler changes only its own fields, and the session is still alive", async () => {
    const { clock, backend } = await open();
    const store = accounts({ backend, clock });
    const { token } = await store.create({ userId: "42", role: "old" });
    const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${token}`), async (session) => {
      await session.get();
      for (let minute = 0; minute < 10; minute++) {
        clock.advance(60);
        await store.update(token, ({ views }) => ({ views: views + 1, role: "others" }));
      }
      await session.update({ csrf: "late" });
      return new Response();
    });
    expect(response.status).toBe(200);
    expect((await store.peek(token))?.data).toMatchObject({ views: 10, role: "others", csrf: "late" });
  });

  test("X-12 an update that is aborted at any point is applied completely or not at all", async () => {
    const rejections: unknown[] = [];
    const note = (reason: unknown): void => void rejections.push(reason);
    process.on("unhandledRejection", note);
    const before = { userId: "42", role: "old", views: 0 };
    const after = { userId: "43", role: "new", views: 0 };
    try {
      await atEveryCall(open, async ({ clock, backend: inner }, { around, backend, where }) => {
        const store = accounts({ backend: inner, clock });
        const { token } = await store.create({ userId: "42", role: "old" });
        const controller = new AbortController();
        const { signal } = controller;
        const given = await around(
          () =>
            accounts({ backend, clock })
              .update(token, { userId: "43", role: "new" }, { signal })
              .catch((error: unknown) => error),
          async () => controller.abort(),
        );
        const { data, id } = (await store.peek(token)) ?? {};
        expect([before, after], where).toContainEqual(data);
        const users = await Promise.all(["42", "43"].map((user) => allListed(store, { user })));
        expect(
          users.flat().map((session) => [session.id, session.data.userId]),
          where,
        ).toEqual([[id, data?.userId]]);
        if (!(given instanceof SessionBackendError)) return;
        expect(given.reason, where).toBe("aborted");
        if (given.outcome === "not-applied") expect(data, where).toEqual(before);
      });
      await new Promise(setImmediate);
    } finally {
      process.off("unhandledRejection", note);
    }
    expect(rejections).toEqual([]);
  });

  test("X-13 a request object can be handled twice in a row, and each handler sees the current data", async () => {
    const store = accounts(await open());
    const handle = sessionMiddleware(store);
    const { token } = await store.create({ userId: "42" });
    const asked = request(`__Host-Http-sid=${token}`);
    for (const expected of [0, 1]) {
      const response = await handle(asked, async (session) => {
        expect((await session.get())?.data.views).toBe(expected);
        await session.increment("views");
        return new Response();
      });
      expect(response.headers.getSetCookie()).toEqual([]);
    }
  });

  test("X-15 ten thousand concurrent reads of one session all succeed, and each touchInterval extends it only once", async () => {
    const { clock, backend: inner } = await open();
    const { backend, calls } = counted(inner);
    const { token } = await accounts({ clock, backend }).create({ userId: "42" });
    const store = accounts({ clock, backend }, undefined, { touchInterval: 10, operationTimeout: "30s" });
    const going = gate();
    const asked = Array.from({ length: 10_000 }, async () => {
      await going.passed;
      return (await store.get(token))?.data.userId;
    });
    calls.length = 0;
    going.open();
    expect(new Set(await Promise.all(asked))).toEqual(new Set(["42"]));
    expect(calls).toEqual(Array.from({ length: 10_000 }, () => "read"));
    await clock.advance(10);
    calls.length = 0;
    await Promise.all(Array.from({ length: 10_000 }, () => store.get(token)));
    for (let at = 0; at < 100; at++) await store.get(token);
    expect(calls.filter((call) => call !== "read")).toEqual(["touch"]);
  }, 30_000);
}
