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

describe("a cookie that was issued inside a request passes the middleware around it", () => {
  test("for the first login of a visitor", async () => {
    const made = site();
    const response = await made.handle(
      request(),
      forwarding(made, null, (session) => session.create({ userId: "42" })),
    );
    expect(await response.text()).toBe("outer");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect((await made.store.get(tokenOf(setCookies(response)[0])))?.data.userId).toBe("42");
  });

  test("for a rotation", async () => {
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

  test("for a logout", async () => {
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

  test("unless the request around it issues a cookie of its own, which then is the only one", async () => {
    const made = site();
    const login = forwarding(made, null, (session) => session.create({ userId: "inner" }));
    const response = await made.handle(request(), async (session) => {
      await session.create({ userId: "outer" });
      return await login();
    });
    expect(setCookies(response)).toHaveLength(1);
    expect((await made.store.get(tokenOf(setCookies(response)[0])))?.data.userId).toBe("outer");
  });

  test("through two of them", async () => {
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

test("an answer that may be made of a session that was read inside it is kept out of shared caches", async () => {
  const { handle, jar } = await signedIn();
  const response = await handle(jar.request(), async () => {
    const inner = await handle(jar.request(), async (session) => new Response((await session.get())?.data.userId));
    return new Response(`<h1>${await inner.text()}`, { headers: { "cache-control": "public, max-age=600" } });
  });
  expect(await response.text()).toBe("<h1>42");
  expect(response.headers.get("cache-control")).toBe("private, max-age=600");
  expect(response.headers.get("vary")).toBe("Cookie");
});

test("a scope that has ended keeps no cookies of exchanges that code of its handler begins later", async () => {
  const outer = beginScope();
  const inner = runInside(outer, () => beginScope());
  issueFrom(inner, ["a=1"]);
  expect(wasIssuedInside(outer, "a=1")).toBe(true);
  endScope(outer);
  issueFrom(inner, ["a=2"]);
  expect(outer.inner).toBeNull();
});

describe("a cookie of the session's name that was not issued inside the request is removed", () => {
  test("if it is the line of a request that runs beside this one", async () => {
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

  test("if it is the line of an earlier request", async () => {
    const made = site();
    const earlier = await made.handle(request(), async (session) => {
      await session.create({});
      return new Response();
    });
    const line = setCookies(earlier)[0] ?? "";
    const response = await made.handle(request(), () => new Response("", { headers: { "set-cookie": line } }));
    expect(setCookies(response)).toEqual([]);
  });

  test("if one character of it was changed", async () => {
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

describe("several handlers of one Request at the same time", () => {
  test("share one session, and one read", async () => {
    const { handle, jar, calls } = await signedIn();
    const loading = jar.request();
    const load = (): Promise<Response> =>
      handle(loading, async (session) => new Response((await session.get())?.data.userId));
    const answers = await Promise.all([load(), load(), load()]);
    expect(await Promise.all(answers.map((answer) => answer.text()))).toEqual(["42", "42", "42"]);
    expect(calls).toEqual(["read"]);
    for (const answer of answers) expect(answer.headers.get("vary")).toBe("Cookie");
  });

  test("get the cookie of a login into each answer that comes after it", async () => {
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

  test("keep the session if one of them throws and another one answers", async () => {
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

  test("leave no session if all of them throw", async () => {
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

  test("may use the session after another one answered without using it", async () => {
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

  test("may use the session after one inside them answered without using it", async () => {
    const { handle, jar } = await signedIn();
    const asked = jar.request();
    const response = await handle(asked, async (session) => {
      await handle(asked, () => new Response("inner"));
      return new Response((await session.get())?.data.userId);
    });
    expect(await response.text()).toBe("42");
  });

  const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });

  test("get the cookie of the latest rotation into a 503, though another one carries an earlier cookie", async () => {
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

  test("get the cookie of a rotation into a 503, though it was made by one inside whose answer was dropped", async () => {
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

  test("leave no session that one inside created if the one around it throws", async () => {
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

  test("leave no session that was created after another one handed out a cookie, if its handler throws", async () => {
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

  test("fail only for failures of their own calls", async () => {
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

  test("may upgrade while another one carries the cookie of a login", async () => {
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

  test("may run inside each other: one cookie goes out", async () => {
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

  test("of two middlewares with the same cookie are refused with a message that names the cookie", async () => {
    const { handle, store, jar } = await signedIn();
    const other = sessionMiddleware(store);
    const asked = jar.request();
    const message =
      "Cannot handle a request in two session middlewares at the same time as both use the cookie __Host-sid: use one middleware, or give each its own cookie name";
    await handle(asked, async () => {
      await expect(other(asked, () => new Response())).rejects.toThrow(new TypeError(message));
      return new Response();
    });
    expect((await other(asked, () => new Response("later"))).status).toBe(200);
  });

  test("of two middlewares with different cookies have a session each", async () => {
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
