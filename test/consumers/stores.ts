/** Functions of a library over any store, wrappers of a store, maintenance. */
import {
  type CallOptions,
  type DataOf,
  type IndexQuery,
  type IssuedSession,
  type NewDataOf,
  type PatchInput,
  type RequestSession,
  type Session,
  type SessionStore,
  type SessionToken,
  type StoreCreateOptions,
  sessionCookie,
  sessionExchange,
  sessionMiddleware,
} from "zession";
import { manualClock, testSession } from "zession/testing";
import { store, type Visit } from "./visits.ts";

export async function mustGet<T>(sessions: SessionStore<T, never>, token: SessionToken): Promise<Session<T>> {
  const session = await sessions.get(token);
  if (session === null) throw new Error("No session");
  return session;
}

export async function replace<T, New>(
  sessions: SessionStore<T, New>,
  old: SessionToken,
  data: New,
): Promise<SessionToken> {
  return (await sessions.create(data, { replaces: old })).token;
}

export async function change<T>(
  sessions: SessionStore<T, never>,
  token: SessionToken,
  patch: PatchInput<T>,
): Promise<boolean> {
  return (await sessions.update(token, patch)) !== null;
}

export async function countView(sessions: SessionStore<{ views: number }, never>, token: SessionToken) {
  return await sessions.increment(token, "views");
}

export async function endAll(sessions: SessionStore<unknown, never, "user">, by: IndexQuery<"user">) {
  return await sessions.revokeAll(by);
}

export async function isAdmin(session: RequestSession<{ role: string }, never>): Promise<boolean> {
  return (await session.get())?.data.role === "admin";
}

export async function begin(sessions: SessionStore<Visit>, visit: Visit): Promise<IssuedSession<Visit>> {
  return await sessions.create(visit);
}

// biome-ignore lint/suspicious/noExplicitAny: an application may write this.
export async function sizeOf(sessions: SessionStore<any, any, any>): Promise<number> {
  let size = 0;
  for await (const { id } of sessions.scan()) size += id.length > 0 ? 1 : 0;
  return size;
}

const { token, session } = await store.create({ userId: "42" }, { absoluteTimeout: "none" });
const visit = await mustGet(store, token);
visit.data.basket.length;
await replace(store, token, { userId: "43" });
await change(store, token, { views: 2, flash: undefined });
await change(store, token, ({ views }) => ({ views: views + 1 }));
await countView(store, token);
await endAll(store, { user: "42" });
await begin(store, visit.data);
await sizeOf(store);
await store.setIdleTimeout(token, "1h");
await store.revoke(session.id, { signal: AbortSignal.timeout(100) });
await store.updateAll({ user: "42" }, { role: "user" });
const { sessions: hats, cursor } = await store.list({ product: "hat" }, { limit: 10 });
hats.map(({ id, lastAccessedAt }) => [id, lastAccessedAt.getTime()]);
await store.list({ product: "hat" }, { cursor });
await store.revoke(session.id, { of: { user: "42" } });
(await store.find(session.id))?.data.views.toFixed();
(await store.revokeEverybody({ onProgress: ({ done, seen }) => done / seen })).toFixed();

/** One method replaced. */
export const logged: typeof store = {
  ...store,
  async create(data, options) {
    const issued = await store.create(data, options);
    issued.session.id.toUpperCase();
    return issued;
  },
};

/** Any store, with its types kept. */
export function timed<T, New, Index extends string>(inner: SessionStore<T, New, Index>): SessionStore<T, New, Index> {
  return { ...inner, get: async (token, options) => await inner.get(token, options) };
}

/** What an application shows of its sessions. */
// biome-ignore lint/suspicious/noExplicitAny: an application may write this.
export class Sessions<Store extends SessionStore<any, any, any>> {
  readonly #store: Store;
  constructor(store: Store) {
    this.#store = store;
  }
  async start(data: NewDataOf<Store>, replaces: SessionToken | null): Promise<SessionToken> {
    return (await this.#store.create(data, { replaces })).token;
  }
  get(token: SessionToken): Promise<Session<DataOf<Store>> | null> {
    return this.#store.get(token);
  }
}

/** A class with some methods of a store. */
class Counting<T, New> implements Pick<SessionStore<T, New>, "create" | "get"> {
  made = 0;
  readonly #inner: SessionStore<T, New>;
  constructor(inner: SessionStore<T, New>) {
    this.#inner = inner;
  }
  async create(data: New, options?: StoreCreateOptions): Promise<IssuedSession<T>> {
    this.made++;
    return await this.#inner.create(data, options);
  }
  get(token: SessionToken, options?: CallOptions): Promise<Session<T> | null> {
    return this.#inner.get(token, options);
  }
}

const sessions = new Sessions(store);
await sessions.start({ userId: "42" }, null);
(await sessions.get("x"))?.data.basket.length;
sessionMiddleware(timed(store));
sessionMiddleware(logged);
(await new Counting(store).create({ userId: "42" })).session.data.views.toFixed();

/** A framework with a jar of cookies and no `Request`. */
export async function logIn(jar: { get(name: string): string | undefined; set(line: string): void }): Promise<void> {
  const cookie = sessionCookie({ sameSite: "strict" });
  const { token } = await store.create({ userId: "42" }, { replaces: jar.get(cookie.name) });
  jar.set(cookie.write(token, "30d"));
}

const parts = { method: "GET", url: "/", path: "/", header: () => undefined };
const exchange = sessionExchange(store)(parts);
await exchange.session.update({ flash: "Saved" });
exchange.finish(new Headers()).map(([name]) => name);

const clock = manualClock();
clock.advance("31m");
clock.now().toFixed();
const { headers } = await testSession(store, { userId: "42" });
new Request("https://app.example/", { headers });
