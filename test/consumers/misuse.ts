/** Wrong uses. Each is an error of the compiler, in every configuration. */
import {
  createSessionStore,
  type DataOf,
  type Duration,
  isFresh,
  memoryBackend,
  type RequestSession,
  type RequestSessionOf,
  type SessionBackend,
  SessionBackendError,
  SessionConflictError,
  SessionDataError,
  type SessionEvent,
  type SessionExchange,
  type SessionStore,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "zession";
import { type RedisClient, redisBackend } from "zession/redis";
import { manualClock, testSession } from "zession/testing";
import { z } from "zod";
import { type NewVisit, store, type Visit } from "./visits.ts";

const backend = memoryBackend();
const schema = z.object({ userId: z.string(), n: z.int().default(0), note: z.string().optional() });
const plain = createSessionStore({ schema, backend });
declare const text: string;
declare const s: RequestSessionOf<typeof store>;
const { token, session } = await store.create({});

// Options of a store
// @ts-expect-error A duration has a unit that exists.
createSessionStore({ schema, backend, idleTimeout: "30 minutes" });
// @ts-expect-error Text without a unit is not a duration.
createSessionStore({ schema, backend, idleTimeout: "1800" });
// @ts-expect-error Any text is not a duration.
createSessionStore({ schema, backend, operationTimeout: text });
// @ts-expect-error Every session has an idle timeout.
createSessionStore({ schema, backend, idleTimeout: "none" });
// @ts-expect-error The word is "none".
createSessionStore({ schema, backend, absoluteTimeout: "never" });
// @ts-expect-error The former name.
createSessionStore({ schema, backend, operationTimeoutMs: 2000 });
// @ts-expect-error A misspelled option.
createSessionStore({ schema, backend, idleTimout: 60 });
// @ts-expect-error A union is not an object schema.
createSessionStore({ schema: z.union([schema, schema]), backend });
// @ts-expect-error A transformed schema is a pipe.
createSessionStore({ schema: schema.transform((data) => data), backend });
// @ts-expect-error A readonly schema is not an object schema.
createSessionStore({ schema: schema.readonly(), backend });
// @ts-expect-error The backend is missing.
createSessionStore({ schema });
// @ts-expect-error An index needs a string field.
createSessionStore({ schema, backend, indexes: { count: "n" } });
// @ts-expect-error There is no such field.
createSessionStore({ schema, backend, indexes: { user: "user" } });
// @ts-expect-error Index values are text.
createSessionStore({ schema, backend, indexes: { count: { from: "n", values: (n) => n } } });
// @ts-expect-error Each index has its own limit.
createSessionStore({ schema, backend, limits: { user: { max: 1, whenFull: "reject" } } });
// @ts-expect-error `whenFull` is missing.
createSessionStore({ schema, backend, indexes: { user: { from: "userId", limit: { max: 1 } } } });
// @ts-expect-error The clock is a function.
createSessionStore({ schema, backend, now: Date.now() });

// Migrations
const old = z.object({ user: z.string() });
const next = { schema, backend, version: 2 };
const mapped = (userId: string) => ({ userId, n: 0, note: undefined });
// @ts-expect-error The present data needs a `userId`.
createSessionStore({ ...next, migrations: { 1: { from: old, to: ({ user }) => ({ user }) } } });
// @ts-expect-error The old data has no `userId`.
createSessionStore({ ...next, migrations: { 1: { from: old, to: ({ userId }) => ({ userId }) } } });
// @ts-expect-error A migration is synchronous.
createSessionStore({ ...next, migrations: { 1: { from: old, to: async ({ user }) => mapped(user) } } });
// @ts-expect-error The field is a number.
createSessionStore({ ...next, migrations: { 1: { from: old, to: ({ user }) => ({ ...mapped(user), n: user }) } } });
const note = undefined;
// @ts-expect-error The new field that has a default is forgotten.
createSessionStore({ ...next, migrations: { 1: { from: old, to: ({ user }) => ({ userId: user, note }) } } });
// @ts-expect-error The new field that is optional is forgotten.
createSessionStore({ ...next, migrations: { 1: { from: old, to: ({ user }) => ({ userId: user, n: 0 }) } } });
// @ts-expect-error The old schema is missing.
createSessionStore({ ...next, migrations: { 1: (was: { user: string }) => mapped(was.user) } });
// @ts-expect-error A version is a number.
createSessionStore({ schema, backend, version: "2" });
createSessionStore({
  schema,
  backend,
  version: 3,
  migrations: {
    1: { from: old, to: ({ user }) => mapped(user) },
    // @ts-expect-error Each function gets the data of its own schema.
    2: { from: z.object({ id: z.string() }), to: ({ user }) => mapped(user) },
  },
});
// @ts-expect-error The former option.
createSessionStore({ schema, backend, migrate: (stored: object) => stored });

// Tokens and IDs
// @ts-expect-error An ID does not authenticate.
await store.get(session.id);
// @ts-expect-error An ID does not authenticate.
await store.destroy(session.id);
// @ts-expect-error A token is not an ID.
await store.revoke(token);
// @ts-expect-error A token is not an ID.
await store.find(token);
// @ts-expect-error The token may be missing.
await store.get(sessionCookie().read("sid=x"));
// @ts-expect-error A session is not a token.
await store.get(session);
// @ts-expect-error A session does not contain its token.
session.token;
// @ts-expect-error An ID does not belong into the cookie.
sessionCookie().write(session.id);

// Data
// @ts-expect-error A required field is missing.
await plain.create({});
// @ts-expect-error An unknown field.
await plain.create({ userId: "42", rolle: "admin" });
// @ts-expect-error There is no such role.
await store.update(token, { role: "boss" });
// @ts-expect-error An unknown field.
await store.update(token, { vews: 1 });
// @ts-expect-error The function must be synchronous.
await store.update(token, async ({ views }) => ({ views: views + 1 }));
// @ts-expect-error Data is read-only.
session.data.views = 3;
// @ts-expect-error So is its inside, where the schema says so.
session.data.basket.push({ sku: "a", n: 1 });
// @ts-expect-error Only numbers can be incremented.
await store.increment(token, "userId");
// @ts-expect-error Only optional fields can be taken.
await store.take(token, "views");
// @ts-expect-error The session may not exist.
(await store.get(token)).data;
// @ts-expect-error The user may not have authenticated.
session.authenticatedAt.getTime();

// `create` and `rotate`
// @ts-expect-error There is no such role.
await s.create(() => ({ role: "boss" }));
// @ts-expect-error There is no such role.
await s.create({ role: "boss" });
// @ts-expect-error An option among the data.
await s.create({ userId: "42", idleTimeout: "1h" });
// @ts-expect-error The session of a request knows which session it replaces.
await s.create({ userId: "42" }, { replaces: token });
// @ts-expect-error The function must be synchronous.
await s.create(async (previous) => ({ userId: previous?.userId }));
// @ts-expect-error The request may have no session.
await s.create((previous) => ({ userId: "42", basket: previous.basket }));
// @ts-expect-error Leave it out for a user who is not authenticated.
await s.create({ userId: "42" }, { authenticated: false });
// @ts-expect-error A Date: new Date(auth_time * 1000).
await s.create({ userId: "42" }, { authenticated: 1_700_000_000 });
// @ts-expect-error The handler does not get the token.
(await s.create({ userId: "42" })).token;
// @ts-expect-error A login ends the old token at once.
await s.rotate({ grace: "30s", authenticated: true });
// @ts-expect-error The old token gets no new rights.
await s.rotate({ grace: "30s", patch: { role: "admin" } });
// @ts-expect-error There is no such unit.
await s.rotate({ grace: "1min" });
// @ts-expect-error An unknown field.
await s.rotate({ patch: { rolle: "admin" } });

// Indexes
// @ts-expect-error There is no such index.
await store.revokeAll({ tenant: "a" });
// @ts-expect-error An index value is text.
await store.revokeAll({ user: 42 });
// @ts-expect-error One index at a time.
await store.list({ user: "42", product: "a" });
// @ts-expect-error No index at all.
await store.revokeAll({});
// @ts-expect-error The value may be missing.
await store.revokeAll({ user: session.data.userId });
// @ts-expect-error The store has no indexes.
await plain.list({ user: "42" });
// @ts-expect-error There is no such index.
await store.revoke(session.id, { of: { tenant: "a" } });
// @ts-expect-error One index value.
await store.revoke(session.id, { of: { user: "42", product: "a" } });
// @ts-expect-error The store has no indexes.
await plain.revoke(session.id, { of: { user: "42" } });
// @ts-expect-error There is no such index.
await s.destroyAll({ tenant: "a" });
// @ts-expect-error A page is not a list.
(await store.list({ user: "42" })).map(({ id }) => id);
// @ts-expect-error A session, not its token.
await store.revokeAll({ user: "42" }, { except: token });

// One store for another
declare function takesTenant(store: SessionStore<Visit, NewVisit, "tenant">): void;
declare function takesVisit(store: SessionStore<Visit>): void;
declare function createsEmpty(store: SessionStore<{ userId: string }, Record<never, never>>): void;
// @ts-expect-error The store has no such index.
takesTenant(store);
// @ts-expect-error The store has other data.
takesVisit(plain);
// @ts-expect-error The store needs more to create a session.
createsEmpty(plain);
// @ts-expect-error The data of a store is not `any`.
export const data: DataOf<typeof store> = { userId: "42" };

// HTTP
// @ts-expect-error The cookie is always HttpOnly.
sessionMiddleware(store, { cookie: { httpOnly: false } });
// @ts-expect-error In lower case.
sessionMiddleware(store, { cookie: { sameSite: "Lax" } });
// @ts-expect-error There is no such field.
sessionMiddleware(store, { persistent: ({ data }) => data.remember });
// @ts-expect-error A handler returns a Response.
sessionMiddleware(store)(new Request("https://app.example"), async () => "hello");
// @ts-expect-error A bearer token has no cookie.
sessionMiddleware(store, { transport: "bearer", cookie: { path: "/api" } });
// @ts-expect-error Nor does the browser keep it.
sessionMiddleware(store, { transport: "bearer", persistent: true });
// @ts-expect-error No other origin can send it.
sessionMiddleware(store, { transport: "bearer", crossOriginProtection: false });
// @ts-expect-error There is no such transport.
sessionMiddleware(store, { transport: "header" });
// @ts-expect-error A header is read by the method `header`.
sessionMiddleware(store, { passive: (request) => request.headers.has("x-poll") });
declare const bearer: RequestSessionOf<typeof store, "bearer">;
declare function onCookie(session: RequestSession<Visit, NewVisit>): void;
// @ts-expect-error Its create returns the token.
onCookie(bearer);
// @ts-expect-error The header is text.
sessionExchange(store)(1);
// @ts-expect-error A Request has no method `header`.
sessionExchange(store)(new Request("https://app.example"));
declare const exchange: SessionExchange<RequestSessionOf<typeof store>>;
// @ts-expect-error The handler may have to answer.
(await exchange.response).status;
// @ts-expect-error The former scopes are a list.
sessionCookie({ previous: { name: "sid" } });

// Redis
declare const client: RedisClient;
// @ts-expect-error A promise of a client is not a client: await it.
redisBackend(Promise.resolve(client));
// @ts-expect-error The former name.
redisBackend(client, { waitForReplicas: { count: 1, timeoutMs: 100 } });

// The rest
// @ts-expect-error There is no such unit.
isFresh(session, "5min");
// @ts-expect-error The session may not exist.
isFresh(await store.get(token), "5m");
// @ts-expect-error Any text is not a duration.
manualClock().advance("soon");
// @ts-expect-error The data of a test is checked as well.
await testSession(store, { userId: 42 });
// @ts-expect-error Not every event has a reason.
export const reasonOf = (event: SessionEvent) => event.reason;
// @ts-expect-error There is no such reason.
new SessionConflictError("x", { reason: "full" });
// @ts-expect-error The outcome is missing.
new SessionBackendError("x", { reason: "timeout" });
export const kindOf = (error: unknown) => {
  // @ts-expect-error An unknown error has no issues.
  if (!(error instanceof SessionDataError)) return error.issues;
  return error.code satisfies "ERR_SESSION_DATA";
};
// @ts-expect-error Methods are missing.
export const half: SessionBackend = { read: async () => null };
// @ts-expect-error A sign is not a number.
export const negative: Duration = "-";
