import { changesMade } from "../base/changes.ts";
import type { Duration } from "../base/durations.ts";
import type { serially } from "../base/turns.ts";
import type { NumberField, OptionalField, PatchInput } from "../data.ts";
import { SessionDataError } from "../errors.ts";
import type { CallOptions, CreateOptions, IssuedSession, RotateOptions, Session, SessionStore } from "../session.ts";
import type { PendingCalls } from "./pending-calls.ts";

/**
 * The session of one request: the store's own methods, without the token. Nothing is read before the handler asks. The
 * first `get` or `peek` reads the session; later ones return the same object until this request changes the session, or a
 * store of this process ends sessions or changes them by index. A `get` after a `peek` touches the session. After the
 * response was returned, each call reads the store, so that a stream or a socket learns that its session has ended.
 *
 * Without a session, every method but `create` returns `null` (`destroy`: `false`). The same holds if the stored data does
 * not fit the schema; the store then reports an `invalid` event.
 *
 * Writes are sent at once: an error occurs where it can be handled, and nothing is saved at the end of the request.
 * `create`, `rotate` and `destroy` run one after another, so that concurrent calls leave at most one session and its cookie.
 * The response waits for calls still in progress. If one of them fails and no code handles that, the request fails.
 *
 * If the first use of the session comes after the response was returned, and shared caches may store that response, the
 * call throws a `TypeError`: call `get` before returning a stream that uses the session.
 */
export interface RequestSession<T, New = T> {
  get(options?: CallOptions): Promise<Session<T> | null>;
  /** Like `get`, without extending the session. For pages that poll. */
  peek(options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Creates a session with a new token, and ends the session that the request came with, even if an attacker planted its
   * cookie.
   */
  create(data: New, options?: CreateOptions): Promise<Session<T>>;
  update(patch: PatchInput<T>, options?: CallOptions): Promise<Session<T> | null>;
  increment(field: NumberField<T>, by?: number, options?: CallOptions): Promise<number | null>;
  take<K extends OptionalField<T>>(field: K, options?: CallOptions): Promise<Exclude<T[K], undefined> | null>;
  setIdleTimeout(idleTimeout: Duration, options?: CallOptions): Promise<Session<T> | null>;
  rotate(options?: RotateOptions<T>): Promise<Session<T> | null>;
  destroy(options?: CallOptions): Promise<boolean>;

  /** Type-only. Methods are compared bivariantly; this property makes TypeScript check `New` strictly. */
  readonly "~accepts"?: (data: New | undefined) => void;
}

/** The session of a request to a store: `type VisitSession = RequestSessionOf<typeof store>`. */
export type RequestSessionOf<Store> =
  Store extends SessionStore<infer T, infer New, infer _Index> ? RequestSession<T, New> : never;

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
export interface Handler<T> {
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
  /** Returns the value of `Set-Cookie` for a new token. */
  cookieFor(token: string, session: Session<T>): string;
  /** Returns the value of `Set-Cookie` after the session has ended. */
  clearedCookie(): string;
}

/** The key under which calls that change the token wait for each other. */
const TOKEN = "token";

export function requestSession<T, New>(
  store: SessionStore<T, New>,
  shared: SharedToken<T>,
  { calls, clearedCookie, cookieFor, isOver, overSignal, use }: Handler<T>,
): RequestSession<T, New> {
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
  async function issue({ token, session }: IssuedSession<T>, isNew: boolean, changes: number): Promise<Session<T>> {
    try {
      refuseLate();
      shared.setCookie = cookieFor(token, session);
    } catch (error) {
      // Nobody will receive the token.
      await store.destroy(token).catch(() => {});
      throw error;
    }
    shared.token = shared.issued = token;
    shared.isNew ||= isNew;
    remember({ touched: true, changes, signal: undefined }, Promise.resolve(session));
    return session;
  }

  async function create(data: New, options?: CreateOptions): Promise<Session<T>> {
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

  async function rotate(options?: RotateOptions<T>): Promise<Session<T> | null> {
    refuseLate();
    const changes = changesMade();
    const rotated = await changing((token) => store.rotate(token, options));
    return rotated && (await issue(rotated, false, changes));
  }

  async function destroy(options?: CallOptions): Promise<boolean> {
    const hasEnded = (await withToken((token) => store.destroy(token, options))) ?? false;
    // A late logout must not clear a newer cookie. A cookie that this request itself was about to set must be cleared.
    if (hasEnded || shared.issued !== null) shared.setCookie = clearedCookie();
    shared.token = shared.issued = shared.known = null;
    return hasEnded;
  }

  const { watch } = calls;
  const inTurn = <R>(call: () => Promise<R>): Promise<R> => watch(shared.inTurn(TOKEN, call), true);
  return {
    get: (options) => watch(read(true, "get", options)),
    peek: (options) => watch(read(false, "peek", options)),
    create: (data, options) => inTurn(() => create(data, options)),
    update: (patch, options) => watch(changed((token) => store.update(token, patch, options))),
    increment: (field, by, options) => watch(changing((token) => store.increment(token, field, by, options))),
    take: (field, options) => watch(changing((token) => store.take(token, field, options))),
    setIdleTimeout: (timeout, options) => watch(changed((token) => store.setIdleTimeout(token, timeout, options))),
    rotate: (options) => inTurn(() => rotate(options)),
    destroy: (options) => inTurn(() => destroy(options)),
  };
}
