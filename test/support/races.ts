import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import type { SessionBackend } from "../../src/backend.ts";
import {
  createSessionStore,
  type NewData,
  type RequestSession,
  type SessionEvent,
  sessionMiddleware,
} from "../../src/index.ts";
import { keysOf } from "./backends.ts";
import { gate } from "./gate.ts";
import { cookieJar, type Jar, tokenOf } from "./http.ts";

/** The backend and clock of a race. */
export interface Ground {
  readonly backend: SessionBackend;
  /** Unix milliseconds. */
  now(): number;
  /** Makes a session expire by its idle timeout. */
  expire(id: string): unknown;
}

const visit = z.object({
  userId: z.string().optional(),
  theme: z.string().default("light"),
  pageViews: z.number().int().default(0),
  code: z.string().optional(),
});
type Visit = z.output<typeof visit>;
type Visitor = RequestSession<Visit, NewData<Visit, z.input<typeof visit>>>;
type Half<R> = (session: Visitor) => Promise<R>;

/** A signed-in browser whose requests overlap as the test determines. */
async function scene({ backend, now, expire }: Ground) {
  const events: SessionEvent[] = [];
  const store = createSessionStore({ schema: visit, backend, now, onEvent: (event) => events.push(event) });
  const handle = sessionMiddleware(store);
  const jar = cookieJar();

  /** Sends a request that runs `first` and then waits; the returned function lets it run `second` and finish. */
  async function halfway<R>(first: Half<unknown>, second: Half<R>, from: Jar = jar) {
    const reached = gate();
    const going = gate();
    let result: R | undefined;
    const answer = handle(from.request(), async (session) => {
      await first(session);
      reached.open();
      await going.passed;
      result = await second(session);
      return new Response();
    });
    await Promise.race([reached.passed, answer]);
    return async () => {
      going.open();
      const response = from.receive(await answer);
      return { result, setCookies: response.headers.getSetCookie() };
    };
  }

  /** Sends a request that does not wait. */
  async function whole<R>(handler: Half<R>, from: Jar = jar) {
    const finish = await halfway(async () => {}, handler, from);
    return await finish();
  }

  const { result: session } = await whole((visitor) => visitor.create({ userId: "42", code: "123456" }));
  if (session === undefined) throw new Error("Nobody signed in");
  const signedIn = jar.cookie;
  return {
    store,
    jar,
    events,
    session,
    /** The cookie that the sign-in set. */
    signedIn,
    halfway,
    whole,
    expire: () => expire(session.id),
    /** Another browser with a copy of the cookie. */
    copy: () => cookieJar("__Host-Http-sid", jar.cookie),
    stored: async () => (await store.peek(tokenOf(jar.cookie)))?.data ?? null,
    keys: () => keysOf(backend),
  };
}

/** Calls of a late request, and their results if the session no longer exists. */
const late: readonly (readonly [string, Half<unknown>, null | false])[] = [
  ["get", (session) => session.get(), null],
  ["update with a patch", (session) => session.update({ theme: "dark" }), null],
  ["update with a function", (session) => session.update(({ pageViews }) => ({ pageViews: pageViews + 1 })), null],
  ["increment", (session) => session.increment("pageViews"), null],
  ["take", (session) => session.take("code"), null],
  ["setIdleTimeout", (session) => session.setIdleTimeout(3600), null],
  ["rotate", (session) => session.rotate(), null],
  ["rotate with a function", (session) => session.rotate({ patch: () => ({ theme: "dark" }) }), null],
  ["destroy", (session) => session.destroy(), false],
];

/** Tests of overlapping requests; every overlap is forced, not left to chance. */
export function races(prepare: () => Ground | Promise<Ground>): void {
  let ground: Ground;
  beforeEach(async () => {
    ground = await prepare();
  });

  describe("concurrent writes", () => {
    test("two concurrent updates of different fields are both stored", async () => {
      const { halfway, whole, stored } = await scene(ground);
      const finish = await halfway(
        (session) => session.get(),
        (session) => session.update({ theme: "dark" }),
      );
      await whole((session) => session.update({ userId: "43" }));
      await finish();
      expect(await stored()).toMatchObject({ theme: "dark", userId: "43" });
    });

    test("of two concurrent updates of the same field the later one wins, and neither fails", async () => {
      const { halfway, whole, stored } = await scene(ground);
      const finish = await halfway(
        (session) => session.get(),
        (session) => session.update({ theme: "late" }),
      );
      await whole((session) => session.update({ theme: "early" }));
      expect((await finish()).result?.data.theme).toBe("late");
      expect(await stored()).toMatchObject({ theme: "late" });
    });

    test("two concurrent updates of the same field with functions are both applied", async () => {
      const { halfway, stored } = await scene(ground);
      const count: Half<unknown> = (session) => session.update(({ pageViews }) => ({ pageViews: pageViews + 1 }));
      const one = await halfway((session) => session.get(), count);
      const other = await halfway((session) => session.get(), count);
      await Promise.all([other(), one()]);
      expect(await stored()).toMatchObject({ pageViews: 2 });
    });

    test("a hundred concurrent updates of the same field with functions are all applied", async () => {
      const { whole, stored } = await scene(ground);
      const count = () => whole((session) => session.update(({ pageViews }) => ({ pageViews: pageViews + 1 })));
      await Promise.all(Array.from({ length: 100 }, count));
      expect(await stored()).toMatchObject({ pageViews: 100 });
    });

    test("an update with a function and a concurrent increment are both applied", async () => {
      const { halfway, whole, stored } = await scene(ground);
      const finish = await halfway(
        (session) => session.get(),
        (session) => session.update(({ pageViews }) => ({ pageViews: pageViews + 1 })),
      );
      await whole((session) => session.increment("pageViews"));
      await finish();
      expect(await stored()).toMatchObject({ pageViews: 2 });
    });

    test("only one of two concurrent take calls gets a one-time code", async () => {
      const { halfway } = await scene(ground);
      const one = await halfway(
        (session) => session.get(),
        (session) => session.take("code"),
      );
      const other = await halfway(
        (session) => session.get(),
        (session) => session.take("code"),
      );
      const [first, second] = await Promise.all([one(), other()]);
      expect([first.result, second.result].sort()).toEqual(["123456", null]);
    });
  });

  describe("late requests after a logout", () => {
    test.each(late)(
      "a late %s after a logout finds no session, leaves no key and sets no cookie",
      async (_, method, none) => {
        const { halfway, whole, keys, jar } = await scene(ground);
        const finish = await halfway((session) => session.peek(), method);
        expect((await whole((session) => session.destroy())).result).toBe(true);
        expect(await finish()).toEqual({ result: none, setCookies: [] });
        expect(await keys()).toEqual([]);
        expect(jar.cookie).toBeNull();
      },
    );

    test("all kinds of late calls at the same time find no session after a logout", async () => {
      const { halfway, whole, keys } = await scene(ground);
      const finishes = await Promise.all(late.map(([, method]) => halfway((session) => session.peek(), method)));
      await whole((session) => session.destroy());
      const answers = await Promise.all(finishes.map((finish) => finish()));
      expect(answers).toEqual(late.map(([, , none]) => ({ result: none, setCookies: [] })));
      expect(await keys()).toEqual([]);
    });

    test("a late login after a logout creates a new session, and the browser holds its cookie", async () => {
      const { halfway, whole, keys, stored } = await scene(ground);
      const finish = await halfway(
        (session) => session.get(),
        (session) => session.create({ userId: "43" }),
      );
      await whole((session) => session.destroy());
      const { result } = await finish();
      expect(await keys()).toEqual([result?.id]);
      expect(await stored()).toMatchObject({ userId: "43" });
    });
  });

  describe("late requests after a rotation", () => {
    test.each(late)(
      "a late %s with the old cookie finds no session after a rotation, and the browser keeps the new cookie",
      async (_, method, none) => {
        const { halfway, whole, jar, signedIn, events, session, stored } = await scene(ground);
        const finish = await halfway((visitor) => visitor.peek(), method);
        const rotation = await whole((visitor) => visitor.rotate());
        expect(rotation.setCookies).toHaveLength(1);
        const rotated = jar.cookie;
        expect(rotated).not.toBe(signedIn);
        expect(await finish()).toEqual({ result: none, setCookies: [] });
        expect(jar.cookie).toBe(rotated);
        expect(await stored()).toEqual(session.data);
        expect(events.at(-1)).toMatchObject({ type: "reused", id: session.id });
      },
    );

    test("a late update with the old cookie is stored in the grace period, and the browser keeps the new cookie", async () => {
      const { halfway, whole, jar, stored } = await scene(ground);
      const finish = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.update({ theme: "dark" }),
      );
      await whole((visitor) => visitor.rotate({ grace: 60 }));
      const rotated = jar.cookie;
      expect((await finish()).setCookies).toEqual([]);
      expect(jar.cookie).toBe(rotated);
      expect(await stored()).toMatchObject({ theme: "dark" });
    });

    test("a late rotation with the old cookie returns null in the grace period, and the browser keeps the new cookie", async () => {
      const { halfway, whole, jar, stored } = await scene(ground);
      const finish = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.rotate(),
      );
      await whole((visitor) => visitor.rotate({ grace: 60 }));
      const rotated = jar.cookie;
      expect(await finish()).toEqual({ result: null, setCookies: [] });
      expect(jar.cookie).toBe(rotated);
      expect(await stored()).not.toBeNull();
    });

    test("of two concurrent rotations one succeeds, and the other sets no cookie", async () => {
      const { halfway, keys, session, stored } = await scene(ground);
      const one = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.rotate(),
      );
      const other = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.rotate(),
      );
      const answers = await Promise.all([one(), other()]);
      expect(answers.map(({ setCookies }) => setCookies.length).sort()).toEqual([0, 1]);
      expect(answers.filter(({ result }) => result === null)).toHaveLength(1);
      expect(await keys()).toEqual([session.id]);
      expect(await stored()).toEqual(session.data);
    });

    test("a rotation concurrent with an update keeps the session, and the update is stored unless it returned null", async () => {
      const { halfway, stored } = await scene(ground);
      const write = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.update({ theme: "dark" }),
      );
      const rotation = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.rotate(),
      );
      const [written] = await Promise.all([write(), rotation()]);
      expect(await stored()).toMatchObject({ theme: written.result === null ? "light" : "dark" });
    });
  });

  describe("two requests that end the session", () => {
    test("only one of two concurrent logouts ends the session, and the other sets no cookie", async () => {
      const { halfway, keys, jar } = await scene(ground);
      const one = await halfway(
        (session) => session.get(),
        (session) => session.destroy(),
      );
      const other = await halfway(
        (session) => session.get(),
        (session) => session.destroy(),
      );
      const answers = await Promise.all([one(), other()]);
      expect(answers.map(({ result }) => result).sort()).toEqual([false, true]);
      expect(answers.map(({ setCookies }) => setCookies.length).sort()).toEqual([0, 1]);
      expect(await keys()).toEqual([]);
      expect(jar.cookie).toBeNull();
    });

    test("a logout that runs after a login in another request does not clear the cookie of that login", async () => {
      const { halfway, whole, jar, stored } = await scene(ground);
      const finish = await halfway(
        (session) => session.get(),
        (session) => session.destroy(),
      );
      await whole((session) => session.create({ userId: "43" }));
      const cookie = jar.cookie;
      expect(await finish()).toEqual({ result: false, setCookies: [] });
      expect(jar.cookie).toBe(cookie);
      expect(await stored()).toMatchObject({ userId: "43" });
    });

    test("a rotation and a concurrent logout have the same result as if they had run one after the other", async () => {
      const { halfway, keys, session, copy, store } = await scene(ground);
      const rotating = copy();
      const rotation = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.rotate(),
        rotating,
      );
      const logout = await halfway(
        (visitor) => visitor.get(),
        (visitor) => visitor.destroy(),
      );
      const [rotated, ended] = await Promise.all([rotation(), logout()]);
      expect(rotated.result === null).toBe(ended.result);
      expect(await keys()).toEqual(ended.result ? [] : [session.id]);
      expect((await store.peek(tokenOf(rotating.cookie))) === null).toBe(ended.result);
    });
  });

  describe("late requests after expiration", () => {
    test.each(late)(
      "a late %s after expiration finds no session, leaves no key and sets no cookie",
      async (_, method, none) => {
        const { halfway, expire, keys, jar, signedIn } = await scene(ground);
        const finish = await halfway((session) => session.peek(), method);
        await expire();
        expect(await finish()).toEqual({ result: none, setCookies: [] });
        expect(await keys()).toEqual([]);
        expect(jar.cookie).toBe(signedIn);
      },
    );
  });

  describe("concurrent first visits", () => {
    test("each of a hundred concurrent first visits gets its own session", async () => {
      const { whole, keys } = await scene(ground);
      const visits = Array.from({ length: 100 }, () => whole((session) => session.create({}), cookieJar()));
      const ids = (await Promise.all(visits)).map(({ result }) => result?.id);
      expect(new Set(ids).size).toBe(100);
      expect(await keys()).toHaveLength(101);
    });
  });
}
