import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, type RequestSession, sessionMiddleware } from "../../src/index.ts";
import { counted, intercept } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { cookieJar, request } from "../support/http.ts";
import { signedIn } from "../support/sites.ts";
import type { NewVisit, Visit } from "../support/visits.ts";

type Kept = RequestSession<Visit, NewVisit>;

/** A store with an index, and a browser that is signed in. */
async function indexed() {
  const { backend, calls } = counted(memoryBackend());
  const schema = z.object({ userId: z.string(), role: z.string().default("user") });
  const store = createSessionStore({ schema, backend, indexes: { user: "userId" } });
  const handle = sessionMiddleware(store);
  const jar = cookieJar();
  const response = await handle(jar.request(), async (session) => {
    await session.create({ userId: "42" });
    return new Response();
  });
  jar.receive(response);
  return { store, handle, jar, calls };
}

describe("changes elsewhere during a request", () => {
  test.each(["get", "peek"] as const)("%s reads the session again after revokeAll", async (read) => {
    const { store, handle, jar } = await indexed();
    await handle(jar.request(), async (session) => {
      expect(await session[read]()).not.toBeNull();
      await store.revokeAll({ user: "42" });
      expect(await session[read]()).toBeNull();
      return new Response();
    });
  });

  test("get reads the session again after revoke", async () => {
    const { store, handle, jar } = await indexed();
    await handle(jar.request(), async (session) => {
      const { id } = (await session.get()) ?? expect.fail();
      await store.revoke(id);
      expect(await session.get()).toBeNull();
      return new Response();
    });
  });

  test("get reads the session again after store.destroy", async () => {
    const { handle, jar, store, token } = await signedIn();
    await handle(jar.request(), async (session) => {
      await session.get();
      await store.destroy(token);
      expect(await session.get()).toBeNull();
      return new Response();
    });
  });

  test("get reads the session again after updateAll", async () => {
    const { store, handle, jar } = await indexed();
    await handle(jar.request(), async (session) => {
      await session.get();
      await store.updateAll({ user: "42" }, { role: "admin" });
      expect((await session.get())?.data.role).toBe("admin");
      return new Response();
    });
  });

  test("get reads the session again after a change by a wrapper of the store", async () => {
    const { store } = await indexed();
    const wrapped = { ...store };
    const handle = sessionMiddleware(wrapped);
    const { token } = await store.create({ userId: "43" });
    await handle(request(`__Host-Http-sid=${token}`), async (session) => {
      await session.get();
      await wrapped.revokeAll({ user: "43" });
      expect(await session.get()).toBeNull();
      return new Response();
    });
  });

  test("get reads the session again if the change happened during the first read", async () => {
    const held = gate();
    const { store, handle, jar } = await indexed();
    await handle(jar.request(), async (session) => {
      const reading = session.get();
      const ended = store.revokeAll({ user: "42" });
      held.open();
      await Promise.all([reading, ended]);
      expect(await session.get()).toBeNull();
      return new Response();
    });
  });

  test("get reads the session again after a change that failed", async () => {
    const { store, handle, jar, calls } = await indexed();
    await handle(jar.request(), async (session) => {
      const { id } = (await session.get()) ?? expect.fail();
      await store.revoke(id, { signal: AbortSignal.abort() }).catch(() => {});
      calls.length = 0;
      await session.get();
      expect(calls).toEqual(["read"]);
      return new Response();
    });
  });
});

describe("the signal of a read", () => {
  test("the signal of one read does not abort another read of the request", async () => {
    const held = gate();
    let isHolding = false;
    const backend = intercept(memoryBackend(), (method) => (isHolding && method === "read" ? held.passed : undefined));
    const { handle, jar } = await signedIn({}, { backend });
    isHolding = true;
    const abort = new AbortController();
    await handle(jar.request(), async (session) => {
      const [first, second] = [session.get({ signal: abort.signal }), session.get()];
      abort.abort();
      await expect(first).rejects.toMatchObject({ reason: "aborted" });
      held.open();
      expect((await second)?.data.userId).toBe("42");
      return new Response();
    });
  });

  test("a read with an aborted signal rejects even if the session was read before", async () => {
    const { handle, jar } = await signedIn();
    await handle(jar.request(), async (session) => {
      await session.get();
      await expect(session.get({ signal: AbortSignal.abort() })).rejects.toMatchObject({ reason: "aborted" });
      return new Response();
    });
  });

  test("a read with another signal makes no backend call after the first read has succeeded", async () => {
    const { handle, jar, calls } = await signedIn();
    await handle(jar.request(), async (session) => {
      await session.get({ signal: new AbortController().signal });
      await session.get({ signal: new AbortController().signal });
      expect(calls).toEqual(["read"]);
      return new Response();
    });
  });
});

describe("reads after the response", () => {
  test.each(["get", "peek"] as const)(
    "each %s after the response reads the store and notices a logout elsewhere",
    async (read) => {
      const { handle, jar, store, token, calls } = await signedIn();
      const kept: Kept[] = [];
      await handle(jar.request(), async (session) => {
        kept.push(session);
        await session.get();
        return new Response();
      });
      calls.length = 0;
      expect(await kept[0]?.[read]()).not.toBeNull();
      expect(await kept[0]?.[read]()).not.toBeNull();
      expect(calls).toEqual(["read", "read"]);
      await store.destroy(token);
      expect(await kept[0]?.[read]()).toBeNull();
    },
  );

  test("a session that was used before the response can be changed and ended after it", async () => {
    const { handle, jar, store, token } = await signedIn();
    const kept: Kept[] = [];
    await handle(jar.request(), async (session) => {
      kept.push(session);
      await session.get();
      return new Response();
    });
    expect(await kept[0]?.increment("pageViews")).toBe(1);
    expect(await kept[0]?.destroy()).toBe(true);
    expect(await store.get(token)).toBeNull();
  });
});

describe("first use of the session after the headers were sent", () => {
  async function first(headers: Record<string, string>) {
    const { handle, jar, calls } = await signedIn();
    const kept: Kept[] = [];
    const response = await handle(jar.request(), (session) => {
      kept.push(session);
      return new Response(new ReadableStream(), { headers });
    });
    const uses: ((session: Kept) => Promise<unknown>)[] = [
      (session) => session.get(),
      (session) => session.peek(),
      (session) => session.update({ theme: "dark" }),
      (session) => session.increment("pageViews"),
      (session) => session.take("flash"),
      (session) => session.setIdleTimeout(60),
      (session) => session.destroy(),
    ];
    return { response, calls, session: kept[0] ?? expect.fail(), uses };
  }

  test.each([
    {},
    { "cache-control": "public, max-age=600" },
    { "cache-control": "max-age=600" },
    { "cache-control": "no-cache" },
    { "cache-control": 'private="x-a"' },
  ])("a first use is rejected if shared caches may store the response: %j", async (headers) => {
    const { session, calls, uses } = await first(headers);
    for (const use of uses) {
      await expect(use(session)).rejects.toThrow(
        new TypeError(
          "Cannot use the session for the first time after the response headers were sent: call get() before returning the stream, or send Cache-Control: private",
        ),
      );
    }
    expect(calls).toEqual([]);
  });

  test.each([
    { "cache-control": "private" },
    { "cache-control": "no-store" },
    { "cache-control": "Private, max-age=60" },
    { "cache-control": "no-cache, no-store" },
  ])("a first use is allowed if the response forbids shared caches to store it: %j", async (headers) => {
    const { session, response } = await first(headers);
    expect((await session.get())?.data.userId).toBe("42");
    expect(response.headers.has("vary")).toBe(false);
  });
});
