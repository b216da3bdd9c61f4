import { changesMade } from "../base/changes.ts";
import { serially } from "../base/turns.ts";
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
  setIdleTimeout(seconds: number, options?: CallOptions): Promise<Session<T> | null>;
  rotate(options?: RotateOptions<T>): Promise<Session<T> | null>;
  destroy(options?: CallOptions): Promise<boolean>;

  /** Type-only. Methods are compared bivariantly; this property makes TypeScript check `New` strictly. */
  readonly "~accepts"?: (data: New) => void;
}

/** The token of a request, and what the request did to it. */
export interface TokenState {
  /** The session token that the request works with. */
  token: string | null;
  /** The token that was issued here and that nobody has but the answer. */
  issued: string | null;
  /** Whether the session of the issued token was created here, not rotated. */
  isNew: boolean;
  /** The value of `Set-Cookie` that the answer carries. */
  setCookie: string | null;
  /** Whether the handler has used the session, so that the answer depends on the cookie. */
  isUsed: boolean;
  /** Whether all handlers of this request have responded. */
  isOver: boolean;
  /** Whether an answer was given that shared caches may store, as the session had not been used. */
  isPublic: boolean;
}

/** How the exchange writes the cookie, and learns of the first use. */
export interface TokenEvents<T> {
  /** Called once, before the first use. */
  used(): void;
  /** Gives the value of `Set-Cookie` for a new token. */
  cookieFor(token: string, session: Session<T>): string;
  /** Gives the value of `Set-Cookie` after the session has ended. */
  clearedCookie(): string;
}

/** All calls that change the token take turns under this key. */
const TOKEN = "token";

export function requestSession<T, New>(
  store: SessionStore<T, New>,
  state: TokenState,
  { used, cookieFor, clearedCookie }: TokenEvents<T>,
  calls: PendingCalls,
): RequestSession<T, New> {
  const inTurn = serially();
  /** What this request knows of the session: whether it was touched, and how many changes the process had made. */
  let known: {
    readonly touched: boolean;
    readonly changes: number;
    readonly session: Promise<Session<T> | null>;
  } | null = null;

  /** The token, or `null`. @throws {TypeError} If the session is first used when it is too late for the headers. */
  function use(): string | null {
    if (state.isUsed) return state.token;
    if (state.isPublic) {
      throw new TypeError(
        "Cannot use the session for the first time after the response headers were sent: call get() before returning the stream, or send Cache-Control: private",
      );
    }
    state.isUsed = true;
    used();
    return state.token;
  }

  /** Calls a method with the token. Answers `null` without a session, or if its stored data does not fit. */
  async function withToken<R>(method: (token: string) => Promise<R>): Promise<R | null> {
    const token = use();
    if (token === null) return null;
    try {
      return await method(token);
    } catch (error) {
      if (error instanceof SessionDataError && error.origin === "stored") return null;
      throw error;
    }
  }

  function read(touched: boolean, method: "get" | "peek", options?: CallOptions): Promise<Session<T> | null> {
    const changes = changesMade();
    const isCurrent = known !== null && known.changes === changes && (known.touched || !touched);
    if (known !== null && isCurrent && !state.isOver) return known.session;
    return remember(
      { touched, changes },
      withToken((token) => store[method](token, options)),
    );
  }

  function remember(
    read: { readonly touched: boolean; readonly changes: number },
    session: Promise<Session<T> | null>,
  ): Promise<Session<T> | null> {
    const mine = { ...read, session };
    known = mine;
    session.catch(() => {
      if (known === mine) known = null;
    });
    return session;
  }

  /** Runs a method that changes the session. What was read before or beside it may be out of date. */
  async function changing<R>(method: (token: string) => Promise<R>): Promise<R | null> {
    known = null;
    try {
      return await withToken(method);
    } finally {
      known = null;
    }
  }

  async function changed(method: (token: string) => Promise<Session<T> | null>): Promise<Session<T> | null> {
    const changes = changesMade();
    const session = await changing(method);
    remember({ touched: true, changes }, Promise.resolve(session));
    return session;
  }

  function refuseLate(): void {
    if (state.isOver) throw new TypeError("Cannot create or rotate a session after the response headers were sent");
  }

  /** Puts the token into the response's cookie. */
  async function issue({ token, session }: IssuedSession<T>, isNew: boolean, changes: number): Promise<Session<T>> {
    try {
      refuseLate();
      state.setCookie = cookieFor(token, session);
    } catch (error) {
      // Nobody will receive the token.
      await store.destroy(token).catch(() => {});
      throw error;
    }
    state.token = state.issued = token;
    state.isNew ||= isNew;
    remember({ touched: true, changes }, Promise.resolve(session));
    return session;
  }

  async function create(data: New, options?: CreateOptions): Promise<Session<T>> {
    refuseLate();
    const before = use();
    const created = await store.create(data, options);
    try {
      refuseLate();
      if (before !== null) await store.destroy(before, options);
    } catch (error) {
      await store.destroy(created.token).catch(() => {});
      throw error;
    }
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
    // A late logout must not clear a newer cookie. A cookie that this very request was about to set must be cleared.
    if (hasEnded || state.issued !== null) state.setCookie = clearedCookie();
    state.token = state.issued = known = null;
    return hasEnded;
  }

  const { watch } = calls;
  return {
    get: (options) => watch(read(true, "get", options)),
    peek: (options) => watch(read(false, "peek", options)),
    create: (data, options) =>
      watch(
        inTurn(TOKEN, () => create(data, options)),
        true,
      ),
    update: (patch, options) => watch(changed((token) => store.update(token, patch, options))),
    increment: (field, by, options) => watch(changing((token) => store.increment(token, field, by, options))),
    take: (field, options) => watch(changing((token) => store.take(token, field, options))),
    setIdleTimeout: (seconds, options) => watch(changed((token) => store.setIdleTimeout(token, seconds, options))),
    rotate: (options) =>
      watch(
        inTurn(TOKEN, () => rotate(options)),
        true,
      ),
    destroy: (options) =>
      watch(
        inTurn(TOKEN, () => destroy(options)),
        true,
      ),
  };
}
