import { describe, expect, test } from "vitest";
import { setCookies, signedIn } from "../support/sites.ts";

const polls = ({ path }: { readonly path: string }) => path === "/poll";

/** A site whose requests to /poll are passive, 50 of 60 s after the last access of its session. */
async function idle(passive: (request: { readonly path: string }) => boolean = polls) {
  const made = await signedIn({ passive }, { idleTimeout: 60 });
  made.advance(50);
  const poll = () => new Request("https://app.example/poll?a=1", { headers: { cookie: made.cookie ?? "" } });
  return { ...made, poll };
}

describe("passive requests", () => {
  test.each(["get", "require"] as const)("%s does not extend the session of a passive request", async (method) => {
    const { handle, poll, advance, store, token } = await idle();
    const response = await handle(poll(), async (session) => Response.json((await session[method]())?.data.userId));
    expect(await response.json()).toBe("42");
    advance(11);
    expect(await store.peek(token)).toBeNull();
  });

  test("get extends the session of any other request", async () => {
    const { visit, advance, store, token } = await idle();
    await visit((session) => session.get());
    advance(11);
    expect(await store.peek(token)).not.toBeNull();
  });

  test("update and increment extend the session of a passive request", async () => {
    for (const method of ["update", "increment"] as const) {
      const { handle, poll, advance, store, token } = await idle();
      await handle(poll(), async (session) => {
        await (method === "update" ? session.update({ theme: "dark" }) : session.increment("pageViews"));
        return new Response();
      });
      advance(11);
      expect(await store.peek(token)).not.toBeNull();
    }
  });

  test("get and peek of a passive request share one read", async () => {
    const { handle, poll, calls } = await idle();
    await handle(poll(), async (session) => {
      expect(await session.get()).toBe(await session.peek());
      expect(await session.require()).toBe(await session.get());
      return new Response();
    });
    expect(calls).toEqual(["read"]);
  });

  test("the response of a passive request is kept out of shared caches and sets no cookie", async () => {
    const { handle, poll } = await idle();
    const response = await handle(poll(), async (session) => Response.json(await session.get()));
    expect([response.headers.get("cache-control"), response.headers.get("vary")]).toEqual(["private", "Cookie"]);
    expect(setCookies(response)).toEqual([]);
  });

  test("passive is called once for a request that reads its session, and not for others", async () => {
    let times = 0;
    const { handle, poll } = await idle(() => ++times > 0);
    await handle(poll(), async (session) => {
      await session.update({ theme: "dark" });
      return new Response();
    });
    expect(times).toBe(0);
    await handle(poll(), async (session) => {
      await session.get();
      await session.get();
      return new Response();
    });
    expect(times).toBe(1);
  });
});

describe("a function passive that cannot be used", () => {
  test("a read rejects with a TypeError if passive throws, and the error is its cause", async () => {
    const cause = new Error("bug");
    const { handle, poll } = await idle(() => {
      throw cause;
    });
    const handled = handle(poll(), async (session) => Response.json(await session.get()));
    await expect(handled).rejects.toThrow(
      new TypeError("Cannot read the session as the option passive threw an error", { cause }),
    );
  });

  test.each<[string, () => unknown, string]>([
    ["a promise", async () => true, "a promise"],
    ["a promise that rejects", () => Promise.reject(new Error("bug")), "a promise"],
    ["undefined", () => undefined, "undefined"],
    ["a string", () => "yes", "string"],
  ])("a read rejects with a TypeError if passive returns %s, and nothing is read", async (_, passive, kind) => {
    const { handle, poll, calls } = await idle(passive as () => boolean);
    for (const method of ["get", "require"] as const) {
      const handled = handle(poll(), async (session) => Response.json(await session[method]()));
      await expect(handled).rejects.toThrow(
        new TypeError(`Cannot read the session as passive must return true or false: received ${kind}`),
      );
    }
    expect(calls).toEqual([]);
  });
});
