import { createHash } from "node:crypto";
import process from "node:process";
import { inspect } from "node:util";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import {
  createSessionStore,
  type RequestSession,
  type SessionBackend,
  SessionBackendError,
  SessionConflictError,
  SessionDataError,
  type SessionEvent,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import type { Ground } from "./advisories.ts";
import { intercept } from "./backends.ts";
import { request, tokenOf } from "./http.ts";

type Inspect = (value: unknown, options: object) => string;
const runtimes = globalThis as { Bun?: { inspect: Inspect }; Deno?: { inspect: Inspect } };

/** All that a log, a debugger or a curious caller can make of a value. */
export function shown(value: unknown): string {
  const texts: string[] = [];
  const seen = new Set<unknown>();
  const walk = (one: unknown): void => {
    const isThing = (typeof one === "object" && one !== null) || typeof one === "function";
    if (!isThing) {
      texts.push(String(one));
      return;
    }
    if (seen.has(one) || one === Object.prototype || one === Function.prototype) return;
    seen.add(one);
    for (const key of Reflect.ownKeys(one)) {
      texts.push(String(key));
      try {
        walk(Reflect.get(one, key));
      } catch {
        // As `arguments` of a function.
      }
    }
    if (one instanceof Map || one instanceof Set || one instanceof Headers) for (const item of one) walk(item);
    walk(Object.getPrototypeOf(one));
  };
  walk(value);
  const views: (() => string)[] = [
    () => String(value),
    () => JSON.stringify(value),
    () => JSON.stringify(value, Object.getOwnPropertyNames(value)),
    () =>
      inspect(value, { depth: Infinity, showHidden: true, maxStringLength: null, maxArrayLength: null, getters: true }),
    () => runtimes.Bun?.inspect(value, { depth: 100 }) ?? "",
    () =>
      runtimes.Deno?.inspect(value, { depth: 100, showHidden: true, strAbbreviateSize: 1e6, iterableLimit: 1e6 }) ?? "",
  ];
  for (const view of views) {
    try {
      texts.push(view());
    } catch {
      // There is no such view of it.
    }
  }
  return texts.join("\n");
}

/** Has the value a part of a token in it? The id of `<id>.<secret>` is public, a bare one is not. */
function secretOf(token: string): string {
  return token.includes(".") ? token.slice(23) : token;
}

function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}

/** What must not be there, in any of the spellings in which it could be. */
export function expectHidden(what: string, value: unknown, secrets: readonly string[]): void {
  const text = shown(value);
  for (const secret of secrets) {
    const at = text.indexOf(secret);
    if (at !== -1) expect.fail(`${what} shows ${text.slice(Math.max(0, at - 60), at)}<here>`);
  }
}

const DATA = "MARKER-of-the-data";

const schema = z.object({
  userId: z.string(),
  theme: z.enum(["light", "dark"]).default("light"),
  views: z.int().max(5).default(0),
  code: z.string().optional(),
  profile: z.object({ email: z.string(), age: z.int().optional() }).optional(),
});

type Data = z.output<typeof schema>;

/** @param plainIds With them the token is the key, and only its digest is shown. */
function world({ backend, clock }: Ground, plainIds: boolean) {
  const events: SessionEvent[] = [];
  let fail: (() => unknown) | null = null;
  const store = createSessionStore({
    schema,
    backend: intercept(backend, () => fail?.()),
    ...(plainIds ? { plainIds } : { indexes: { user: "userId" as const } }),
    absoluteTimeout: 3600,
    operationTimeoutMs: 200,
    now: clock.now,
    onEvent: (event) => events.push(event),
  });
  return {
    store,
    events,
    failing: (with_: (() => unknown) | null) => {
      fail = with_;
    },
  };
}

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => expect.fail(`Nothing failed: ${inspect(value)}`),
    (error: unknown) => error,
  );
}

/** Makes stored data of a token's session unfit. */
async function spoil(backend: SessionBackend, token: string, now: number): Promise<void> {
  const key = token.includes(".") ? token.slice(0, 22) : token;
  const access = { verifier: null, previous: false, now };
  await backend.write(key, access, { set: { profile: `{"email":"${DATA}","age":"${DATA}"}` }, remove: [], fields: [] });
}

/** Where tokens and data never appear, on every backend. */
export function secrecy(open: () => Ground | Promise<Ground>): void {
  test.each([
    ["tokens with a secret", false],
    ["bare ids", true],
  ])("nothing that the library hands out shows a token: %s", async (_, plainIds) => {
    const ground = await open();
    const { store, events } = world(ground, plainIds);
    const first = await store.create({ userId: DATA, code: "1" });
    const rotated = plainIds ? null : await store.rotate(first.token, { grace: 60 });
    const token = rotated?.token ?? first.token;
    const opening = [first.token, token].map(secretOf);
    // Nor what is kept to check it by, but for bare ids, whose public id that is.
    const secrets = [...opening, ...(plainIds ? [] : opening.map(digestOf))];
    const things: Record<string, unknown> = {
      store,
      backend: ground.backend,
      "a session that was created": first.session,
      "a session that was rotated": rotated?.session,
      "a session that was read": await store.get(token),
      "a session that was looked at": await store.peek(token),
      "a session that was updated": await store.update(token, { theme: "dark" }),
      "the result of an increment": await store.increment(token, "views"),
      "what was taken": await store.take(token, "code"),
      "a session with another timeout": await store.setIdleTimeout(token, 60),
      events,
    };
    const all = [];
    for await (const session of store.scan()) all.push(session);
    expect(all).toHaveLength(1);
    things["all sessions"] = all;
    things["what goes through them"] = store.scan();
    if (!plainIds)
      things["a list"] = await (store as unknown as { list(by: object): Promise<unknown> }).list({ user: DATA });
    const cookie = sessionCookie();
    cookie.read(`__Host-sid=${token}`);
    cookie.write(token);
    things["a cookie"] = cookie;
    const middleware = sessionMiddleware(store);
    things["a middleware"] = middleware;
    const exchangeOf = sessionExchange(store);
    things["what makes exchanges"] = exchangeOf;
    const exchange = exchangeOf(`__Host-sid=${token}`);
    await exchange.session.get();
    things["an exchange"] = exchange;
    things["the session of a request"] = exchange.session;
    await middleware(request(`__Host-sid=${token}`), async (session: RequestSession<Data, never>) => {
      things["what get answers in a request"] = await session.get();
      things["the session of a middleware"] = session;
      return new Response();
    });
    for (const [what, thing] of Object.entries(things)) expectHidden(what, thing, secrets);
    expect(await store.destroy(token)).toBe(true);
    expectHidden("the events", events, secrets);
    expectHidden("the events", events, [DATA]);
  });

  test.each([
    ["tokens with a secret", false],
    ["bare ids", true],
  ])("no answer but for Set-Cookie has a token in it: %s", async (_, plainIds) => {
    const { store } = world(await open(), plainIds);
    const handle = sessionMiddleware(store);
    let cookie: string | null = null;
    const secrets: string[] = [];
    const acts: ((session: RequestSession<Data, z.input<typeof schema>>) => Promise<unknown>)[] = [
      (session) => session.create({ userId: "42" }),
      (session) => session.get(),
      (session) => session.update({ theme: "dark" }),
      (session) => session.create({ userId: "43" }),
      (session) => (plainIds ? session.get() : session.rotate()),
      (session) => session.destroy(),
    ];
    for (const act of acts) {
      const response: Response = await handle(request(cookie), async (session) =>
        Response.json({ answer: await act(session) }),
      );
      const [line] = response.headers.getSetCookie();
      if (line !== undefined && !line.includes("Max-Age=0")) {
        cookie = line.split(";")[0] ?? null;
        secrets.push(secretOf(tokenOf(cookie)));
      }
      const headers = [...response.headers].filter(([name]) => name !== "set-cookie");
      const text = JSON.stringify([headers, response.status, response.statusText, await response.text()]);
      for (const secret of secrets) expect(text).not.toContain(secret);
    }
    expect(secrets).toHaveLength(plainIds ? 2 : 3);
  });

  test.each([
    ["tokens with a secret", false],
    ["bare ids", true],
  ])("no error and no event shows a token or data: %s", async (_, plainIds) => {
    const ground = await open();
    const { store, events, failing } = world(ground, plainIds);
    const { token } = await store.create({ userId: DATA, code: DATA });
    const bad = { profile: { email: DATA, age: DATA as never } };
    const errors: Record<string, unknown> = {
      "data that is given to create": await errorOf(store.create({ userId: DATA, theme: DATA as never, ...bad })),
      "a key that is unknown": await errorOf(store.create({ userId: DATA, more: DATA } as never)),
      "data that is given to update": await errorOf(store.update(token, bad)),
      "data that a function gives": await errorOf(store.update(token, () => bad)),
      "undefined for what is required": await errorOf(store.update(token, { userId: undefined as never })),
      "a function that is async": await errorOf(store.update(token, (async () => ({})) as never)),
      "a sum beyond its bound": await errorOf(store.increment(token, "views", 6)),
      "an increment of text": await errorOf(store.increment(token, "userId" as never)),
      "a take of what is required": await errorOf(store.take(token, "userId" as never)),
      "an idle timeout of 0": await errorOf(store.setIdleTimeout(token, 0)),
      "a grace that is too long": await errorOf(store.rotate(token, { grace: 1e6 })),
      "a login with a grace": await errorOf(store.rotate(token, { grace: 1, authenticated: true })),
      "a signal": await errorOf(store.get(token, { signal: AbortSignal.abort() })),
      "a token that is no cookie": await errorOf((async () => sessionCookie().write(`${token};`))()),
      "an age that is none": await errorOf((async () => sessionCookie().write(token, -1))()),
    };
    const late = sessionExchange(store)(`__Host-sid=${token}`);
    late.finish(new Headers());
    errors["a session that is issued late"] = await errorOf(late.session.create({ userId: DATA }));
    const failures: Record<string, () => unknown> = {
      "a backend that hangs": () => new Promise(() => {}),
      "a backend that fails": () =>
        Promise.reject(new SessionBackendError("down", { reason: "unavailable", outcome: "unknown" })),
      "a backend that refuses": () => Promise.reject(new SessionConflictError("others", "contended")),
    };
    for (const [what, failure] of Object.entries(failures)) {
      failing(failure);
      errors[`${what}: create`] = await errorOf(store.create({ userId: DATA }));
      errors[`${what}: get`] = await errorOf(store.get(token));
      errors[`${what}: update`] = await errorOf(store.update(token, { code: DATA }));
      failing(null);
    }
    await spoil(ground.backend, token, ground.clock.now());
    for (const method of ["get", "peek"] as const) {
      errors[`stored data: ${method}`] = await errorOf(store[method](token));
    }
    errors["stored data: update"] = await errorOf(store.update(token, () => ({})));
    for (const [what, error] of Object.entries(errors)) {
      expect(error, what).toBeInstanceOf(Error);
      expectHidden(what, error, [secretOf(token), DATA]);
    }
    const kinds = new Set(Object.values(errors).map((error) => (error as Error).constructor));
    expect(kinds).toEqual(
      new Set([SessionDataError, SessionBackendError, SessionConflictError, TypeError, RangeError]),
    );
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set(["created", "unavailable", "conflict", "invalid"]));
    expectHidden("the events", events, [secretOf(token), DATA]);
  });

  test("nothing is written to the console", async () => {
    const written: unknown[] = [];
    const note = (...args: unknown[]): true => {
      written.push(args);
      return true;
    };
    const spies = [
      ...(["log", "info", "warn", "error", "debug", "trace"] as const).map((name) =>
        vi.spyOn(console, name).mockImplementation(note),
      ),
      vi.spyOn(process.stdout, "write").mockImplementation(note as never),
      vi.spyOn(process.stderr, "write").mockImplementation(note as never),
      vi.spyOn(process, "emitWarning").mockImplementation(note as never),
    ];
    try {
      const ground = await open();
      const { store, failing } = world(ground, false);
      const { token } = await store.create({ userId: DATA });
      await store.get(token);
      await errorOf(store.update(token, { theme: DATA as never }));
      await spoil(ground.backend, token, ground.clock.now());
      await errorOf(store.get(token));
      failing(() => Promise.reject(new Error(DATA)));
      await errorOf(store.get(token));
      failing(null);
      const response = await sessionMiddleware(store)(request(`__Host-sid=${token}`), async (session) => {
        await session.get();
        await session.create({ userId: DATA });
        return new Response();
      });
      expect(response.status).toBe(200);
      expect(written).toEqual([]);
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  });
}
