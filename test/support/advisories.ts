import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { newSecret, randomText } from "../../src/base/token.ts";
import {
  createSessionStore,
  type Duration,
  type SessionBackend,
  SessionConflictError,
  type SessionEvent,
  sessionMiddleware,
} from "../../src/index.ts";
import { keysOf } from "./backends.ts";
import { request, tokenOf } from "./http.ts";
import { allListed } from "./members.ts";
import { atEveryCall } from "./pauses.ts";
import { insertRecord } from "./stored.ts";

/** An empty backend and its clock. */
export interface Ground {
  readonly backend: SessionBackend;
  /** The clock of the store and of the backend. */
  readonly clock: { readonly now: () => number; advance(seconds: number): unknown };
}

/** Uses up the random bytes that were drawn already, so that the next token needs new ones. */
const useUpRandom = (): unknown => randomText(8192);

const IDLE = 1800;
const ABSOLUTE = 3600;

const account = z.object({
  userId: z.string().optional(),
  role: z.string().optional(),
  csrf: z.string().optional(),
  views: z.number().int().default(0),
  anything: z.any().optional(),
});

export function accounts(
  { backend, clock }: Ground,
  onEvent: (event: SessionEvent) => void = () => {},
  options: { readonly touchInterval?: Duration; readonly operationTimeout?: Duration } = {},
) {
  return createSessionStore({
    ...options,
    schema: account,
    backend,
    indexes: { user: "userId" },
    idleTimeout: IDLE,
    absoluteTimeout: ABSOLUTE,
    now: clock.now,
    onEvent,
  });
}

export type Accounts = ReturnType<typeof accounts>;

/** Each way to use a token. */
const uses: Readonly<Record<string, (store: Accounts, token: string) => Promise<unknown>>> = {
  get: (store, token) => store.get(token),
  peek: (store, token) => store.peek(token),
  update: (store, token) => store.update(token, { role: "admin" }),
  "update by a function": (store, token) => store.update(token, ({ views }) => ({ views: views + 1 })),
  "move to another user": (store, token) => store.update(token, { userId: "43" }),
  increment: (store, token) => store.increment(token, "views"),
  take: (store, token) => store.take(token, "role"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, 60),
  rotate: (store, token) => store.rotate(token),
  "rotate with a patch": (store, token) => store.rotate(token, { patch: { role: "admin" } }),
  destroy: async (store, token) => (await store.destroy(token)) || null,
};

export async function expectNothingOpens(store: Accounts, token: string): Promise<void> {
  for (const [use, act] of Object.entries(uses)) expect(await act(store, token), use).toBeNull();
}

/** A well-formed token that was never issued. */
export function madeUp(): string {
  return `${newSecret().text.slice(0, 22)}.${newSecret().text}`;
}

/** Tests for vulnerabilities of other libraries that concern storage. They run on every backend. */
export function advisories(open: () => Ground | Promise<Ground>): void {
  test("R-1 a late request never restores a destroyed session", async () => {
    for (const [use, act] of Object.entries(uses)) {
      await atEveryCall(open, async ({ clock, backend: inner }, { around, backend, where }) => {
        const store = accounts({ backend: inner, clock });
        const { token } = await store.create({ userId: "42", role: "user" });
        await around(
          () => act(accounts({ backend, clock }), token),
          () => store.destroy(token),
        );
        // If the rotation came first, the old token could not destroy the session.
        if (use.startsWith("rotate")) await store.revokeAll({ user: "42" });
        expect(await keysOf(inner), `${use}, ${where}`).toEqual([]);
      });
    }
  });

  test("R-2 no write creates an incomplete record, and an incomplete record is not read as a session", async () => {
    const { backend, clock } = await open();
    const store = accounts({ backend, clock });
    await expectNothingOpens(store, madeUp());
    expect(await keysOf(backend)).toEqual([]);
    const { token, session } = await store.create({});
    await store.destroy(token);
    await insertRecord(backend, session.id, { last_accessed_at: new Date(clock.now()).toISOString() }, clock.now());
    await expectNothingOpens(store, token);
    for await (const found of store.scan()) expect.fail(`${found.id} is listed`);
  });

  test("R-3 of two concurrent rotations one succeeds and the other returns null, as does a rotation after destroy", async () => {
    const { backend, clock } = await open();
    const store = accounts({ backend, clock });
    const gone = await store.create({});
    await store.destroy(gone.token);
    expect(await store.rotate(gone.token)).toBeNull();
    const { token } = await store.create({});
    const answers = await Promise.all([store.rotate(token), store.rotate(token)]);
    const [winner, ...more] = answers.filter((answer) => answer !== null);
    expect(more).toEqual([]);
    expect(await store.get(winner?.token ?? "")).not.toBeNull();
    expect(await keysOf(backend)).toHaveLength(1);
  });

  test("R-4 a session ends at its deadline, and no operation moves the deadline", async () => {
    const ground = await open();
    const { clock } = ground;
    const store = accounts(ground);
    const { token, session } = await store.create({ userId: "42", role: "user" });
    let now = token;
    for (const [use, act] of Object.entries(uses)) {
      if (use === "destroy" || use === "setIdleTimeout") continue;
      await clock.advance(1);
      const answer = await act(store, now);
      if (use.startsWith("rotate")) now = (answer as { token: string }).token;
      expect((await store.peek(now))?.deadline, use).toEqual(session.deadline);
    }
    const left = (session.deadline?.getTime() ?? 0) - clock.now();
    await clock.advance(left / 1000);
    await expectNothingOpens(store, now);
  });

  test("R-5 after a rotation the old token is invalid and no second record exists", async () => {
    const ground = await open();
    const store = accounts(ground);
    const { token, session } = await store.create({ userId: "42" });
    const rotated = await store.rotate(token);
    await expectNothingOpens(store, token);
    expect(await keysOf(ground.backend)).toEqual([session.id]);
    expect((await store.get(rotated?.token ?? ""))?.data.userId).toBe("42");
  });

  test("R-6 a copied cookie is invalid after the logout and after the deadline", async () => {
    const ground = await open();
    const store = accounts(ground);
    const handle = sessionMiddleware(store);
    const signIn = async (): Promise<string> => {
      const response = await handle(request(), async (session) => {
        await session.create({ userId: "42" });
        return new Response();
      });
      return response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
    };
    const replay = async (cookie: string): Promise<unknown> => {
      let found: unknown;
      await handle(request(cookie), async (session) => {
        found = await session.get();
        return new Response();
      });
      return found;
    };
    const [first, second] = [await signIn(), await signIn()];
    await store.destroy(tokenOf(first));
    expect(await replay(first)).toBeNull();
    expect(await replay(second)).not.toBeNull();
    await ground.clock.advance(ABSOLUTE);
    expect(await replay(second)).toBeNull();
  });

  test("R-7 a session ID that a client chose is never used for a session", async () => {
    const ground = await open();
    const store = accounts(ground);
    const chosen = madeUp();
    const [id = ""] = chosen.split(".");
    const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${chosen}`), async (session) => {
      expect(await session.update({ role: "admin" })).toBeNull();
      await session.create({ userId: "42" });
      return new Response();
    });
    const issued = tokenOf(response.headers.getSetCookie()[0]);
    expect(issued.slice(0, 22)).not.toBe(id);
    expect(issued).not.toContain(chosen.slice(23));
    expect(await keysOf(ground.backend)).toEqual([issued.slice(0, 22)]);
    await expectNothingOpens(store, chosen);
  });

  test("R-8 a login, a second login as the same user and a second factor each make the previous token invalid", async () => {
    const ground = await open();
    const store = accounts(ground);
    const handle = sessionMiddleware(store);
    let cookie: string | null = null;
    const dead: string[] = [];
    const steps = ["create", "create", "factor"] as const;
    for (const step of steps) {
      const response: Response = await handle(request(cookie), async (session) => {
        if (step === "create") await session.create({ userId: "42" });
        else await session.rotate({ authenticated: true });
        return new Response();
      });
      if (cookie !== null) dead.push(tokenOf(cookie));
      cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? null;
    }
    expect(new Set([...dead, tokenOf(cookie)]).size).toBe(3);
    for (const token of dead) expect(await store.peek(token)).toBeNull();
    expect(await keysOf(ground.backend)).toHaveLength(1);
  });

  // The library uses no CSRF tokens, see test/http/cross-origin.test.ts. An application can keep its own in the data.
  test("R-9 a CSRF secret in the data changes atomically with the token, and other sessions keep theirs", async () => {
    const store = accounts(await open());
    const other = await store.create({ csrf: "other" });
    const { token } = await store.create({ csrf: "before" });
    const rotated = await store.rotate(token, { authenticated: true, patch: { csrf: "after" } });
    expect(rotated?.session.data.csrf).toBe("after");
    expect(await store.peek(token)).toBeNull();
    expect((await store.peek(other.token))?.data.csrf).toBe("other");
  });

  test("R-10 the old token never sees the role that is granted with the second factor", async () => {
    await atEveryCall(open, async ({ clock, backend: inner }, { around, backend, where }) => {
      const store = accounts({ backend: inner, clock });
      const { token } = await store.create({ role: "pending" });
      let seen: unknown;
      const rotated = await around(
        () => accounts({ backend, clock }).rotate(token, { authenticated: true, patch: { role: "user" } }),
        async () => {
          seen = (await store.get(token))?.data.role ?? null;
        },
      );
      expect(["pending", null], where).toContain(seen);
      expect(rotated?.session.data.role, where).toBe("user");
    });
  });

  test("R-11 an invalid ID or a secret of another session never ends a session", async () => {
    const ground = await open();
    const store = accounts(ground);
    const mine = await store.create({ userId: "42" });
    const theirs = await store.create({ userId: "43" });
    const [, secret] = mine.token.split(".");
    const keys = (await keysOf(ground.backend)).sort();
    for (const id of [secret, "", "*", `${theirs.session.id}\n`, "index:user:43", "../x", undefined]) {
      expect(await store.revoke(id as string)).toBe(false);
    }
    await expect(store.revoke(String(mine.token))).rejects.toThrow(TypeError);
    expect(await store.destroy(`${theirs.session.id}.${secret}`)).toBe(false);
    expect(await store.destroy(String(theirs.session.id))).toBe(false);
    expect(await store.revokeAll({ user: "4*" })).toBe(0);
    expect((await keysOf(ground.backend)).sort()).toEqual(keys);
  });

  test("R-12 of fifty concurrent rotations one succeeds, and the old token is reported as reused after the grace period", async () => {
    const events: SessionEvent[] = [];
    const ground = await open();
    const store = accounts(ground, (event) => events.push(event));
    const { token } = await store.create({ userId: "42" });
    const answers = await Promise.all(Array.from({ length: 50 }, () => store.rotate(token, { grace: 10 })));
    const winners = answers.filter((answer) => answer !== null);
    expect(winners).toHaveLength(1);
    const successor = winners[0]?.token ?? "";
    expect((await store.get(token))?.id).toBe((await store.get(successor))?.id);
    expect(await store.rotate(token)).toBeNull();
    await ground.clock.advance(10.001);
    events.length = 0;
    expect(await store.get(token)).toBeNull();
    expect(events.map(({ type }) => type)).toEqual(["reused"]);
    expect(await store.get(successor)).not.toBeNull();
  });

  // R-13 (responses in every order) is in test/http/cookie-jar.test.ts and test/support/scenarios.ts.

  test("R-14 no secret is passed to the backend, only its hash", async () => {
    const ground = await open();
    const told: unknown[] = [];
    const spy = new Proxy(ground.backend, {
      get(target, name, receiver) {
        const method = Reflect.get(target, name, receiver);
        if (typeof method !== "function") return method;
        return (...args: unknown[]) => {
          told.push(args);
          return Reflect.apply(method, target, args);
        };
      },
    });
    const store = accounts({ ...ground, backend: spy });
    let { token } = await store.create({ userId: "42", role: "user" });
    const secrets = [token.slice(23)];
    for (const [use, act] of Object.entries(uses)) {
      const answer = await act(store, token);
      if (!use.startsWith("rotate")) continue;
      token = (answer as { token: string }).token;
      secrets.push(token.slice(23));
    }
    expect(told.length).toBeGreaterThan(10);
    for (const secret of secrets) expect(JSON.stringify(told)).not.toContain(secret);
  });

  test("R-16 nothing is stored by requests with unknown tokens or by logouts without a session", async () => {
    const ground = await open();
    const handle = sessionMiddleware(accounts(ground));
    const ask = (cookie: string | null, logOut: boolean) =>
      handle(request(cookie), async (session) => {
        if (logOut) await session.destroy();
        else await session.update({ views: 1 });
        return new Response();
      });
    for (let round = 0; round < 20; round++) {
      const cookies = Array.from({ length: 100 }, () => `__Host-Http-sid=${madeUp()}`);
      const responses = await Promise.all(
        cookies.flatMap((cookie) => [ask(cookie, false), ask(cookie, true), ask(null, true)]),
      );
      expect(responses.flatMap((response) => response.headers.getSetCookie())).toEqual([]);
    }
    expect(await keysOf(ground.backend)).toEqual([]);
  });

  test("R-24 every operation succeeds even if the event listener throws", async () => {
    for (const listener of [
      () => {
        throw new Error("listener");
      },
      () => Promise.reject(new Error("listener")) as unknown as undefined,
    ]) {
      const ground = await open();
      const store = accounts(ground, listener);
      const { token } = await store.create({ userId: "42" });
      const rotated = await store.rotate(token);
      expect(await store.get(token)).toBeNull();
      expect(await store.destroy(rotated?.token ?? "")).toBe(true);
      const { session } = await store.create({ userId: "42" });
      expect(await store.revoke(session.id)).toBe(true);
      await store.create({ userId: "42" });
      expect(await store.revokeAll({ user: "42" })).toBe(1);
      expect(await keysOf(ground.backend)).toEqual([]);
    }
  });

  test("R-25 a session whose optional fields were removed is read without them and leaves its index", async () => {
    const store = accounts(await open());
    const { token } = await store.create({ userId: "42", role: "admin" });
    await store.update(token, { userId: undefined, role: undefined });
    expect((await store.get(token))?.data).toEqual({ views: 0 });
    expect(await allListed(store, { user: "42" })).toEqual([]);
  });

  test("R-27 a record copied to the key of another session is not readable with that session's token", async () => {
    const { backend, clock } = await open();
    const store = accounts({ backend, clock });
    const mine = await store.create({ userId: "42" });
    const theirs = await store.create({ userId: "43" });
    const access = { verifier: null, previous: false, now: clock.now() };
    const record = await backend.read(theirs.session.id, access, { fields: null });
    await store.destroy(mine.token);
    await insertRecord(backend, mine.session.id, record as Record<string, string>, clock.now());
    await expectNothingOpens(store, mine.token);
  });

  test("R-31 create never overwrites an existing session", async () => {
    const random = vi
      .spyOn(crypto, "getRandomValues")
      .mockImplementation((bytes) => (bytes as Uint8Array).fill(0) as typeof bytes);
    useUpRandom();
    try {
      const store = accounts(await open());
      const { token } = await store.create({ userId: "42" });
      await expect(store.create({ userId: "43" })).rejects.toThrow(SessionConflictError);
      random.mockRestore();
      expect((await store.get(token))?.data.userId).toBe("42");
    } finally {
      random.mockRestore();
    }
  });

  test("R-30 create and rotate fail and change nothing if the random generator fails", async () => {
    const ground = await open();
    const store = accounts(ground);
    const { token } = await store.create({ userId: "42" });
    useUpRandom();
    const random = vi.spyOn(crypto, "getRandomValues").mockImplementation(() => {
      throw new Error("There is no entropy");
    });
    try {
      await expect(store.create({ userId: "43" })).rejects.toThrow("There is no entropy");
      await expect(store.rotate(token)).rejects.toThrow("There is no entropy");
    } finally {
      random.mockRestore();
    }
    expect(await keysOf(ground.backend)).toHaveLength(1);
    expect((await store.get(token))?.data.userId).toBe("42");
  });

  test.each(["__proto__", "constructor", "prototype"])(
    "R-33 a stored key named %s does not change any prototype, at any depth",
    async (key) => {
      const { backend, clock } = await open();
      const store = accounts({ backend, clock });
      const { token, session } = await store.create({});
      const evil = `{"${key}":{"isAdmin":true,"prototype":{"isAdmin":true}},"a":[{"${key}":{"isAdmin":true}}]}`;
      const access = { verifier: null, previous: false, now: clock.now() };
      const set = Object.fromEntries([
        ["anything", evil],
        [key, evil],
      ]);
      await backend.write(session.id, access, { set, remove: [], fields: [] });
      const data = (await store.get(token))?.data;
      await store.update(token, ({ views }) => ({ views: views + 1 }));
      for (const part of [data, data?.anything, data?.anything.a[0], {}, Object]) {
        expect((part as { isAdmin?: boolean }).isAdmin).toBeUndefined();
      }
      expect(Object.keys(data ?? {})).not.toContain(key);
    },
  );

  test("R-36 each of a thousand concurrent requests sees its own session", async () => {
    const store = accounts(await open());
    const handle = sessionMiddleware(store);
    const tokens = await Promise.all(
      Array.from({ length: 50 }, async (_, at) => (await store.create({ userId: `u${at}` })).token),
    );
    const mixed = await Promise.all(
      Array.from({ length: 1000 }, async (_, round) => {
        const own = round % tokens.length;
        const wrong: unknown[] = [];
        await handle(request(`__Host-Http-sid=${tokens[own]}`), async (session) => {
          for (const read of [session.peek, session.get]) {
            const userId = (await read())?.data.userId;
            if (userId !== `u${own}`) wrong.push(userId);
          }
          return new Response();
        });
        return wrong;
      }),
    );
    expect(mixed.flat()).toEqual([]);
  });

  test("R-36 a request and its clone have separate session objects with the same data", async () => {
    const store = accounts(await open());
    const handle = sessionMiddleware(store);
    const { token } = await store.create({ userId: "42" });
    const asked = request(`__Host-Http-sid=${token}`);
    const clone = asked.clone();
    await handle(asked, async (one) => {
      await handle(clone, async (other) => {
        expect(other).not.toBe(one);
        await other.update({ role: "user" });
        return new Response();
      });
      expect((await one.get())?.data.role).toBe("user");
      return new Response();
    });
  });

  test("R-37 the session IDs in a list are not valid tokens", async () => {
    const store = accounts(await open());
    const { token } = await store.create({ userId: "42" });
    const listed = await allListed(store, { user: "42" });
    expect(listed).toHaveLength(1);
    expect(JSON.stringify(listed)).not.toContain(token.slice(23));
    for (const { id } of listed) {
      await expectNothingOpens(store, id);
      await expectNothingOpens(store, `${id}.${newSecret().text}`);
    }
  });

  test("R-38 peek returns null after the session was revoked, so a WebSocket can check its session", async () => {
    const store = accounts(await open());
    const { token, session } = await store.create({ userId: "42" });
    expect(await store.peek(token)).not.toBeNull();
    await store.revoke(session.id);
    expect(await store.peek(token)).toBeNull();
  });

  test("R-39 revokeAll ends all other sessions of a user even if they are rotated at the same time", async () => {
    const store = accounts(await open());
    const current = await store.create({ userId: "42" });
    const others = await Promise.all(Array.from({ length: 20 }, () => store.create({ userId: "42" })));
    const [ended, ...issued] = await Promise.all([
      store.revokeAll({ user: "42" }, { except: current.session }),
      ...others.map(async ({ token }) => {
        const rotated = await store.rotate(token);
        return [token, rotated?.token ?? token];
      }),
    ]);
    expect(ended).toBe(20);
    for (const token of issued.flat()) expect(await store.peek(token)).toBeNull();
    expect((await allListed(store, { user: "42" })).map(({ id }) => id)).toEqual([current.session.id]);
  });

  describe("R-43 injection through session data", () => {
    test.each(["' OR 1=1 --", "\r\nFLUSHALL\r\n", "redis.call('FLUSHALL')", "#{7*7}", "]]return 1--[[", "\0", "%s"])(
      "the text %j is stored and read unchanged",
      async (text) => {
        const ground = await open();
        const store = accounts(ground);
        const { token } = await store.create({ userId: text, anything: { [`k${text}`]: text } });
        await store.update(token, { role: text });
        expect((await store.get(token))?.data).toMatchObject({
          userId: text,
          role: text,
          anything: { [`k${text}`]: text },
        });
        expect((await allListed(store, { user: text })).map(({ id }) => id)).toEqual(await keysOf(ground.backend));
      },
    );
  });
}
