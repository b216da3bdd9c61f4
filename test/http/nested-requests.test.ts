import { describe, expect, test } from "vitest";
import { beginScope, endScope, issueFrom, runInside, wasIssuedInside } from "../../src/http/nesting.ts";
import { memoryBackend, type RequestSession, SessionBackendError, sessionMiddleware } from "../../src/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { gate } from "../support/gate.ts";
import { cookieJar, request, tokenOf } from "../support/http.ts";
import { setCookies, signedIn, site } from "../support/sites.ts";
import type { NewVisit, Visit } from "../support/visits.ts";

type VisitSession = RequestSession<Visit, NewVisit>;
type Act = (session: VisitSession) => unknown;

/** Answers a request by a request of the same process, whose cookies it hands on as SvelteKit's `event.fetch` does. */
function forwarding({ handle }: Pick<ReturnType<typeof site>, "handle">, cookie: string | null, inner: Act) {
  return async (): Promise<Response> => {
    const answer = await handle(request(cookie), async (session) => {
      await inner(session);
      return new Response("inner");
    });
    const outer = new Response("outer");
    for (const line of setCookies(answer)) outer.headers.append("set-cookie", line);
    return outer;
  };
}

describe("the session cookie of a request that a handler makes", () => {
  test("the outer response gets the cookie of a login in an inner request", async () => {
    const made = site();
    const response = await made.handle(
      request(),
      forwarding(made, null, (session) => session.create({ userId: "42" })),
    );
    expect(await response.text()).toBe("outer");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect((await made.store.get(tokenOf(setCookies(response)[0])))?.data.userId).toBe("42");
  });

  test("the outer response gets the cookie of a rotation in an inner request", async () => {
    const made = await signedIn();
    const { handle, jar, store } = made;
    const response = await handle(
      jar.request(),
      forwarding(made, made.cookie, (session) => session.rotate()),
    );
    jar.receive(response);
    expect(jar.cookie).not.toBe(made.cookie);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test("the outer response clears the cookie after a logout in an inner request", async () => {
    const made = await signedIn();
    const { handle, jar } = made;
    jar.receive(
      await handle(
        jar.request(),
        forwarding(made, made.cookie, (session) => session.destroy()),
      ),
    );
    expect(jar.cookie).toBeNull();
  });

  test("the outer response has only its own session cookie if both requests create a session", async () => {
    const made = site();
    const login = forwarding(made, null, (session) => session.create({ userId: "inner" }));
    const response = await made.handle(request(), async (session) => {
      await session.create({ userId: "outer" });
      return await login();
    });
    expect(setCookies(response)).toHaveLength(1);
    expect((await made.store.get(tokenOf(setCookies(response)[0])))?.data.userId).toBe("outer");
  });

  test("the outermost response gets the cookie of a login two requests further inside", async () => {
    const made = site();
    const login = forwarding(made, null, (session) => session.create({ userId: "42" }));
    const response = await made.handle(request(), async () => {
      const middle = await made.handle(request(), login);
      const outer = new Response("outer");
      for (const line of setCookies(middle)) outer.headers.append("set-cookie", line);
      return outer;
    });
    expect(await made.store.get(tokenOf(setCookies(response)[0]))).not.toBeNull();
  });
});

test("a response is kept out of shared caches if an inner request has read a session", async () => {
  const { handle, jar } = await signedIn();
  const response = await handle(jar.request(), async () => {
    const inner = await handle(jar.request(), async (session) => new Response((await session.get())?.data.userId));
    return new Response(`<h1>${await inner.text()}`, { headers: { "cache-control": "public, max-age=600" } });
  });
  expect(await response.text()).toBe("<h1>42");
  expect(response.headers.get("cache-control")).toBe("private, max-age=600");
  expect(response.headers.get("vary")).toBe("Cookie");
});

test("a scope that has ended stores no cookies of exchanges that its handler's code begins later", async () => {
  const outer = beginScope();
  const inner = runInside(outer, () => beginScope());
  issueFrom(inner, ["a=1"]);
  expect(wasIssuedInside(outer, "a=1")).toBe(true);
  endScope(outer);
  issueFrom(inner, ["a=2"]);
  expect(outer.inner).toBeNull();
});

describe("session cookies that were not issued inside the request", () => {
  test("the session cookie of a concurrent request is removed from the response", async () => {
    const { handle } = site();
    const issued = gate();
    let line = "";
    const [victim, other] = await Promise.all([
      handle(request(), async () => {
        await issued.passed;
        return new Response("victim", { headers: { "set-cookie": line } });
      }),
      handle(request(), async (session) => {
        await session.create({ userId: "attacker" });
        return new Response("attacker");
      }).then((answer) => {
        line = setCookies(answer)[0] ?? "";
        issued.open();
        return answer;
      }),
    ]);
    expect(setCookies(other)).toHaveLength(1);
    expect(setCookies(victim)).toEqual([]);
  });

  test("the session cookie of an earlier request is removed from the response", async () => {
    const made = site();
    const earlier = await made.handle(request(), async (session) => {
      await session.create({});
      return new Response();
    });
    const line = setCookies(earlier)[0] ?? "";
    const response = await made.handle(request(), () => new Response("", { headers: { "set-cookie": line } }));
    expect(setCookies(response)).toEqual([]);
  });

  test("the session cookie of an inner request is removed from the response if the line was modified", async () => {
    const made = site();
    const response = await made.handle(request(), async () => {
      const answer = await made.handle(request(), async (session) => {
        await session.create({});
        return new Response();
      });
      const line = `${setCookies(answer)[0]}; Domain=app.example`;
      return new Response("", { headers: { "set-cookie": line } });
    });
    expect(setCookies(response)).toEqual([]);
  });
});

describe("concurrent handlers of one Request", () => {
  test("concurrent handlers share one session and read it only once", async () => {
    const { handle, jar, calls } = await signedIn();
    const loading = jar.request();
    const load = (): Promise<Response> =>
      handle(loading, async (session) => new Response((await session.get())?.data.userId));
    const answers = await Promise.all([load(), load(), load()]);
    expect(await Promise.all(answers.map((answer) => answer.text()))).toEqual(["42", "42", "42"]);
    expect(calls).toEqual(["read"]);
    for (const answer of answers) expect(answer.headers.get("vary")).toBe("Cookie");
  });

  test("each response after a login by one handler gets the cookie of the login", async () => {
    const { handle, store } = site();
    const loading = request();
    const created = gate();
    const [first, second] = await Promise.all([
      handle(loading, async (session) => {
        await session.create({ userId: "42" });
        created.open();
        return new Response();
      }),
      handle(loading, async () => {
        await created.passed;
        return new Response();
      }),
    ]);
    expect(setCookies(first)).toHaveLength(1);
    expect(setCookies(second)).toEqual(setCookies(first));
    expect(await store.get(tokenOf(setCookies(first)[0]))).not.toBeNull();
  });

  test("a session stays if the handler that created it throws and another one returns a response", async () => {
    const { handle, store } = site();
    const loading = request();
    const created = gate();
    const failing = handle(loading, async (session) => {
      await session.create({ userId: "42" });
      created.open();
      throw new Error("handler");
    });
    const answered = handle(loading, async () => {
      await created.passed;
      await failing.catch(() => {});
      return new Response();
    });
    await expect(failing).rejects.toThrow("handler");
    expect(await store.get(tokenOf(setCookies(await answered)[0]))).not.toBeNull();
  });

  test("a session is ended if all handlers throw", async () => {
    const { handle, backend } = site();
    const loading = request();
    const created = gate();
    const both = await Promise.allSettled([
      handle(loading, async (session) => {
        await session.create({});
        created.open();
        throw new Error("one");
      }),
      handle(loading, async () => {
        await created.passed;
        throw new Error("two");
      }),
    ]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a handler can use the session after a concurrent handler returned without using it", async () => {
    const { handle, jar } = await signedIn();
    const loading = jar.request();
    const answered = gate();
    const [, second] = await Promise.all([
      handle(loading, async () => new Response("fast")).finally(answered.open),
      handle(loading, async (session) => {
        await answered.passed;
        return new Response((await session.get())?.data.userId);
      }),
    ]);
    expect(await second.text()).toBe("42");
    expect(second.headers.get("cache-control")).toBe("private");
  });

  test("a handler can use the session after an inner handler returned without using it", async () => {
    const { handle, jar } = await signedIn();
    const asked = jar.request();
    const response = await handle(asked, async (session) => {
      await handle(asked, () => new Response("inner"));
      return new Response((await session.get())?.data.userId);
    });
    expect(await response.text()).toBe("42");
  });

  const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });

  test("a 503 response has the cookie of the latest rotation if another response has an earlier cookie", async () => {
    const { handle, jar, store } = await signedIn();
    const loading = jar.request();
    const rotated = gate();
    const [, second] = await Promise.all([
      handle(loading, async (session) => {
        await session.rotate();
        return new Response();
      }).finally(rotated.open),
      handle(loading, async (session) => {
        await rotated.passed;
        await session.rotate();
        throw failure;
      }),
    ]);
    expect(second.status).toBe(503);
    expect(await store.get(tokenOf(setCookies(second)[0]))).not.toBeNull();
  });

  test("a 503 response has the cookie of a rotation by an inner handler whose response was not used", async () => {
    const { handle, jar, store } = await signedIn();
    const asked = jar.request();
    const response = await handle(asked, async () => {
      await handle(asked, async (inner) => {
        await inner.rotate();
        return new Response("inner");
      });
      throw failure;
    });
    expect(response.status).toBe(503);
    expect(await store.get(tokenOf(setCookies(response)[0]))).not.toBeNull();
  });

  test("a session that an inner handler created is ended if the outer handler throws", async () => {
    const { handle, backend } = site();
    const asked = request();
    const handled = handle(asked, async () => {
      await handle(asked, async (inner) => {
        await inner.create({});
        return new Response("inner");
      });
      throw new Error("outer");
    });
    await expect(handled).rejects.toThrow("outer");
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a session is ended if its handler throws, even if an earlier response has another session's cookie", async () => {
    const { handle, backend } = site();
    const loading = request();
    const created = gate();
    const [, second] = await Promise.allSettled([
      handle(loading, async (session) => {
        await session.create({});
        return new Response();
      }).finally(created.open),
      handle(loading, async (session) => {
        await created.passed;
        await session.create({});
        throw new Error("handler");
      }),
    ]);
    expect(second.status).toBe("rejected");
    expect(await keysOf(backend)).toEqual([]);
  });

  test("a handler's failed call does not fail a concurrent handler", async () => {
    let isBroken = false;
    const backend = intercept(memoryBackend(), (method) =>
      isBroken && method === "increment" ? Promise.reject(failure) : undefined,
    );
    const { handle, jar } = await signedIn({}, { backend });
    const loading = jar.request();
    isBroken = true;
    const [first, second] = await Promise.all([
      handle(loading, (session) => {
        session.increment("pageViews");
        return new Response();
      }),
      handle(loading, async (session) => new Response((await session.get())?.data.userId)),
    ]);
    expect([first.status, second.status]).toEqual([503, 200]);
  });

  test("a handler may upgrade the connection while another response has the cookie of a login", async () => {
    const { handle } = site();
    const loading = request();
    const created = gate();
    const upgraded = gate();
    const [answer, upgrade] = await Promise.all([
      handle(loading, async (session) => {
        await session.create({});
        created.open();
        await upgraded.passed;
        return new Response();
      }),
      handle(loading, async () => {
        await created.passed;
        return undefined;
      }).finally(upgraded.open),
    ]);
    expect(setCookies(answer)).toHaveLength(1);
    expect(upgrade).toBeUndefined();
  });

  test("a session created by an inner handler is visible to the outer one, and one cookie is sent", async () => {
    const { handle, store } = site();
    const asked = request();
    const response = await handle(asked, async (outer) => {
      const answer = await handle(asked, async (inner) => {
        await inner.create({ userId: "42" });
        return new Response("inner");
      });
      expect((await outer.get())?.data.userId).toBe("42");
      return answer;
    });
    expect(setCookies(response)).toHaveLength(1);
    expect(await store.get(tokenOf(setCookies(response)[0]))).not.toBeNull();
  });

  test("handlers of two middlewares with the same cookie are rejected with an error that names the cookie", async () => {
    const { handle, store, jar } = await signedIn();
    const other = sessionMiddleware(store);
    const asked = jar.request();
    const message =
      "Cannot handle a request in two session middlewares at the same time as both use the cookie __Host-Http-sid: use one middleware, or give each its own cookie name";
    await handle(asked, async () => {
      await expect(other(asked, () => new Response())).rejects.toThrow(new TypeError(message));
      return new Response();
    });
    expect((await other(asked, () => new Response("later"))).status).toBe(200);
  });

  test("handlers of two middlewares with different cookies have a session each", async () => {
    const { handle, store } = site();
    const admin = sessionMiddleware(store, { cookie: { name: "__Host-admin" } });
    const asked = request();
    const response = await handle(asked, async (session) => {
      await session.create({ userId: "1" });
      return await admin(asked, async (other) => {
        await other.create({ userId: "2" });
        return new Response();
      });
    });
    const jars = [cookieJar(), cookieJar("__Host-admin")];
    for (const jar of jars) jar.receive(response);
    const users = await Promise.all(jars.map(async (jar) => (await store.get(tokenOf(jar.cookie)))?.data.userId));
    expect(users).toEqual(["1", "2"]);
  });
});
