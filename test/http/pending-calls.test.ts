import { afterEach, describe, expect, test } from "vitest";
import { memoryBackend, type RequestSession, SessionBackendError } from "../../src/index.ts";
import { type BackendMethod, intercept, keysOf } from "../support/backends.ts";
import { gate, idle, never } from "../support/gate.ts";
import { request, tokenOf } from "../support/http.ts";
import { type Handler, setCookies, signedIn, site } from "../support/sites.ts";
import { unhandledRejections } from "../support/unhandled.ts";
import type { NewVisit, Visit } from "../support/visits.ts";

const failure = new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });

/** A site whose backend holds up one method, and then lets it pass or fail. */
async function holding(method: BackendMethod) {
  const held = gate();
  let isHolding = false;
  const backend = intercept(memoryBackend(), (called) => (isHolding && called === method ? held.passed : undefined));
  const made = await signedIn({}, { backend });
  isHolding = true;
  return { ...made, held };
}

const unhandled = unhandledRejections();
afterEach(async () => {
  await idle();
  expect(unhandled.splice(0)).toEqual([]);
});

describe("calls without await", () => {
  test.each<[string, BackendMethod, Handler]>([
    ["create", "insert", (session) => void session.create({ userId: "43" })],
    ["rotate", "write", (session) => void session.rotate()],
    ["a create after a read", "read", (session) => void session.get().then(() => session.create({ userId: "43" }))],
    [
      "a create after destroy and a read",
      "insert",
      (session) => {
        (async () => {
          await session.destroy();
          await session.get();
          await session.create({ userId: "43" });
        })();
      },
    ],
    [
      "a create in an async function that nobody awaits",
      "read",
      (session) => {
        (async () => {
          await session.get();
          await session.create({ userId: "43" });
        })();
      },
    ],
  ])("the response has the cookie if the handler does not await %s", async (_, method, handler) => {
    const { visit, jar, store, held, cookie } = await holding(method);
    const answered = visit((session) => void handler(session));
    await idle();
    held.open();
    expect(setCookies(await answered)).toHaveLength(1);
    expect(jar.cookie).not.toBe(cookie);
    expect(await store.get(tokenOf(jar.cookie))).not.toBeNull();
  });

  test("the response clears the cookie if the handler does not await destroy", async () => {
    const { visit, jar, held } = await holding("remove");
    const answered = visit((session) => void session.destroy());
    held.open();
    await answered;
    expect(jar.cookie).toBeNull();
  });

  test.each<[string, BackendMethod, Handler]>([
    ["create", "insert", (session) => void session.create({})],
    ["rotate", "write", (session) => void session.rotate()],
    ["destroy", "remove", (session) => void session.destroy()],
    ["update", "write", (session) => void session.update({ theme: "dark" })],
    ["increment", "increment", (session) => void session.increment("pageViews")],
    ["get", "read", (session) => void session.get()],
    ["a then without a second function", "insert", (session) => void session.create({}).then(() => {})],
    ["finally", "insert", (session) => void session.create({}).finally(() => {})],
  ])("the request fails if the handler does not await %s and the call fails", async (_, method, handler) => {
    const { visit, held, backend } = await holding(method);
    const answered = visit((session) => void handler(session));
    held.fail(failure);
    const response = await answered;
    expect([response.status, setCookies(response)]).toEqual([503, []]);
    expect(await keysOf(backend)).toHaveLength(1);
  });

  test("the request fails if a call without await failed before the handler returned", async () => {
    const { visit } = await signedIn();
    const handled = visit(async (session) => {
      session.update({ theme: "blue" as never });
      await idle();
    });
    await expect(handled).rejects.toThrow("theme");
  });

  test("the middleware throws the TypeError of a call without await", async () => {
    const { visit } = await signedIn();
    const handled = visit((session) => void session.increment("theme" as never));
    await expect(handled).rejects.toThrow(TypeError);
  });
});

test("a request that fails after its handler returned a stream cancels that stream", async () => {
  const { handle, jar, held } = await holding("increment");
  const cancelled = gate();
  const answered = handle(jar.request(), (session) => {
    session.increment("pageViews");
    return new Response(new ReadableStream({ cancel: () => cancelled.open() }));
  });
  held.fail(failure);
  expect((await answered).status).toBe(503);
  await cancelled.passed;
});

describe("failed calls that the program handles", () => {
  test.each<[string, Handler]>([
    ["catch", (session) => void session.create({}).catch(() => {})],
    ["a second function of then", (session) => void session.create({}).then(undefined, () => {})],
    [
      "a catch after then",
      (session) =>
        void session
          .create({})
          .then(() => {})
          .catch(() => {}),
    ],
    [
      "a catch after finally",
      (session) =>
        void session
          .create({})
          .finally(() => {})
          .catch(() => {}),
    ],
    ["Promise.allSettled", (session) => void Promise.allSettled([session.create({})])],
    [
      "try and catch in an async function that nobody awaits",
      (session) => {
        (async () => {
          try {
            await session.create({});
          } catch {}
        })();
      },
    ],
  ])("the request does not fail if the failure is handled by %s", async (_, handler) => {
    const { visit, held } = await holding("insert");
    const answered = visit((session) => void handler(session));
    held.fail(failure);
    expect((await answered).status).toBe(200);
  });

  test("the request does not fail if the failed call is awaited later", async () => {
    const { visit, held } = await holding("insert");
    const response = await visit(async (session) => {
      const creating = session.create({});
      held.fail(failure);
      await idle();
      await creating.catch(() => {});
    });
    expect(response.status).toBe(200);
  });
});

describe("what the response does not wait for", () => {
  /** Answers with a stream to which `then` of a read writes, so that it ends only when the client has read it. */
  const streamed = (session: RequestSession<Visit, NewVisit>, isCaught: boolean): Response => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writing = session.get().then(async (read) => {
      const writer = writable.getWriter();
      await writer.write(new TextEncoder().encode(read?.data.userId));
      await writer.close();
    });
    if (isCaught) writing.catch(() => {});
    return new Response(readable);
  };

  test.each([false, true])(
    "the response does not wait for a program that writes to its stream (caught: %s)",
    async (isCaught) => {
      const { handle, jar } = await signedIn();
      const response = await handle(jar.request(), (session) => streamed(session, isCaught));
      expect(await response.text()).toBe("42");
    },
  );

  test("the response of an inner handler does not wait for the outer handler, which waits for it", async () => {
    const { handle, jar } = await signedIn();
    const asked = jar.request();
    const response = await handle(asked, (outer) =>
      outer.get().then(() => handle(asked, async (inner) => new Response((await inner.get())?.data.userId))),
    );
    expect(await response.text()).toBe("42");
  });

  test("a failing request does not wait for what the program does after a rotation", async () => {
    const { handle, jar, store } = await signedIn();
    const response = await handle(jar.request(), async (session) => {
      await session.rotate();
      session.get().then(() => never());
      throw failure;
    });
    expect(response.status).toBe(503);
    expect(await store.get(tokenOf(setCookies(response)[0]))).not.toBeNull();
  });

  test("the response does not wait for a stream that reads the session again and again", async () => {
    const { handle, jar } = await signedIn();
    let reads = 0;
    let isCancelled = false;
    const response = await handle(jar.request(), async (session) => {
      const body = new ReadableStream({
        start() {
          (async () => {
            while (!isCancelled) {
              await session.peek();
              reads++;
              if (reads % 100 === 0) await idle();
            }
          })();
        },
      });
      return new Response(body, { headers: { "cache-control": "private" } });
    });
    expect(response.status).toBe(200);
    isCancelled = true;
    expect(reads).toBeLessThan(1000);
  });

  test("the response does not wait for a create that begins while its body is read, and the create is rejected", async () => {
    const { handle, backend } = site();
    const response = await handle(request(), (session) => {
      const body = new ReadableStream(
        {
          async pull(controller) {
            const issued = await session.create({}).catch((error: unknown) => error);
            controller.enqueue(new TextEncoder().encode(String(issued)));
            controller.close();
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(body, { headers: { "cache-control": "no-store" } });
    });
    expect(await response.text()).toBe(
      "TypeError: Cannot create or rotate a session after the response headers were sent",
    );
    expect(await keysOf(backend)).toEqual([]);
  });
});

describe("calls that fail after the response", () => {
  test("a backend failure that no code handles is reported as an event and does not end the process", async () => {
    const { handle, jar, held, events } = await holding("write");
    await handle(jar.request(), async (session) => {
      await session.get();
      setTimeout(() => void session.update({ theme: "dark" }));
      return new Response();
    });
    await new Promise((resolve) => setTimeout(resolve));
    held.fail(failure);
    await idle();
    expect(events.map(({ type }) => type)).toContain("unavailable");
  });

  test("a require that finds no session and that no code handles does not end the process", async () => {
    const { handle } = site();
    const missing: Promise<unknown>[] = [];
    const fails = handle(request(), (session) => {
      missing.push(session.require());
      throw new Error("handler");
    });
    await expect(fails).rejects.toThrow("handler");
    await handle(request(), async (session) => {
      await session.get();
      setTimeout(() => missing.push(session.require()));
      return new Response();
    });
    await new Promise((resolve) => setTimeout(resolve));
    await idle();
    expect(missing).toHaveLength(2);
  });

  test("a handler that threw while a create was under way leaves no session and no unhandled rejection", async () => {
    const { handle, held, jar, store, token } = await holding("insert");
    const error = new Error("handler");
    const handled = handle(jar.request(), (session) => {
      session.create({});
      throw error;
    });
    await expect(handled).rejects.toBe(error);
    held.open();
    await idle();
    const left = [];
    for await (const { id } of store.scan()) left.push(id);
    expect(left).toEqual([token.slice(0, 22)]);
    expect(await store.get(token)).not.toBeNull();
  });
});
