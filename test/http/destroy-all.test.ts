import { describe, expect, test } from "vitest";
import {
  memoryBackend,
  type RequestSession,
  SessionBackendError,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import { type BackendMethod, intercept, keysOf } from "../support/backends.ts";
import { cookieJar, requestParts } from "../support/http.ts";
import { allListed, type Data, type Index, idsOf, members, type NewMember } from "../support/members.ts";
import { setCookies } from "../support/sites.ts";
import { plant } from "../support/stored.ts";

type MemberSession = RequestSession<Data, NewMember, Index>;

/** A site with indexes whose visitor has a session of user 42, and so has another device. */
async function devices(options: Parameters<typeof members>[0] = {}) {
  const made = members(options);
  const [mine, other, stranger] = await Promise.all([
    made.store.create({ userId: "42" }),
    made.store.create({ userId: "42" }),
    made.store.create({ userId: "7" }),
  ]);
  made.calls.length = made.events.length = 0;
  const jar = cookieJar(undefined, `__Host-Http-sid=${mine.token}`);
  const handle = sessionMiddleware(made.store);
  async function visit(handler: (session: MemberSession) => unknown): Promise<Response> {
    return jar.receive(
      await handle(jar.request(), async (session) => {
        await handler(session);
        return new Response();
      }),
    );
  }
  return { ...made, handle, jar, mine, other, stranger, visit };
}

/** A backend that can be made to fail in the calls of a method. */
function failingAt(method: BackendMethod) {
  const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });
  const switched = { on: false };
  const backend = intercept(memoryBackend(), (called) =>
    switched.on && called === method ? Promise.reject(failure) : undefined,
  );
  return { backend, switched };
}

describe("destroyAll", () => {
  test("destroyAll ends all sessions of the index value and this one, and clears the cookie", async () => {
    const { visit, jar, backend, stranger } = await devices();
    const response = await visit(async (session) => {
      expect(await session.destroyAll({ user: "42" })).toBe(2);
      expect(await session.get()).toBeNull();
    });
    expect(jar.cookie).toBeNull();
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await keysOf(backend)).toEqual([stranger.session.id]);
  });

  test("destroyAll also ends a session whose data does not fit the schema, and clears the cookie", async () => {
    const { visit, jar, backend, clock, mine, stranger } = await devices();
    await plant(backend, mine.token, { cart: "no JSON" }, [], clock.now());
    await visit(async (session) => {
      expect(await session.get()).toBeNull();
      expect(await session.destroyAll({ user: "42" })).toBe(2);
    });
    expect(jar.cookie).toBeNull();
    expect(await keysOf(backend)).toEqual([stranger.session.id]);
  });

  test("destroyAll reports the session of the request as destroyed and the others as revoked", async () => {
    const { visit, events, mine, other } = await devices();
    await visit((session) => session.destroyAll({ user: "42" }));
    expect(events).toMatchObject([
      { type: "revoked", id: other.session.id, reason: "index" },
      { type: "destroyed", id: mine.session.id },
    ]);
  });

  test("destroyAll ends this session even if it does not have the index value", async () => {
    const { visit, jar, backend, mine } = await devices();
    await visit(async (session) => expect(await session.destroyAll({ user: "7" })).toBe(2));
    expect(jar.cookie).toBeNull();
    expect(await keysOf(backend)).toHaveLength(1);
    expect(await keysOf(backend)).not.toContain(mine.session.id);
  });

  test("destroyAll ends only this session if none has the index value", async () => {
    const { visit, jar } = await devices();
    await visit(async (session) => expect(await session.destroyAll({ user: "nobody" })).toBe(1));
    expect(jar.cookie).toBeNull();
  });

  test("destroyAll of a request without a session ends the others and does not clear the cookie", async () => {
    const { handle, backend, stranger } = await devices();
    const anonymous = cookieJar(undefined, `__Host-Http-sid=${"A".repeat(22)}.${"b".repeat(43)}`);
    const response = await handle(anonymous.request(), async (session) =>
      Response.json(await session.destroyAll({ user: "42" })),
    );
    expect([await response.json(), setCookies(response)]).toEqual([2, []]);
    expect(await keysOf(backend)).toEqual([stranger.session.id]);
  });

  test("a forged token with the ID of a session does not spare that session", async () => {
    const { handle, mine, store } = await devices();
    const forged = cookieJar(undefined, `__Host-Http-sid=${mine.session.id}.${"b".repeat(43)}`);
    const response = await handle(forged.request(), async (session) =>
      Response.json(await session.destroyAll({ user: "42" })),
    );
    expect([await response.json(), setCookies(response)]).toEqual([2, []]);
    expect(await store.count({ user: "42" })).toBe(0);
  });

  test("destroyAll ends this session if another request has rotated its token in the meantime", async () => {
    const { visit, jar, store, mine } = await devices();
    await visit(async (session) => {
      await session.get();
      await store.rotate(mine.token);
      expect(await session.destroyAll({ user: "42" })).toBe(2);
    });
    expect(await store.count({ user: "42" })).toBe(0);
    expect(jar.cookie).toBeNull();
  });

  test("destroyAll ends a session whose stored data does not fit the schema", async () => {
    const { visit, backend, mine, clock, stranger } = await devices();
    const access = { verifier: null, previous: false, now: clock.now() };
    await backend.write(mine.session.id, access, { set: { level: "high" }, remove: [], fields: [] });
    await visit(async (session) => expect(await session.destroyAll({ user: "42" })).toBe(2));
    expect(await keysOf(backend)).toEqual([stranger.session.id]);
  });

  test("after create in the same request, destroyAll ends the new session and sends no token", async () => {
    const { visit, jar, backend, stranger } = await devices();
    const response = await visit(async (session) => {
      await session.create({ userId: "42" });
      expect(await session.destroyAll({ user: "42" })).toBe(2);
    });
    expect(jar.cookie).toBeNull();
    expect(setCookies(response)).toEqual([expect.stringMatching(/^__Host-Http-sid=; Max-Age=0;/)]);
    expect(await keysOf(backend)).toEqual([stranger.session.id]);
  });

  test("destroyAll and create run one after the other", async () => {
    const { visit, jar, store } = await devices();
    await visit((session) => Promise.all([session.destroyAll({ user: "42" }), session.create({ userId: "42" })]));
    expect(idsOf(await allListed(store, { user: "42" }))).toHaveLength(1);
    expect(jar.cookie).not.toBeNull();
  });

  test("destroyAll reads the session once if the handler has read it before", async () => {
    const { visit, calls } = await devices();
    await visit(async (session) => {
      await session.require();
      calls.length = 0;
      await session.destroyAll({ user: "42" });
    });
    expect(calls).not.toContain("read");
  });

  test("an index that is not declared is a TypeError, and nothing ends", async () => {
    const { visit, backend, jar, mine } = await devices();
    const answer = visit((session) => session.destroyAll({ color: "red" } as never));
    await expect(answer).rejects.toThrow(TypeError);
    expect(await keysOf(backend)).toHaveLength(3);
    expect(jar.cookie).toContain(mine.token);
  });
});

describe("destroyAll when the backend fails", () => {
  test("a failure while the others end leaves this session and its cookie, and a second call finishes", async () => {
    const { backend, switched } = failingAt("revoke");
    const { visit, jar, mine, store } = await devices({ backend });
    switched.on = true;
    const response = await visit((session) => session.destroyAll({ user: "42" }));
    expect([response.status, setCookies(response)]).toEqual([503, []]);
    expect(await store.count({ user: "42" })).toBe(2);
    switched.on = false;
    expect(await store.peek(mine.token)).not.toBeNull();
    await visit((session) => session.destroyAll({ user: "42" }));
    expect(jar.cookie).toBeNull();
    expect(await store.count({ user: "42" })).toBe(0);
  });

  test("a failure while this session ends says how many have ended, and does not clear the cookie", async () => {
    const { backend, switched } = failingAt("remove");
    const { jar, mine, store } = await devices({ backend });
    const { session, finish } = sessionExchange(store)(requestParts(jar.cookie));
    await session.get();
    switched.on = true;
    const error = await session.destroyAll({ user: "42" }).catch((error) => error);
    switched.on = false;
    expect(error).toBeInstanceOf(SessionBackendError);
    expect(error).toMatchObject({ done: 1, outcome: "unknown" });
    expect(finish(new Headers()).map(([name]) => name)).not.toContain("Set-Cookie");
    expect(await store.peek(mine.token)).not.toBeNull();
  });
});

test("destroyAll with the transport bearer ends the sessions and sets no cookie", async () => {
  const { store, mine } = await devices();
  const request = new Request("https://api.example/", { headers: { authorization: `Bearer ${mine.token}` } });
  const response = await sessionMiddleware(store, { transport: "bearer" })(request, async (session) =>
    Response.json(await session.destroyAll({ user: "42" })),
  );
  expect([await response.json(), setCookies(response)]).toEqual([2, []]);
  expect(await store.count({ user: "42" })).toBe(0);
});
