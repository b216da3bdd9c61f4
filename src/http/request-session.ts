import type { Duration } from "../base/durations.ts";
import type { CallOptions, CreateOptions, RotateOptions } from "../call-options.ts";
import type { CreateInput, IndexQuery, NumberField, OptionalField, PatchInput } from "../data.ts";
import type { IssuedSession, Session, SessionStore } from "../session.ts";
import type { SessionTransport } from "./options.ts";

/** The result of `create` and `rotate`. With the transport `bearer` it has the token, because the handler has to send it. */
export type Issued<T, Transport extends SessionTransport> = Transport extends "bearer" ? IssuedSession<T> : Session<T>;

/**
 * The session of one request: the store's own methods, without the token. Nothing is read before the handler asks. The
 * first `get` or `peek` reads the session; later ones return the same object until this request changes the session, or a
 * store of this process ends sessions or changes them by index. A `get` after a `peek` touches the session. After the
 * response was returned, each call reads the store, so that a stream or a socket learns that its session has ended.
 *
 * Without a session, every method but `create`, `require` and `destroyAll` returns `null` (`destroy`: `false`). The same
 * holds if the stored data does not fit the schema; the store then reports an `invalid` event.
 *
 * Writes are sent at once: an error occurs where it can be handled, and nothing is saved at the end of the request.
 * `create`, `rotate`, `destroy` and `destroyAll` run one after another, so that concurrent calls leave at most one session and
 * its cookie.
 * The response waits for calls still in progress. If one of them fails and no code handles that, the request fails.
 *
 * If the first use of the session comes after the response was returned, and shared caches may store that response, the
 * call throws a `TypeError`: call `get` before returning a stream that uses the session.
 */
export interface RequestSession<
  T,
  New = T,
  Index extends string = never,
  Transport extends SessionTransport = "cookie",
> {
  /** Returns the session and restarts its idle timeout, unless the request is `passive`. */
  get(options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Like `get`, for handlers that need a session.
   *
   * @throws {SessionRequiredError} If there is none. The middleware answers it with 401, or with `onUnauthenticated`.
   */
  require(options?: CallOptions): Promise<Session<T>>;
  /** Like `get`, without extending the session. For pages that poll. */
  peek(options?: CallOptions): Promise<Session<T> | null>;
  /**
   * Creates a session with a new token, and ends the session that the request came with, even if an attacker planted its
   * cookie. A function gets the data of that session, and may carry it over, for example a cart through a login.
   */
  create(data: CreateInput<T, New>, options?: CreateOptions): Promise<Issued<T, Transport>>;
  update(patch: PatchInput<T>, options?: CallOptions): Promise<Session<T> | null>;
  increment(field: NumberField<T>, by?: number, options?: CallOptions): Promise<number | null>;
  take<K extends OptionalField<T>>(field: K, options?: CallOptions): Promise<Exclude<T[K], undefined> | null>;
  setIdleTimeout(idleTimeout: Duration, options?: CallOptions): Promise<Session<T> | null>;
  rotate(options?: RotateOptions<T>): Promise<Issued<T, Transport> | null>;
  destroy(options?: CallOptions): Promise<boolean>;
  /**
   * Ends all sessions with an index value, for example to log a user out on all devices. Then ends the session of this
   * request as well, whether or not it has the value, and clears its cookie. Works without a session, too.
   *
   * @returns The number of sessions that have ended, including the session of this request.
   * @throws {SessionBackendError} If the backend fails; `done` is the number of sessions that have certainly ended. The
   * session of this request ends last, so the user is then still logged in here and can try again.
   */
  destroyAll(by: IndexQuery<Index>, options?: CallOptions): Promise<number>;

  /** Type-only. Methods are compared bivariantly; this property makes TypeScript check `New` and `Index` strictly. */
  readonly "~accepts"?: (data: New | undefined, index: Index | undefined) => void;
}

/** The session of a request to a store: `type VisitSession = RequestSessionOf<typeof store>`. */
export type RequestSessionOf<Store, Transport extends SessionTransport = "cookie"> =
  Store extends SessionStore<infer T, infer New, infer Index> ? RequestSession<T, New, Index, Transport> : never;
