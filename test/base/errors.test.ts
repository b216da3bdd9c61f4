import { describe, expect, test, vi } from "vitest";
import * as z from "zod";
import * as here from "../../src/index.ts";

// A second copy of the package, as two versions of it in one node_modules would be.
vi.resetModules();
const there = await import("../../src/index.ts");

const schema = z.object({ userId: z.string() });
const issues = [{ code: "custom", path: ["userId"], message: "wrong" }];
const cause = new Error("below");
type Package = Pick<
  typeof here,
  "SessionBackendError" | "SessionConflictError" | "SessionDataError" | "SessionRequiredError"
>;
const errors = ({ SessionBackendError, SessionConflictError, SessionDataError, SessionRequiredError }: Package) => ({
  ERR_SESSION_DATA: new SessionDataError("x", { issues, origin: "given", cause }),
  ERR_SESSION_CONFLICT: new SessionConflictError("x", { reason: "limit", cause }),
  ERR_SESSION_BACKEND: new SessionBackendError("x", { reason: "timeout", outcome: "unknown", cause }),
  ERR_SESSION_REQUIRED: new SessionRequiredError("x", { cause }),
});
const classes = {
  ERR_SESSION_DATA: here.SessionDataError,
  ERR_SESSION_CONFLICT: here.SessionConflictError,
  ERR_SESSION_BACKEND: here.SessionBackendError,
  ERR_SESSION_REQUIRED: here.SessionRequiredError,
};

describe("two copies of the package in one process", () => {
  test("the two copies have classes of their own", () => {
    expect(there.SessionDataError).not.toBe(here.SessionDataError);
  });

  test("instanceof and the code tell the kind of an error of another copy", () => {
    for (const copy of [here, there]) {
      for (const [code, error] of Object.entries(errors(copy))) {
        expect(error).toBeInstanceOf(Error);
        expect(error).toMatchObject({ code, cause, message: "x" });
        for (const [kind, errorClass] of Object.entries(classes))
          expect(error instanceof errorClass).toBe(kind === code);
      }
    }
  });

  test("instanceof is false for what is no error of this package", () => {
    const others = [
      new Error("x"),
      { code: "ERR_SESSION_DATA" },
      Object.create(null),
      "ERR_SESSION_DATA",
      null,
      undefined,
    ];
    for (const other of others) {
      for (const errorClass of Object.values(classes)) expect((other as unknown) instanceof errorClass).toBe(false);
    }
  });

  test("an instance of a subclass is one of its own class and of the base class, and not of a sibling", () => {
    class Full extends here.SessionBackendError {}
    class Late extends here.SessionBackendError {}
    class LateThere extends there.SessionBackendError {}
    const options = { reason: "timeout", outcome: "unknown" } as const;
    expect(new Late("x", options) instanceof Late).toBe(true);
    expect(new Late("x", options) instanceof Full).toBe(false);
    expect(new here.SessionBackendError("x", options) instanceof Late).toBe(false);
    for (const error of [new Late("x", options), new LateThere("x", options)]) {
      expect(error instanceof here.SessionBackendError).toBe(true);
      expect(error instanceof here.SessionConflictError).toBe(false);
    }
  });

  test("the middleware of one copy answers 503 if the backend of a store of another copy fails", async () => {
    const backend = here.memoryBackend();
    const read = () =>
      Promise.reject(new here.SessionBackendError("down", { reason: "unavailable", outcome: "not-applied" }));
    const store = here.createSessionStore({ schema, backend: { ...backend, read } });
    const { token } = await store.create({ userId: "42" });
    const headers = { cookie: `${here.sessionCookie().name}=${token}` };
    for (const { sessionMiddleware } of [here, there]) {
      const withSession = sessionMiddleware(store);
      const response = await withSession(new Request("https://app.example/", { headers }), async (session) =>
        Response.json(await session.get()),
      );
      expect(response.status).toBe(503);
    }
  });

  test("a session that does not fit the schema is none for the middleware of another copy", async () => {
    const backend = here.memoryBackend();
    const { token } = await here.createSessionStore({ schema, backend }).create({ userId: "42" });
    const store = here.createSessionStore({ schema: z.object({ userId: z.uuid() }), backend });
    const headers = { cookie: `${here.sessionCookie().name}=${token}` };
    const withSession = there.sessionMiddleware(store);
    const response = await withSession(new Request("https://app.example/", { headers }), async (session) =>
      Response.json(await session.get()),
    );
    expect(await response.json()).toBeNull();
  });

  test("the session of a request is read again after a store of another copy has ended sessions", async () => {
    const store = here.createSessionStore({ schema, backend: here.memoryBackend(), indexes: { user: "userId" } });
    const { token } = await store.create({ userId: "42" });
    const headers = { cookie: `${here.sessionCookie().name}=${token}` };
    const withSession = there.sessionMiddleware(store);
    await withSession(new Request("https://app.example/", { headers }), async (session) => {
      expect(await session.get()).not.toBeNull();
      await store.revokeAll({ user: "42" });
      expect(await session.get()).toBeNull();
      return new Response();
    });
  });

  test("the cookie of a request inside another one is kept, if the middlewares are of two copies", async () => {
    const store = here.createSessionStore({ schema, backend: here.memoryBackend() });
    const [outer, inner] = [here.sessionMiddleware(store), there.sessionMiddleware(store)];
    const answer = await outer(new Request("https://app.example/"), () =>
      inner(new Request("https://app.example/login"), async (session) => {
        await session.create({ userId: "42" });
        return new Response();
      }),
    );
    expect(answer.headers.getSetCookie()).toEqual([expect.stringContaining("__Host-Http-sid=")]);
  });

  test("middlewares of two copies with one cookie name cannot handle one request", async () => {
    const store = here.createSessionStore({ schema, backend: here.memoryBackend() });
    const request = new Request("https://app.example/");
    const both = here.sessionMiddleware(store)(request, () =>
      there.sessionMiddleware(store)(request, async () => new Response()),
    );
    await expect(both).rejects.toThrow("two session middlewares at the same time");
  });

  test("a failing backend of another copy is reported as unavailable, and its error keeps its reason", async () => {
    const events: here.SessionEvent[] = [];
    const failing = there.memoryBackend({ capacity: 1 });
    const onEvent = (event: here.SessionEvent) => events.push(event);
    const store = here.createSessionStore({ schema, backend: failing, onEvent });
    await store.create({ userId: "42" });
    await expect(store.create({ userId: "43" })).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    expect(events.at(-1)).toMatchObject({ type: "unavailable", error: { reason: "rejected" } });
  });
});
