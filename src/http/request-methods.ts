import { changesMade } from "../base/changes.ts";
import type { serially } from "../base/turns.ts";
import type { CallOptions, CreateOptions, RotateOptions } from "../call-options.ts";
import type { CreateInput, IndexQuery } from "../data.ts";
import { SessionDataError, SessionRequiredError } from "../errors.ts";
import type { IssuedSession, Session, SessionStore } from "../session.ts";
import { failedAfter } from "../store/walk.ts";
import type { SessionTransport } from "./options.ts";
import type { PendingCalls } from "./pending-calls.ts";
import type { Issued, RequestSession } from "./request-session.ts";

/** The state that the handlers of one request share: the token, the last read of the session, and the cookie to set. */
export interface SharedToken<T> {
  /** The current session token of the request. */
  token: string | null;
  /** The token that this request issued. Only its response contains this token. */
  issued: string | null;
  /** Whether this request created the session of the issued token. `false` if it only rotated it. */
  isNew: boolean;
  /** The value of `Set-Cookie` for the response. */
  setCookie: string | null;
  known: KnownSession<T> | null;
  /** Runs the calls that change the token one after another. */
  readonly inTurn: ReturnType<typeof serially>;
}

/** The last read of the session in this request. */
interface KnownSession<T> {
  readonly session: Promise<Session<T> | null>;
  readonly touched: boolean;
  /** The number of changes that the process had made before the read. */
  readonly changes: number;
  /** The signal that may still abort the read. */
  signal: AbortSignal | undefined;
}

/** The functions of the exchange that the session of one handler calls. */
export interface Handler<T, Transport extends SessionTransport> {
  readonly calls: PendingCalls;
  /**
   * Called before each use of the session.
   *
   * @throws {TypeError} If the first use comes too late to add caching headers.
   */
  use(): void;
  /** Whether the handler has returned or failed. */
  isOver(): boolean;
  /** Returns a signal that aborts when the handler has returned or failed. */
  overSignal(): AbortSignal;
  /** Whether reads of the session do not restart its idle timeout. */
  isPassive(): boolean;
  /** Returns the value of `Set-Cookie` for a new token; `null` if the response sets no cookie. */
  cookieFor(issued: IssuedSession<T>): string | null;
  /** Returns the value of `Set-Cookie` after the session has ended; `null` if the response sets no cookie. */
  clearedCookie(): string | null;
  /** Returns what `create` and `rotate` return. */
  handOut(issued: IssuedSession<T>): Issued<T, Transport>;
}

/** The key under which calls that change the token wait for each other. */
const TOKEN = "token";

export function requestSession<T, New, Index extends string, Transport extends SessionTransport>(
  store: SessionStore<T, New, Index>,
  shared: SharedToken<T>,
  { calls, clearedCookie, cookieFor, handOut, isOver, isPassive, overSignal, use }: Handler<T, Transport>,
): RequestSession<T, New, Index, Transport> {
  /** Calls a method with the token. Returns `null` without a session, or if its stored data does not fit the schema. */
  async function withToken<R>(method: (token: string) => Promise<R>): Promise<R | null> {
    use();
    if (shared.token === null) return null;
    try {
      return await method(shared.token);
    } catch (error) {
      if (error instanceof SessionDataError && error.origin === "stored") return null;
      throw error;
    }
  }

  function read(touched: boolean, method: "get" | "peek", options?: CallOptions): Promise<Session<T> | null> {
    const { known } = shared;
    const signal = options?.signal;
    const isCurrent = known !== null && known.changes === changesMade() && (known.touched || !touched);
    // The signal of one call must neither abort another one nor be ignored.
    const isOwn = known?.signal === undefined || known.signal === signal;
    if (isCurrent && isOwn && !signal?.aborted && !isOver()) {
      use();
      return known.session;
    }
    return remember(
      { touched, changes: changesMade(), signal },
      withToken((token) => store[method](token, options)),
    );
  }

  async function get(options?: CallOptions): Promise<Session<T> | null> {
    return isPassive() ? read(false, "peek", options) : read(true, "get", options);
  }

  async function required(options?: CallOptions): Promise<Session<T>> {
    const session = await get(options);
    if (session === null) throw new SessionRequiredError();
    return session;
  }

  function remember(
    read: Omit<KnownSession<T>, "session">,
    session: Promise<Session<T> | null>,
  ): Promise<Session<T> | null> {
    const mine: KnownSession<T> = { ...read, session };
    shared.known = mine;
    session.then(
      () => {
        mine.signal = undefined;
      },
      () => {
        if (shared.known === mine) shared.known = null;
      },
    );
    return session;
  }

  /**
   * Runs a method that changes the session. Forgets what was read before or during it, because that may be out of date.
   */
  async function changing<R>(method: (token: string) => Promise<R>): Promise<R | null> {
    shared.known = null;
    try {
      return await withToken(method);
    } finally {
      shared.known = null;
    }
  }

  async function changed(method: (token: string) => Promise<Session<T> | null>): Promise<Session<T> | null> {
    const changes = changesMade();
    const session = await changing(method);
    remember({ touched: true, changes, signal: undefined }, Promise.resolve(session));
    return session;
  }

  function refuseLate(): void {
    if (isOver()) throw new TypeError("Cannot create or rotate a session after the response headers were sent");
  }

  /** Puts the token into the response's cookie. */
  async function issue(issued: IssuedSession<T>, isNew: boolean, changes: number): Promise<Issued<T, Transport>> {
    const { token, session } = issued;
    try {
      refuseLate();
      shared.setCookie = cookieFor(issued);
    } catch (error) {
      // Nobody will receive the token.
      await store.destroy(token).catch(() => {});
      throw error;
    }
    shared.token = shared.issued = token;
    shared.isNew ||= isNew;
    remember({ touched: true, changes, signal: undefined }, Promise.resolve(session));
    return handOut(issued);
  }

  async function create(data: CreateInput<T, New>, options?: CreateOptions): Promise<Issued<T, Transport>> {
    refuseLate();
    use();
    // If the handler fails meanwhile, the session that would be replaced must not end.
    const signal = AbortSignal.any([overSignal(), ...(options?.signal ? [options.signal] : [])]);
    const creating = store.create(data, { ...options, replaces: shared.token, signal });
    const created = await creating.catch((error) => {
      refuseLate();
      throw error;
    });
    return await issue(created, true, changesMade());
  }

  async function rotate(options?: RotateOptions<T>): Promise<Issued<T, Transport> | null> {
    refuseLate();
    const changes = changesMade();
    const rotated = await changing((token) => store.rotate(token, options));
    return rotated && (await issue(rotated, false, changes));
  }

  const destroyed = async (options?: CallOptions): Promise<boolean> =>
    (await withToken((token) => store.destroy(token, options))) ?? false;

  async function destroy(options?: CallOptions): Promise<boolean> {
    return forget(await destroyed(options));
  }

  function forget(hasEnded: boolean): boolean {
    // A late logout must not clear a newer cookie. A cookie that this request itself was about to set must be cleared.
    if (hasEnded || shared.issued !== null) shared.setCookie = clearedCookie();
    shared.token = shared.issued = shared.known = null;
    return hasEnded;
  }

  async function destroyAll(by: IndexQuery<Index>, options?: CallOptions): Promise<number> {
    const current = await read(false, "peek", options);
    // Without data that can be read, the session is not known by its ID.
    const wasUnreadable = current === null && (await destroyed(options));
    if (wasUnreadable) forget(true);
    const done = Number(wasUnreadable) + (await store.revokeAll(by, { ...options, except: current }));
    if (current === null) return done;
    try {
      // By its ID if another request has rotated the token.
      return done + Number(forget((await destroyed(options)) || (await store.revoke(current.id, options))));
    } catch (error) {
      throw failedAfter({ done }, error);
    }
  }

  const { watch } = calls;
  const inTurn = <R>(call: () => Promise<R>): Promise<R> => watch(shared.inTurn(TOKEN, call), true);
  return {
    get: (options) => watch(get(options)),
    require: (options) => watch(required(options)),
    peek: (options) => watch(read(false, "peek", options)),
    create: (data, options) => inTurn(() => create(data, options)),
    update: (patch, options) => watch(changed((token) => store.update(token, patch, options))),
    increment: (field, by, options) => watch(changing((token) => store.increment(token, field, by, options))),
    take: (field, options) => watch(changing((token) => store.take(token, field, options))),
    setIdleTimeout: (timeout, options) => watch(changed((token) => store.setIdleTimeout(token, timeout, options))),
    rotate: (options) => inTurn(() => rotate(options)),
    destroy: (options) => inTurn(() => destroy(options)),
    destroyAll: (by, options) => inTurn(() => destroyAll(by, options)),
  };
}
