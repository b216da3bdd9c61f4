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
import { request, requestParts, tokenOf } from "./http.ts";

type Inspect = (value: unknown, options: object) => string;
const runtimes = globalThis as { Bun?: { inspect: Inspect }; Deno?: { inspect: Inspect } };

/** Everything that a log, a debugger or a caller could show of a value, as one string. */
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
        // Some properties throw, such as `arguments` of a function.
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
      // Some formatters throw for some values.
    }
  }
  return texts.join("\n");
}

/** The part of a token that must stay secret: of `<id>.<secret>` the secret, of a plain ID all of it. */
function secretOf(token: string): string {
  return token.includes(".") ? token.slice(23) : token;
}

function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("base64url");
}

/** Fails if the value shows one of the secrets. */
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

/** @param plainIds If true, the token is the key, and sessions show only its hash. */
function world({ backend, clock }: Ground, plainIds: boolean) {
  const events: SessionEvent[] = [];
  let fail: (() => unknown) | null = null;
  const store = createSessionStore({
    schema,
    backend: intercept(backend, () => fail?.()),
    ...(plainIds ? { plainIds } : { indexes: { user: "userId" as const } }),
    absoluteTimeout: 3600,
    operationTimeout: "200ms",
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

/** Stores data that does not fit the schema in the session of this token. */
async function spoil(backend: SessionBackend, token: string, now: number): Promise<void> {
  const key = token.includes(".") ? token.slice(0, 22) : token;
  const access = { verifier: null, previous: false, now };
  await backend.write(key, access, { set: { profile: `{"email":"${DATA}","age":"${DATA}"}` }, remove: [], fields: [] });
}

/** Tests that tokens and data are never exposed. They run on every backend. */
export function secrecy(open: () => Ground | Promise<Ground>): void {
  test.each([
    ["default tokens", false],
    ["plain IDs", true],
  ])("no object that the library returns shows a token, for a store with %s", async (_, plainIds) => {
    const ground = await open();
    const { store, events } = world(ground, plainIds);
    const first = await store.create({ userId: DATA, code: "1" });
    const rotated = plainIds ? null : await store.rotate(first.token, { grace: 60 });
    const token = rotated?.token ?? first.token;
    const opening = [first.token, token].map(secretOf);
    // The stored token hash is secret as well, except with plain IDs, where it is the public ID.
    const secrets = [...opening, ...(plainIds ? [] : opening.map(digestOf))];
    const things: Record<string, unknown> = {
      store,
      backend: ground.backend,
      "a session that was created": first.session,
      "a session that was rotated": rotated?.session,
      "a session that was read": await store.get(token),
      "a session that was peeked at": await store.peek(token),
      "a session that was updated": await store.update(token, { theme: "dark" }),
      "the result of an increment": await store.increment(token, "views"),
      "the result of take": await store.take(token, "code"),
      "a session with another timeout": await store.setIdleTimeout(token, 60),
      events,
    };
    const all = [];
    for await (const session of store.scan()) all.push(session);
    expect(all).toHaveLength(1);
    things["all sessions"] = all;
    things["the scan iterator"] = store.scan();
    if (!plainIds)
      things["a list"] = await (store as unknown as { list(by: object): Promise<unknown> }).list({ user: DATA });
    const cookie = sessionCookie();
    cookie.read(`__Host-Http-sid=${token}`);
    cookie.write(token);
    things["a cookie"] = cookie;
    const middleware = sessionMiddleware(store);
    things["a middleware"] = middleware;
    const exchangeOf = sessionExchange(store);
    things["the function that starts exchanges"] = exchangeOf;
    const exchange = exchangeOf(requestParts(`__Host-Http-sid=${token}`));
    await exchange.session.get();
    things["an exchange"] = exchange;
    things["the session of a request"] = exchange.session;
    await middleware(request(`__Host-Http-sid=${token}`), async (session: RequestSession<Data, never>) => {
      things["the result of get in a request"] = await session.get();
      things["the session of a middleware"] = session;
      return new Response();
    });
    for (const [what, thing] of Object.entries(things)) expectHidden(what, thing, secrets);
    expect(await store.destroy(token)).toBe(true);
    expectHidden("the events", events, secrets);
    expectHidden("the events", events, [DATA]);
  });

  test.each([
    ["default tokens", false],
    ["plain IDs", true],
  ])("a response contains a token only in Set-Cookie, for a store with %s", async (_, plainIds) => {
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
    ["default tokens", false],
    ["plain IDs", true],
  ])("no error and no event shows a token or data, for a store with %s", async (_, plainIds) => {
    const ground = await open();
    const { store, events, failing } = world(ground, plainIds);
    const { token } = await store.create({ userId: DATA, code: DATA });
    const bad = { profile: { email: DATA, age: DATA as never } };
    const errors: Record<string, unknown> = {
      "invalid data for create": await errorOf(store.create({ userId: DATA, theme: DATA as never, ...bad })),
      "an unknown key": await errorOf(store.create({ userId: DATA, more: DATA } as never)),
      "invalid data for update": await errorOf(store.update(token, bad)),
      "invalid data from an update function": await errorOf(store.update(token, () => bad)),
      "undefined for a required field": await errorOf(store.update(token, { userId: undefined as never })),
      "an async update function": await errorOf(store.update(token, (async () => ({})) as never)),
      "an increment beyond the maximum": await errorOf(store.increment(token, "views", 6)),
      "an increment of a string field": await errorOf(store.increment(token, "userId" as never)),
      "a take of a required field": await errorOf(store.take(token, "userId" as never)),
      "an idle timeout of 0": await errorOf(store.setIdleTimeout(token, 0)),
      "a grace that is too long": await errorOf(store.rotate(token, { grace: 1e6 })),
      "a login with a grace": await errorOf(store.rotate(token, { grace: 1, authenticated: true } as never)),
      "an aborted signal": await errorOf(store.get(token, { signal: AbortSignal.abort() })),
      "a malformed token for a cookie": await errorOf((async () => sessionCookie().write(`${token};`))()),
      "a negative Max-Age": await errorOf((async () => sessionCookie().write(token, -1))()),
    };
    const late = sessionExchange(store)(requestParts(`__Host-Http-sid=${token}`));
    late.finish(new Headers());
    errors["a create after the response"] = await errorOf(late.session.create({ userId: DATA }));
    const failures: Record<string, () => unknown> = {
      "a backend that hangs": () => new Promise(() => {}),
      "a backend that fails": () =>
        Promise.reject(new SessionBackendError("down", { reason: "unavailable", outcome: "unknown" })),
      "a backend that reports a conflict": () =>
        Promise.reject(new SessionConflictError("others", { reason: "contended" })),
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

  test("the library writes nothing to the console", async () => {
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
      const response = await sessionMiddleware(store)(request(`__Host-Http-sid=${token}`), async (session) => {
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
