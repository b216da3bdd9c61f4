import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import * as oldest from "redis-floor";
import { describe, expect, expectTypeOf, test } from "vitest";
import * as z from "zod";
import * as mini from "zod/mini";
import * as floor from "zod-floor";
import {
  type CreateInput,
  createSessionStore,
  type DataOf,
  type Duration,
  type IndexQuery,
  type IssuedSession,
  isFresh,
  memoryBackend,
  type NewData,
  type NewDataOf,
  type NumberField,
  nistTimeouts,
  type OptionalField,
  type RequestSession,
  type RequestSessionOf,
  type Session,
  type SessionBackend,
  type SessionBackendError,
  type SessionEvent,
  type SessionExchange,
  type SessionId,
  type SessionIndex,
  type SessionIssue,
  type SessionLimit,
  type SessionMiddleware,
  type SessionPage,
  type SessionPatch,
  type SessionStore,
  type SessionToken,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "../../src/index.ts";
import { connectRedis, type RedisBackend, redisBackend } from "../../src/redis/index.ts";

const isoDate = z.codec(z.iso.datetime(), z.date(), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
});
const visit = z.object({
  userId: z.string(),
  role: z.enum(["admin", "user"]).default("user"),
  pageViews: z.int().default(0),
  tries: z.int().prefault(0),
  hits: z.number().optional(),
  flash: z.string().optional(),
  theme: z.string().catch("dark"),
  nickname: z.string().nullable(),
  since: isoDate,
  cart: z.array(z.object({ sku: z.string(), n: z.int() })).default(() => []),
});
type Visit = z.output<typeof visit>;
type NewVisit = NewData<Visit, z.input<typeof visit>>;

const backend = memoryBackend();
const store = createSessionStore({ schema: visit, backend });
const token = "";
const fresh = { userId: "42", theme: "dark", nickname: null, since: new Date() };

/** Whether the tests are compiled with `exactOptionalPropertyTypes`. They are compiled with it and without it. */
type Exact = { a: undefined } extends { a?: string } ? false : true;
type Takes<Given, Wanted> = [Given] extends [Wanted] ? true : false;

describe("createSessionStore", () => {
  test("createSessionStore infers the data and the input of create from the schema", () => {
    expectTypeOf(store).toEqualTypeOf<SessionStore<Visit, NewVisit>>();
    expectTypeOf(createSessionStore({ schema: z.object({ a: z.string() }), backend })).toEqualTypeOf<
      SessionStore<{ a: string }, { a: string }>
    >();
  });

  test("createSessionStore accepts strict, refined and branded schemas, and those of zod/mini or another copy of zod", () => {
    type Plain = SessionStore<{ a: string; b?: number | undefined }, { a: string; b?: number | undefined }>;
    const shape = { a: z.string(), b: z.int().optional() };
    expectTypeOf(createSessionStore({ schema: z.strictObject(shape), backend })).toEqualTypeOf<Plain>();
    expectTypeOf(createSessionStore({ schema: z.object(shape).refine(() => true), backend })).toEqualTypeOf<Plain>();
    expectTypeOf(
      createSessionStore({ schema: z.object(shape).meta({ title: "Visit" }), backend }),
    ).toEqualTypeOf<Plain>();
    const miniShape = { a: mini.string(), b: mini.optional(mini.int()) };
    expectTypeOf(createSessionStore({ schema: mini.object(miniShape), backend })).toEqualTypeOf<Plain>();
    const refined = mini.object(miniShape).check(mini.refine(() => true));
    expectTypeOf(createSessionStore({ schema: refined, backend })).toEqualTypeOf<Plain>();
    const old = floor.object({ a: floor.string(), b: floor.int().optional() });
    expectTypeOf(createSessionStore({ schema: old, backend })).toEqualTypeOf<Plain>();
    const branded = createSessionStore({ schema: z.object({ a: z.string() }).brand<"Visit">(), backend });
    expectTypeOf<Awaited<ReturnType<typeof branded.get>>>().toExtend<Session<{ a: string }> | null>();
  });

  test("createSessionStore rejects all other schemas", () => {
    const object = z.object({ a: z.string() });
    // @ts-expect-error A transformed schema is a pipe.
    createSessionStore({ schema: object.transform((data) => data), backend });
    // @ts-expect-error
    createSessionStore({ schema: object.readonly(), backend });
    // @ts-expect-error
    createSessionStore({ schema: object.optional(), backend });
    // @ts-expect-error
    createSessionStore({ schema: z.union([object, object]), backend });
    // @ts-expect-error
    createSessionStore({ schema: z.record(z.string(), z.string()), backend });
    // @ts-expect-error
    createSessionStore({ schema: mini.readonly(mini.object({})), backend });
    // @ts-expect-error A shape is not a schema.
    createSessionStore({ schema: { a: z.string() }, backend });
    // @ts-expect-error
    createSessionStore({ backend });
    // @ts-expect-error
    createSessionStore({ schema: object });
  });

  test("a migration is typed by the old schema, and what it returns keeps its literals", () => {
    const v1 = z.object({ user: z.string().optional(), cart: z.array(z.string()) });
    const v2 = z.object({ userId: z.string().optional(), cart: z.array(z.string()) });
    const basketOf = (cart: readonly string[]) => cart.map((sku) => ({ sku, unit: "piece" as const }));
    const v3 = z.object({
      userId: z.string().optional(),
      role: z.enum(["guest", "user"]),
      basket: z.array(z.object({ sku: z.string(), unit: z.enum(["piece", "kg"]) })).default(() => []),
      theme: z.discriminatedUnion("is", [z.object({ is: z.literal("dark"), level: z.int() })]).optional(),
      range: z.tuple([z.int(), z.int()]).optional(),
      since: z.codec(z.iso.datetime(), z.date(), {
        decode: (text) => new Date(text),
        encode: (date) => date.toISOString(),
      }),
    });
    const migrated = createSessionStore({
      schema: v3,
      backend,
      version: 3,
      indexes: { user: "userId" },
      migrations: {
        1: {
          from: v1,
          to: ({ user, ...rest }) => {
            expectTypeOf(user).toEqualTypeOf<string | undefined>();
            expectTypeOf(rest).toEqualTypeOf<{ cart: string[] }>();
            return {
              userId: user,
              role: user === undefined ? "guest" : "user",
              basket: rest.cart.map((sku) => ({ sku, unit: "piece" })),
              theme: { is: "dark", level: 3 },
              range: [0, 1],
              since: new Date(),
            };
          },
        },
        2: {
          from: v2,
          to: ({ cart, ...rest }) => ({
            ...rest,
            role: "guest",
            basket: basketOf(cart),
            theme: undefined,
            range: undefined,
            since: new Date(),
          }),
        },
      },
    });
    expectTypeOf<DataOf<typeof migrated>["role"]>().toEqualTypeOf<"guest" | "user">();
    expectTypeOf<Parameters<typeof migrated.list>[0]>().toEqualTypeOf<{ readonly user: string }>();
    createSessionStore({
      schema: z.object({ role: z.enum(["guest", "user"]) }),
      backend,
      version: 2,
      // @ts-expect-error There is no such role.
      migrations: { 1: { from: v1, to: () => ({ role: "admin" }) } },
    });
    createSessionStore({
      schema: v2,
      backend,
      version: 2,
      // @ts-expect-error A migration is synchronous.
      migrations: { 1: { from: v1, to: async ({ cart }) => ({ cart }) } },
    });
    createSessionStore({
      schema: v2,
      backend,
      version: 2,
      // @ts-expect-error The result lacks the cart.
      migrations: { 1: { from: v1, to: ({ user }) => ({ userId: user }) } },
    });
    const mine = mini.object({ cart: mini.array(mini.string()) });
    createSessionStore({ schema: mine, backend, version: 2, migrations: { 1: { from: v1, to: (old) => old } } });
  });

  test("createSessionStore rejects unknown options and options of the wrong type", () => {
    const now = () => 0;
    createSessionStore({ schema: visit, backend, ...nistTimeouts.aal2, touchInterval: 60, plainIds: false, now });
    createSessionStore({ schema: visit, backend, absoluteTimeout: undefined, version: undefined, onEvent: undefined });
    createSessionStore({ schema: visit, backend, version: 2, migrations: undefined });
    createSessionStore({
      schema: visit,
      backend,
      onEvent(event) {
        expectTypeOf(event.at).toEqualTypeOf<Date>();
        if (event.type === "invalid") {
          expectTypeOf(event.issues).toEqualTypeOf<readonly Pick<SessionIssue, "code" | "path">[]>();
        }
        if (event.type === "unavailable") {
          expectTypeOf(event.id).toEqualTypeOf<SessionId | null>();
          expectTypeOf(event.error).toEqualTypeOf<SessionBackendError>();
        }
        // @ts-expect-error Only an invalid record has issues.
        if (event.type === "created") event.issues;
      },
    });
    // @ts-expect-error
    createSessionStore({ schema: visit, backend, idleTimeOut: 60 });
    // @ts-expect-error There is no such unit.
    createSessionStore({ schema: visit, backend, idleTimeout: "30 minutes" });
    // @ts-expect-error Text has a unit.
    createSessionStore({ schema: visit, backend, idleTimeout: "1800" });
    // @ts-expect-error Any text is no duration.
    createSessionStore({ schema: visit, backend, operationTimeout: "2s" as string });
    // @ts-expect-error Only the absolute timeout may be none.
    createSessionStore({ schema: visit, backend, idleTimeout: "none" });
    // @ts-expect-error It is "none".
    createSessionStore({ schema: visit, backend, absoluteTimeout: "never" });
    // @ts-expect-error The former name.
    createSessionStore({ schema: visit, backend, operationTimeoutMs: 2000 });
    // @ts-expect-error
    createSessionStore({ schema: visit, backend, now: new Date() });
    // @ts-expect-error
    createSessionStore({ schema: visit, backend: {} });
  });
});

describe("NewData", () => {
  test("fields that the schema fills in are optional in NewData", () => {
    expectTypeOf<NewVisit>().toEqualTypeOf<{
      userId: string;
      role?: "admin" | "user" | undefined;
      pageViews?: number | undefined;
      tries?: number | undefined;
      hits?: number | undefined;
      flash?: string | undefined;
      theme: string;
      nickname: string | null;
      since: Date;
      cart?: { sku: string; n: number }[] | undefined;
    }>();
  });

  test("NewData has the decoded type of a codec", () => {
    expectTypeOf<NewVisit["since"]>().toEqualTypeOf<Date>();
    const dated = createSessionStore({ schema: z.object({ at: isoDate.default(() => new Date()) }), backend });
    expectTypeOf<NewDataOf<typeof dated>>().toEqualTypeOf<{ at?: Date | undefined }>();
  });

  test("an exactly optional field has the same type in NewData as in zod", () => {
    const exact = createSessionStore({ schema: z.object({ a: z.exactOptional(z.string()) }), backend });
    type NewExact = NewDataOf<typeof exact>;
    expectTypeOf<Takes<{ a: undefined }, NewExact>>().toEqualTypeOf<Exact extends true ? false : true>();
    expectTypeOf<Takes<Record<never, never>, NewExact>>().toEqualTypeOf<true>();
  });

  test("create accepts a function of the replaced session's data", () => {
    const created = store.create(
      (previous) => {
        expectTypeOf(previous).toEqualTypeOf<Readonly<Visit> | null>();
        return { ...fresh, role: "admin", cart: previous?.cart ?? [] };
      },
      { replaces: token, authenticated: true },
    );
    expectTypeOf(created).toEqualTypeOf<Promise<IssuedSession<Visit>>>();
    // @ts-expect-error The function must be synchronous.
    store.create(async () => fresh);
    // @ts-expect-error A required field is missing.
    store.create(() => ({ theme: "dark" }));
    // @ts-expect-error There may be no session that is replaced.
    store.create((previous) => ({ ...fresh, cart: previous.cart }));
    store.create((previous) => {
      // @ts-expect-error The data is read-only.
      if (previous !== null) previous.theme = "dark";
      return fresh;
    });
  });

  test("authenticated is true or a Date, and nothing else", () => {
    store.create(fresh, { authenticated: true });
    store.create(fresh, { authenticated: new Date() });
    store.create(fresh, { authenticated: undefined });
    store.rotate(token, { authenticated: new Date() });
    // @ts-expect-error
    store.create(fresh, { authenticated: false });
    // @ts-expect-error
    store.rotate(token, { authenticated: false });
    // @ts-expect-error A time in seconds.
    store.create(fresh, { authenticated: 1_700_000_000 });
  });

  test("create accepts NewData and nothing else", () => {
    expectTypeOf(store.create).parameter(0).toEqualTypeOf<CreateInput<Visit, NewVisit>>();
    expectTypeOf<CreateInput<Visit, NewVisit>>().toEqualTypeOf<
      NewVisit | ((previous: Readonly<Visit> | null) => NewVisit)
    >();
    expectTypeOf(store.create(fresh)).toEqualTypeOf<Promise<IssuedSession<Visit>>>();
    store.create({ ...fresh, role: "admin", cart: [{ sku: "a", n: 1 }] }, { idleTimeout: 60 });
    store.create({ ...fresh, flash: undefined });
    // @ts-expect-error A required field is missing.
    store.create({ theme: "dark", nickname: null, since: new Date() });
    // @ts-expect-error
    store.create({ ...fresh, userId: 42 });
    // @ts-expect-error
    store.create({ ...fresh, userId: undefined });
    // @ts-expect-error
    store.create({ ...fresh, role: "root" });
    // @ts-expect-error The stored side of the codec.
    store.create({ ...fresh, since: "2026-01-01T00:00:00Z" });
    // @ts-expect-error
    store.create({ ...fresh, more: 1 });
    // @ts-expect-error
    store.create();
    // @ts-expect-error
    store.create(fresh, { grace: 1 });
  });
});

describe("Session", () => {
  test("the methods of a store return Session, IssuedSession or null", () => {
    expectTypeOf(store.get(token)).toEqualTypeOf<Promise<Session<Visit> | null>>();
    expectTypeOf(store.peek(token)).toEqualTypeOf<Promise<Session<Visit> | null>>();
    expectTypeOf(store.update(token, {})).toEqualTypeOf<Promise<Session<Visit> | null>>();
    expectTypeOf(store.setIdleTimeout(token, 60)).toEqualTypeOf<Promise<Session<Visit> | null>>();
    expectTypeOf(store.rotate(token)).toEqualTypeOf<Promise<IssuedSession<Visit> | null>>();
    expectTypeOf(store.destroy(token)).toEqualTypeOf<Promise<boolean>>();
    expectTypeOf(store.scan()).toEqualTypeOf<AsyncIterable<Session<Visit>>>();
    // @ts-expect-error The session may be null.
    store.get(token).then((session) => session.data);
    // @ts-expect-error A token is text.
    store.get(null);
    // @ts-expect-error
    store.get(token, { signals: new AbortController().signal });
    store.get(token, { signal: new AbortController().signal });
    store.get(token, { signal: undefined });
  });

  test("a session is read-only and has no token", () => {
    expectTypeOf<Session<Visit>>().toEqualTypeOf<{
      readonly id: SessionId;
      readonly data: Readonly<Visit>;
      readonly createdAt: Date;
      readonly lastAccessedAt: Date;
      readonly authenticatedAt: Date | null;
      readonly idleTimeout: number;
      readonly expiresAt: Date;
      readonly deadline: Date | null;
    }>();
    const change = (session: Session<Visit>): void => {
      // @ts-expect-error
      session.data.userId = "1";
      // @ts-expect-error
      session.data = { ...session.data };
      // @ts-expect-error
      session.id = "1";
      // @ts-expect-error A session does not contain its token.
      session.token;
    };
    expectTypeOf(change).returns.toBeVoid();
  });

  test("a session is assignable to a session with fewer fields", () => {
    expectTypeOf<Session<Visit>>().toExtend<Session<{ userId: string }>>();
    expectTypeOf<Session<{ userId: string }>>().not.toExtend<Session<Visit>>();
    expectTypeOf<IssuedSession<Visit>>().toExtend<IssuedSession<{ userId: string }>>();
    expectTypeOf<IssuedSession<Visit>>().not.toExtend<Session<Visit>>();
  });

  test("isFresh accepts a session and returns a boolean", () => {
    const ask = (session: Session<Visit>) => isFresh(session, 300);
    expectTypeOf(ask).returns.toBeBoolean();
    // @ts-expect-error
    isFresh(null, 300);
    // @ts-expect-error
    isFresh({} as IssuedSession<Visit>, 300);
    expectTypeOf(nistTimeouts.aal1).toEqualTypeOf<{
      readonly idleTimeout: Duration;
      readonly absoluteTimeout: Duration;
    }>();
    expectTypeOf<keyof typeof nistTimeouts>().toEqualTypeOf<"aal1" | "aal2" | "aal3">();
    // @ts-expect-error
    nistTimeouts.aal2.idleTimeout = 1;
  });
});

describe("tokens and IDs", () => {
  const session = {} as Session<Visit>;
  const issued = {} as IssuedSession<Visit>;

  test("a token and an ID are strings, and a plain string is accepted as either", () => {
    expectTypeOf(issued.token).toEqualTypeOf<SessionToken>();
    expectTypeOf<SessionToken>().toExtend<string>();
    expectTypeOf<SessionId>().toExtend<string>();
    const text: string = issued.token;
    store.get(text);
    store.revoke(text);
    expectTypeOf(store.find(text)).toEqualTypeOf<Promise<Session<Visit> | null>>();
    store.create(fresh, { replaces: text });
    sessionCookie().write(text);
    const byId = new Map<string, Session<Visit>>([[session.id, session]]);
    expectTypeOf(byId.get(session.id)).toEqualTypeOf<Session<Visit> | undefined>();
  });

  test("an ID is rejected where a token is needed", () => {
    // @ts-expect-error
    store.get(session.id);
    // @ts-expect-error
    store.destroy(session.id);
    // @ts-expect-error
    store.rotate(session.id);
    // @ts-expect-error
    store.create(fresh, { replaces: session.id });
    // @ts-expect-error
    sessionCookie().write(session.id);
    // @ts-expect-error The cookie may be missing.
    store.get(sessionCookie().read("sid=x"));
    // @ts-expect-error A session is no token.
    store.get(session);
  });

  test("a token is rejected where an ID is needed", () => {
    // @ts-expect-error
    store.revoke(issued.token);
    // @ts-expect-error
    store.find(issued.token);
    const { token: id } = issued;
    // @ts-expect-error
    store.revokeAll({} as never, { except: { id } });
  });
});

describe("SessionPatch", () => {
  test("a patch may have any of the fields, and no others", () => {
    store.update(token, {});
    store.update(token, { userId: "1", cart: [] });
    store.update(token, (data) => ({ pageViews: data.pageViews + 1 }));
    store.update(token, { nickname: null });
    // @ts-expect-error
    store.update(token, { userID: "1" });
    // @ts-expect-error
    store.update(token, { userId: 1 });
    // @ts-expect-error
    store.update(token, { role: "root" });
    // @ts-expect-error
    store.update(token, { userId: null });
    // @ts-expect-error
    store.update(token, { since: "2026-01-01T00:00:00Z" });
    // @ts-expect-error
    store.update(token, () => ({ userId: 1 }));
    // @ts-expect-error A function must not be async.
    store.update(token, async () => ({ userId: "1" }));
    // @ts-expect-error
    store.update(token, (data) => ({ pageViews: data.views }));
    store.update(token, (data) => {
      // @ts-expect-error The data is read-only.
      data.pageViews++;
      return {};
    });
    // @ts-expect-error
    store.update(token);
  });

  test("a patch may set a field to undefined only if it is optional", () => {
    store.update(token, { flash: undefined, hits: undefined });
    store.update(token, () => ({ flash: undefined }));
    expectTypeOf<Takes<{ flash: undefined }, SessionPatch<Visit>>>().toEqualTypeOf<true>();
    type Refused = Exact extends true ? false : true;
    expectTypeOf<Takes<{ userId: undefined }, SessionPatch<Visit>>>().toEqualTypeOf<Refused>();
    expectTypeOf<Takes<{ role: undefined }, SessionPatch<Visit>>>().toEqualTypeOf<Refused>();
    expectTypeOf<Takes<{ nickname: undefined }, SessionPatch<Visit>>>().toEqualTypeOf<Refused>();
    expectTypeOf<Takes<{ a: undefined }, SessionPatch<{ a?: string }>>>().toEqualTypeOf<true>();
  });

  test("a patch type shows its members", () => {
    expectTypeOf<SessionPatch<{ a: string; b?: number }>>().toEqualTypeOf<{
      readonly a?: string;
      readonly b?: number | undefined;
    }>();
  });

  test("rotate accepts a patch and its other options", () => {
    store.rotate(token, { patch: { userId: "1" }, authenticated: true, idleTimeout: 60 });
    store.rotate(token, { patch: (data) => ({ pageViews: data.pageViews }) });
    store.rotate(token, { grace: 10 });
    store.rotate(token, { patch: undefined, grace: undefined });
    // @ts-expect-error
    store.rotate(token, { patch: { userId: "1" }, grace: 10 });
    // @ts-expect-error
    store.rotate(token, { authenticated: true, grace: 10 });
    // @ts-expect-error
    store.rotate(token, { idleTimeout: 60, grace: 10 });
    // @ts-expect-error
    store.rotate(token, { patch: { userId: 1 } });
    // @ts-expect-error
    store.rotate(token, { userId: "1" });
    store.rotate(token, { grace: "10s" });
    // @ts-expect-error There is no such unit.
    store.rotate(token, { grace: "1min" });
  });
});

describe("increment", () => {
  test("increment accepts the names of plain number fields", () => {
    expectTypeOf<NumberField<Visit>>().toEqualTypeOf<"pageViews" | "tries" | "hits">();
    expectTypeOf(store.increment(token, "pageViews")).toEqualTypeOf<Promise<number | null>>();
    store.increment(token, "hits", -1);
    // @ts-expect-error
    store.increment(token, "userId");
    // @ts-expect-error
    store.increment(token, "since");
    // @ts-expect-error
    store.increment(token, "views");
    // @ts-expect-error
    store.increment(token, "pageViews", "1");
  });

  test("increment rejects fields that are not plain numbers", () => {
    const schema = z.object({
      nullable: z.number().nullable(),
      literal: z.literal(1),
      literals: z.literal([1, 2]),
      codec: z.codec(z.int(), z.date(), { decode: (ms) => new Date(ms), encode: (date) => date.getTime() }),
      bigint: z.codec(z.string(), z.bigint(), { decode: BigInt, encode: String }),
      any: z.any(),
      unknown: z.unknown(),
      enum: z.enum({ one: 1, two: 2 }),
      union: z.union([z.number(), z.string()]),
      list: z.array(z.number()),
      never: z.never().optional(),
      branded: z.int().brand<"Count">(),
      coerced: z.coerce.number(),
      read: z.number().readonly(),
    });
    expectTypeOf<NumberField<z.output<typeof schema>>>().toEqualTypeOf<"coerced" | "read">();
    expectTypeOf<NumberField<{ userId: string }>>().toBeNever();
  });
});

describe("take", () => {
  test("take accepts only the names of optional fields", () => {
    expectTypeOf<OptionalField<Visit>>().toEqualTypeOf<"hits" | "flash">();
    expectTypeOf(store.take(token, "flash")).toEqualTypeOf<Promise<string | null>>();
    expectTypeOf(store.take(token, "hits")).toEqualTypeOf<Promise<number | null>>();
    // @ts-expect-error
    store.take(token, "userId");
    // @ts-expect-error A default brings it back.
    store.take(token, "role");
    // @ts-expect-error
    store.take(token, "nickname");
    // @ts-expect-error
    store.take(token, "more");
  });
});

describe("functions with a store parameter", () => {
  test("a function accepts a store with the same data and no other", () => {
    const count = (of: SessionStore<Visit, NewVisit>) => of.increment(token, "pageViews");
    const read = (of: SessionStore<Visit, never>) => of.get(token);
    expectTypeOf(count(store)).toEqualTypeOf<Promise<number | null>>();
    expectTypeOf(read(store)).toEqualTypeOf<Promise<Session<Visit> | null>>();
    const plain = createSessionStore({ schema: z.object({ a: z.string() }), backend });
    const whole = (of: SessionStore<{ a: string }>) => of.create({ a: "a" });
    whole(plain);
    // @ts-expect-error Other data.
    whole(store);
    // @ts-expect-error
    read(plain);
  });

  test("a function that creates no sessions accepts every store with the fields that it names", () => {
    const userOf = async (of: SessionStore<{ userId: string }, never>) => {
      await of.update(token, { userId: "1" });
      // @ts-expect-error The other required fields of the store are not known here.
      of.create({ userId: "1" });
      return (await of.get(token))?.data.userId;
    };
    expectTypeOf(userOf(store)).toEqualTypeOf<Promise<string | undefined>>();
    userOf(createSessionStore({ schema: z.object({ userId: z.string() }), backend }));
    // @ts-expect-error No such field.
    userOf(createSessionStore({ schema: z.object({ user: z.string() }), backend }));
    // @ts-expect-error Another type.
    userOf(createSessionStore({ schema: z.object({ userId: z.int() }), backend }));
  });

  test("a function that creates sessions rejects a store with further required fields", () => {
    const begin = (of: SessionStore<{ userId: string }>) => of.create({ userId: "1" });
    begin(createSessionStore({ schema: z.object({ userId: z.string() }), backend }));
    begin(createSessionStore({ schema: z.object({ userId: z.string(), more: z.int().default(0) }), backend }));
    // @ts-expect-error The session would lack its required fields.
    begin(store);
  });

  test("a function may be generic in the data", () => {
    const idOf = async <T, New>(of: SessionStore<T, New>) => (await of.get(token))?.id;
    expectTypeOf(idOf(store)).toEqualTypeOf<Promise<SessionId | undefined>>();
    const read = async <T extends { userId: string }>(of: SessionStore<T, never>) => (await of.get(token))?.data;
    expectTypeOf(read(store)).toEqualTypeOf<Promise<Readonly<Visit> | undefined>>();
  });
});

describe("types of a store", () => {
  const indexed = createSessionStore({ schema: visit, backend, indexes: { user: "userId" } });

  test("DataOf, NewDataOf and RequestSessionOf give the types of a store", () => {
    expectTypeOf<DataOf<typeof indexed>>().toEqualTypeOf<Visit>();
    expectTypeOf<NewDataOf<typeof indexed>>().toEqualTypeOf<NewVisit>();
    expectTypeOf<RequestSessionOf<typeof indexed>>().toEqualTypeOf<RequestSession<Visit, NewVisit, "user">>();
    expectTypeOf<DataOf<string>>().toBeNever();
    // @ts-expect-error Required fields are missing.
    const data: DataOf<typeof indexed> = { userId: "42" };
    expectTypeOf(data).toEqualTypeOf<Visit>();
  });

  test("a store of any data and any indexes is accepted as SessionStore<any, any, any>", () => {
    // biome-ignore lint/suspicious/noExplicitAny: an application may write this.
    const sizeOf = async (of: SessionStore<any, any, any>) => {
      let size = 0;
      for await (const _ of of.scan()) size++;
      return size;
    };
    expectTypeOf(sizeOf(store)).toEqualTypeOf<Promise<number>>();
    sizeOf(indexed);
    sizeOf(createSessionStore({ schema: z.object({}), backend }));
    sizeOf(createSessionStore({ schema: z.object({ n: z.int() }), backend, indexes: {} }));
  });

  test("a store is accepted as SessionStore<Visit>, which can create sessions, whatever its indexes", () => {
    const begin = (of: SessionStore<Visit>, visit: Visit) => of.create(visit);
    expectTypeOf(begin(store, {} as Visit)).toEqualTypeOf<Promise<IssuedSession<Visit>>>();
    begin(indexed, {} as Visit);
    const listed = (of: SessionStore<Visit, Visit, "user">) => of.list({ user: "42" });
    expectTypeOf(listed(indexed)).toEqualTypeOf<Promise<SessionPage<Visit>>>();
    // @ts-expect-error The store has no index.
    listed(store);
    // @ts-expect-error Other data.
    begin(createSessionStore({ schema: z.object({ userId: z.string() }), backend }), {} as Visit);
  });

  test("a wrapper of a store keeps its types", () => {
    const timed = <T, New, Index extends string>(inner: SessionStore<T, New, Index>): SessionStore<T, New, Index> => ({
      ...inner,
      get: (token, options) => inner.get(token, options),
    });
    expectTypeOf(timed(indexed)).toEqualTypeOf<typeof indexed>();
    const logged: typeof indexed = { ...indexed, create: (data, options) => indexed.create(data, options) };
    expectTypeOf(logged).toEqualTypeOf<SessionStore<Visit, NewVisit, "user">>();
  });
});

describe("sessionMiddleware", () => {
  const middleware = sessionMiddleware(store);
  const request = new Request("http://localhost/");

  test("the session of a request has the methods of the store without the token", () => {
    expectTypeOf(middleware).toEqualTypeOf<SessionMiddleware<RequestSession<Visit, NewVisit>>>();
    middleware(request, async (session) => {
      expectTypeOf(session).toEqualTypeOf<RequestSession<Visit, NewVisit>>();
      expectTypeOf(session.get()).toEqualTypeOf<Promise<Session<Visit> | null>>();
      expectTypeOf(session.create(fresh)).toEqualTypeOf<Promise<Session<Visit>>>();
      expectTypeOf(session.rotate({ authenticated: true })).toEqualTypeOf<Promise<Session<Visit> | null>>();
      expectTypeOf(session.take("flash")).toEqualTypeOf<Promise<string | null>>();
      expectTypeOf(session.increment("pageViews")).toEqualTypeOf<Promise<number | null>>();
      expectTypeOf(session.destroy()).toEqualTypeOf<Promise<boolean>>();
      await session.update({ flash: undefined });
      // @ts-expect-error
      session.create({ theme: "dark" });
      // @ts-expect-error
      session.update({ userId: 1 });
      // @ts-expect-error
      session.increment("userId");
      // @ts-expect-error
      session.take("userId");
      // @ts-expect-error The token is not available.
      session.token;
      return new Response();
    });
  });

  test("the session of a request can be passed to a function that needs only some fields", () => {
    const userOf = async (session: RequestSession<{ userId: string }, never>) => (await session.get())?.data.userId;
    middleware(request, async (session) => new Response(await userOf(session)));
    const begin = (session: RequestSession<{ userId: string }>) => session.create({ userId: "1" });
    middleware(request, async (session) => {
      // @ts-expect-error The session would lack its required fields.
      begin(session);
      return new Response();
    });
  });

  test("a handler must return a Response, or undefined after an upgrade", () => {
    expectTypeOf(middleware(request, () => new Response())).toEqualTypeOf<Promise<Response>>();
    const upgraded = middleware(request, () => undefined as Response | undefined);
    expectTypeOf(upgraded).toEqualTypeOf<Promise<Response | undefined>>();
    // @ts-expect-error
    middleware(request, () => "text");
  });

  test("sessionMiddleware checks the types of its options", () => {
    sessionMiddleware(store, { persistent: (session) => session.data.role === "user", cookie: { secure: false } });
    sessionMiddleware(store, { onBackendError: (error, { url }) => new Response(error.reason + url, { status: 503 }) });
    // @ts-expect-error
    sessionMiddleware(store, { persistent: (session) => session.data.remember });
    // @ts-expect-error
    sessionMiddleware(store, { cookies: {} });
    // @ts-expect-error
    sessionMiddleware(store, { onBackendError: () => "text" });
  });

  test("sessionExchange returns a session without Request and Response", () => {
    const exchange = sessionExchange(store)({ method: "GET", url: "/", path: "/", header: () => undefined });
    expectTypeOf(exchange).toEqualTypeOf<SessionExchange<RequestSession<Visit, NewVisit>>>();
    expectTypeOf(exchange.abandon(new Error())).toEqualTypeOf<Promise<Response | null>>();
    // @ts-expect-error A web-standard request has no header method.
    sessionExchange(store)(request);
  });
});

describe("a store with indexes", () => {
  const indexed = createSessionStore({
    schema: visit,
    backend,
    indexes: {
      user: { from: "userId", limit: { max: 5, whenFull: "evict-oldest" } },
      product: { from: "cart", values: (cart) => cart.map(({ sku }) => sku) },
      nick: "nickname",
    },
  });
  type Indexed = SessionStore<Visit, NewVisit, "user" | "product" | "nick">;

  test("the type of a store contains the names of its indexes", () => {
    expectTypeOf(indexed).toEqualTypeOf<Indexed>();
    expectTypeOf(indexed.list({ user: "42" })).toEqualTypeOf<Promise<SessionPage<Visit>>>();
    expectTypeOf(indexed.count({ product: "hat" })).toEqualTypeOf<Promise<number>>();
    expectTypeOf(indexed.revokeAll({ nick: "andy" })).toEqualTypeOf<Promise<number>>();
    expectTypeOf(indexed.updateAll({ user: "42" }, { role: "admin" })).toEqualTypeOf<Promise<number>>();
    expectTypeOf(createSessionStore({ schema: visit, backend, indexes: {} })).toEqualTypeOf<
      SessionStore<Visit, NewVisit>
    >();
  });

  test("a query must name one index and one string value", () => {
    expectTypeOf<{ user: string }>().toExtend<IndexQuery<"user" | "product">>();
    expectTypeOf<{ user: string; product: string }>().not.toExtend<IndexQuery<"user" | "product">>();
    expectTypeOf<Record<never, string>>().not.toExtend<IndexQuery<"user" | "product">>();
    expectTypeOf<IndexQuery<never>>().toBeNever();
    // @ts-expect-error
    indexed.list({ userId: "42" });
    // @ts-expect-error
    indexed.count({});
    // @ts-expect-error
    indexed.count();
    // @ts-expect-error
    indexed.revokeAll({ user: "42", product: "hat" });
    // @ts-expect-error
    indexed.list({ user: 42 });
    // @ts-expect-error
    indexed.list({ user: null });
    // @ts-expect-error
    indexed.list({ user: ["42"] });
    // @ts-expect-error
    indexed.list("42");
    // @ts-expect-error
    indexed.updateAll({ users: "42" }, {});
    const name: "user" | "product" = "user" as "user" | "product";
    // @ts-expect-error The type of a computed name is string.
    indexed.list({ [name]: "42" });
  });

  test("each method accepts only its own options", () => {
    const { signal } = new AbortController();
    indexed.list({ user: "42" }, { limit: 10, signal });
    indexed.list({ user: "42" }, { limit: undefined, cursor: undefined, signal: undefined });
    indexed.list({ user: "42" }, { cursor: null });
    indexed.list({ user: "42" }, { cursor: "text" });
    indexed.count({ user: "42" }, { signal });
    indexed.revoke("id", { signal });
    indexed.updateAll({ user: "42" }, (data) => ({ pageViews: data.pageViews + 1 }), { signal });
    const session = {} as Session<Visit>;
    indexed.revokeAll({ user: "42" }, { except: session, signal });
    indexed.revokeAll({ user: "42" }, { except: { id: "id" } });
    indexed.revokeAll({ user: "42" }, { except: null });
    indexed.revokeAll({ user: "42" }, { except: undefined });
    // @ts-expect-error
    indexed.list({ user: "42" }, { limit: "10" });
    // @ts-expect-error
    indexed.list({ user: "42" }, { max: 10 });
    // @ts-expect-error
    indexed.list({ user: "42" }, { cursor: 1 });
    indexed.revoke("id", { of: { user: "42" }, signal });
    // @ts-expect-error
    indexed.revoke("id", { of: { userId: "42" } });
    // @ts-expect-error
    indexed.revoke("id", { of: { user: 42 } });
    // @ts-expect-error
    indexed.revoke("id", { of: "42" });
    indexed.revokeAll({ user: "42" }, { scan: true, except: session, signal });
    // @ts-expect-error
    indexed.revokeAll({ user: "42" }, { scan: "all" });
    // @ts-expect-error An issued session is not a session: its ID would be undefined.
    indexed.revokeAll({ user: "42" }, { except: {} as IssuedSession<Visit> });
    // @ts-expect-error
    indexed.revokeAll({ user: "42" }, { except: "id" });
    // @ts-expect-error
    indexed.revokeAll({ user: "42" }, { limit: 1 });
    // @ts-expect-error
    indexed.revoke({ user: "42" });
  });

  test("updateAll accepts only patches of the data", () => {
    indexed.updateAll({ user: "42" }, { flash: undefined });
    // @ts-expect-error
    indexed.updateAll({ user: "42" }, { role: "root" });
    // @ts-expect-error
    indexed.updateAll({ user: "42" }, { user: "43" });
    // @ts-expect-error
    indexed.updateAll({ user: "42" }, async () => ({}));
    // @ts-expect-error
    indexed.updateAll({ user: "42" });
  });

  test("an index is declared by the name of a string field, or by a function of any field", () => {
    const schema = visit;
    createSessionStore({ schema, backend, indexes: { role: "role", flash: "flash", nick: "nickname" } });
    // @ts-expect-error No such field.
    createSessionStore({ schema, backend, indexes: { user: "user" } });
    // @ts-expect-error Not a string.
    createSessionStore({ schema, backend, indexes: { views: "pageViews" } });
    // @ts-expect-error Not a string.
    createSessionStore({ schema, backend, indexes: { cart: "cart" } });
    // @ts-expect-error
    createSessionStore({ schema, backend, indexes: { cart: { from: "carts", values: () => [] } } });
    // @ts-expect-error
    createSessionStore({ schema, backend, indexes: { cart: { from: "cart" } } });
    // @ts-expect-error
    createSessionStore({ schema, backend, indexes: { cart: { values: () => [] } } });
    // @ts-expect-error Values must be strings.
    createSessionStore({ schema, backend, indexes: { cart: { from: "cart", values: (cart) => cart.length } } });
    // @ts-expect-error Values must not be async.
    createSessionStore({ schema, backend, indexes: { user: { from: "userId", values: async (id) => id } } });
    createSessionStore({
      schema,
      backend,
      indexes: {
        since: {
          from: "since",
          values: (since) => {
            expectTypeOf(since).toEqualTypeOf<Date>();
            return since.toISOString();
          },
        },
        nick: {
          from: "nickname",
          values: (nickname) => {
            expectTypeOf(nickname).toEqualTypeOf<string | null>();
            return nickname;
          },
        },
        skus: {
          from: "cart",
          values: (cart) => {
            expectTypeOf(cart).toEqualTypeOf<Visit["cart"]>();
            return cart.map(({ sku }) => sku);
          },
        },
      },
    });
    // @ts-expect-error
    const ids: SessionIndex<Visit> = { from: "cart", values: (cart) => cart.map(({ id }) => id) };
    expectTypeOf(ids).toExtend<SessionIndex<Visit>>();
  });

  test("an index may have a limit", () => {
    const schema = visit;
    const limit: SessionLimit = { max: 1, whenFull: "reject" };
    createSessionStore({ schema, backend, indexes: { user: { from: "userId", limit } } });
    createSessionStore({ schema, backend, indexes: { user: { from: "userId", limit: undefined } } });
    createSessionStore({ schema, backend, indexes: { nick: { from: "nickname", values: (name) => name, limit } } });
    const values = (cart: Visit["cart"]) => cart.map(({ sku }) => sku);
    createSessionStore({ schema, backend, indexes: { product: { from: "cart", values, limit } } });
    // @ts-expect-error A field that is not a string needs a function.
    createSessionStore({ schema, backend, indexes: { product: { from: "cart", limit } } });
    // @ts-expect-error
    createSessionStore({ schema, backend, indexes: { user: { from: "userId", limit: { max: 1 } } } });
    const evict = { from: "userId", limit: { max: 1, whenFull: "evict" } } as const;
    // @ts-expect-error
    createSessionStore({ schema, backend, indexes: { user: evict } });
    // @ts-expect-error
    createSessionStore({ schema, backend, indexes: { user: { from: "userId", limit: 1 } } });
    // @ts-expect-error A misspelled option.
    createSessionStore({ schema, backend, indexes: { user: { from: "userId", limits: limit } } });
    // @ts-expect-error Each index has its own limit.
    createSessionStore({ schema, backend, indexes: { user: "userId" }, limits: { user: limit } });
  });

  test("a store can be passed to a function that uses some of its indexes or none", () => {
    const logOut = (of: SessionStore<Visit, NewVisit, "user">) => of.revokeAll({ user: "42" });
    const anyOf = (of: SessionStore<{ userId: string }, never, "user">) => of.list({ user: "42" });
    const create = (of: SessionStore<Visit, NewVisit>) => of.create(fresh);
    expectTypeOf(logOut(indexed)).toEqualTypeOf<Promise<number>>();
    expectTypeOf(anyOf(indexed)).toEqualTypeOf<Promise<SessionPage<{ userId: string }>>>();
    create(indexed);
    sessionMiddleware(indexed);
    // @ts-expect-error The store has no index.
    logOut(store);
    const other = createSessionStore({ schema: visit, backend, indexes: { tenant: "userId" } });
    // @ts-expect-error The store has another index.
    logOut(other);
    // @ts-expect-error
    logOut(createSessionStore({ schema: z.object({ userId: z.string() }), backend, indexes: { user: "userId" } }));
    const generic = <Name extends string>(of: SessionStore<Visit, never, Name>, by: IndexQuery<Name>) => of.list(by);
    expectTypeOf(generic(indexed, { product: "hat" })).toEqualTypeOf<Promise<SessionPage<Visit>>>();
  });

  test("a store without indexes rejects queries", () => {
    expectTypeOf(store).not.toExtend<Indexed>();
    // @ts-expect-error
    store.list({ user: "42" });
    // @ts-expect-error
    store.list({});
    // @ts-expect-error
    store.count({ userId: "42" });
    // @ts-expect-error
    store.revokeAll({ user: "42" });
    // @ts-expect-error
    store.updateAll({ user: "42" }, {});
    // @ts-expect-error
    store.revoke("id", { of: { user: "42" } });
    expectTypeOf(store.revoke("id")).toEqualTypeOf<Promise<boolean>>();
  });

  test("a revoked event has a reason and no event has a token", () => {
    const listen = (event: SessionEvent): void => {
      if (event.type === "revoked") expectTypeOf(event.reason).toEqualTypeOf<"id" | "index" | "everybody" | "limit">();
      if (event.type === "unavailable") expectTypeOf(event.id).toEqualTypeOf<SessionId | null>();
      else if (event.type === "two-cookies" || event.type === "indexes-evictable")
        expectTypeOf(event.id).toEqualTypeOf<null>();
      else expectTypeOf(event.id).toEqualTypeOf<SessionId>();
      expectTypeOf(event.at).toEqualTypeOf<Date>();
      // @ts-expect-error
      event.token;
    };
    createSessionStore({ schema: visit, backend, indexes: { user: "userId" }, onEvent: listen });
  });
});

describe("backends", () => {
  test("memoryBackend accepts a capacity", () => {
    expectTypeOf(memoryBackend).returns.toEqualTypeOf<SessionBackend>();
    memoryBackend({ capacity: 10 });
    memoryBackend({ capacity: undefined });
    // @ts-expect-error
    memoryBackend({ capacity: "10" });
    // @ts-expect-error
    memoryBackend({ size: 10 });
  });

  test("redisBackend accepts every kind of node-redis client", () => {
    const rootNodes = [{ url: "redis://localhost" }];
    const sentinel = { name: "main", sentinelRootNodes: [{ host: "localhost", port: 26_379 }] };
    const backends = [
      redisBackend(createClient()),
      redisBackend(createClient({ RESP: 2 })),
      redisBackend(createClient({ RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" } })),
      redisBackend(createCluster({ rootNodes })),
      redisBackend(createCluster({ rootNodes, RESP: 2 })),
      redisBackend(createCluster({ rootNodes, RESP: 3 })),
      redisBackend(createSentinel(sentinel)),
      redisBackend(createSentinel({ ...sentinel, RESP: 3 })),
      redisBackend(createClientPool()),
      redisBackend(createClientPool({ RESP: 2 })),
      redisBackend(createClientPool({ RESP: 3 })),
      redisBackend(oldest.createClient()),
      redisBackend(oldest.createClient({ RESP: 3 })),
      redisBackend(oldest.createCluster({ rootNodes })),
      redisBackend(oldest.createSentinel(sentinel)),
      redisBackend(oldest.createClientPool()),
    ];
    expectTypeOf(backends).toEqualTypeOf<RedisBackend[]>();
    redisBackend(createClient(), { prefix: "app:" });
    // @ts-expect-error
    redisBackend(createClient(), { prefixes: "app:" });
    // @ts-expect-error
    redisBackend(createClient(), { prefix: 1 });
    // @ts-expect-error
    redisBackend({});
    // @ts-expect-error
    redisBackend();
    // @ts-expect-error The promise has to be awaited.
    expect(() => redisBackend(connectRedis("redis://localhost"))).toThrow("await");
  });

  test("redisBackend accepts an address, also one that may be undefined", () => {
    const url: string | undefined = "redis://localhost" as string | undefined;
    const backend = redisBackend(url, { prefix: "app:", password: async () => "secret", family: 0 });
    expectTypeOf(backend).toExtend<SessionBackend>();
    expectTypeOf(backend.close).returns.toEqualTypeOf<Promise<void>>();
    expectTypeOf(backend[Symbol.asyncDispose]).returns.toEqualTypeOf<Promise<void>>();
    redisBackend({ cluster: ["redis://a", "redis://b"] }, { tls: { rejectUnauthorized: false } });
    redisBackend({ sentinel: { name: "main", nodes: ["redis://a"] } }, { waitForReplicas: { count: 1, timeout: 1 } });
    // @ts-expect-error
    redisBackend(url, { password: 1 });
    // @ts-expect-error
    redisBackend(url, { family: 5 });
    // @ts-expect-error
    redisBackend(url, { tls: { rejectunauthorized: false } });
  });

  test("createSessionStore accepts a custom backend with the right types", () => {
    const own: SessionBackend = { ...backend, read: async () => null };
    createSessionStore({ schema: visit, backend: own });
    // @ts-expect-error
    const wrong: SessionBackend = { ...backend, read: async () => "gone" };
    expectTypeOf(wrong).toEqualTypeOf<SessionBackend>();
  });
});
