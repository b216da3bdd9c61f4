import { type AnswerHeader, cachingHeaders } from "./caching.ts";
import { type CookieOptions, MAX_AGE_SECONDS, sessionCookie, setsCookie } from "./cookie.ts";
import { SessionDataError } from "./errors.ts";
import { kindOf, knownOptions } from "./options.ts";
import { serially } from "./serially.ts";
import type {
  CallOptions,
  CreateOptions,
  NumberField,
  OptionalField,
  PatchInput,
  RotateOptions,
  Session,
  SessionStore,
} from "./session.ts";

/**
 * The session of one request: the store's own methods, without the token. Nothing is read before a handler asks; the
 * first `get` or `peek` is one round trip, later ones none, and a `get` after a `peek` touches. Without a session every
 * method but `create` answers `null` (`destroy`: `false`), and so it does with one whose stored data does not fit the
 * schema, which the store reports as an `invalid` event.
 *
 * Writes go through at once: an error surfaces where it can be handled, and nothing is saved when the request ends.
 * `create`, `rotate` and `destroy` take turns, so that of several at once one session stays at most, and its cookie.
 */
export interface RequestSession<T, New = T> {
  get(options?: CallOptions): Promise<Session<T> | null>;
  /** For a page that polls: looks without keeping the session alive. */
  peek(options?: CallOptions): Promise<Session<T> | null>;
  /** Starts a session with a new token and ends the one that came with the request, whoever chose that. */
  create(data: New, options?: CreateOptions): Promise<Session<T>>;
  update(patch: PatchInput<T>, options?: CallOptions): Promise<Session<T> | null>;
  increment(field: NumberField<T>, by?: number, options?: CallOptions): Promise<number | null>;
  take<K extends OptionalField<T>>(field: K, options?: CallOptions): Promise<Exclude<T[K], undefined> | null>;
  setIdleTimeout(seconds: number, options?: CallOptions): Promise<Session<T> | null>;
  rotate(options?: RotateOptions<T>): Promise<Session<T> | null>;
  destroy(options?: CallOptions): Promise<boolean>;

  /** Never there at run time. Makes TypeScript compare `New` strictly, which it does not do for methods. */
  readonly "~accepts"?: (data: New) => void;
}

/** What `create`, `rotate` and `destroy` of one request take turns for. */
const TURN = "token";

/** Of `sessionExchange`. */
export interface SessionExchangeOptions<in T = unknown> {
  readonly cookie?: CookieOptions | undefined;
  /**
   * Does the cookie outlive the browser? Asked whenever a cookie is written, so that a rotation keeps the answer. Such a
   * cookie lasts until the session's deadline, at most 400 days. Default false.
   */
  readonly persistent?: boolean | ((session: Session<T>) => boolean) | undefined;
}

export type { AnswerHeader } from "./caching.ts";

/** One request without `Request` and `Response`: what adapters are made of. */
export interface SessionExchange<T, New = T> {
  readonly session: RequestSession<T, New>;
  /**
   * Called once when the handler has answered; after that, `create` and `rotate` are refused with a `TypeError`.
   *
   * The session cookie goes out at most once, and only as it was issued here: what the handler itself sets under its name
   * is taken out of the answer, even where the session was not used, as it can only be a token that somebody chose or
   * that was meant for somebody else. Its other cookies stay, in order.
   *
   * @param answer The handler's headers, which are left as they are.
   */
  finish(answer: Headers): readonly AnswerHeader[];
  /** Called instead when nobody will get the answer: ends the session whose token only it would have carried. */
  abandon(): Promise<void>;
}

/**
 * Takes the `Cookie` header of a request and gives its session; reads nothing from the backend by itself.
 *
 * @throws {TypeError} If the cookie's attributes contradict each other, or an option is unknown; for a request, if its
 * header is no text.
 */
export function sessionExchange<T, New>(
  store: SessionStore<T, New>,
  options: SessionExchangeOptions<NoInfer<T>> = {},
): (cookieHeader: string | null | undefined) => SessionExchange<T, New> {
  const action = "create a session exchange";
  const { cookie: attributes, persistent = false } = knownOptions(action, options, ["cookie", "persistent"]);
  if (typeof persistent !== "boolean" && typeof persistent !== "function") {
    throw new TypeError(
      `Cannot ${action} as persistent must be true, false or a function: received ${kindOf(persistent)}`,
    );
  }
  const cookie = sessionCookie(attributes);

  return (cookieHeader) => {
    if (typeof (cookieHeader ?? "") !== "string") {
      throw new TypeError(
        `Cannot read the session cookie as its header must be text: received ${kindOf(cookieHeader)}`,
      );
    }
    let token = cookie.read(cookieHeader);
    const inTurn = serially();
    /** What this request knows of the session: whether the read that it came from touched. */
    let known: { readonly touched: boolean; readonly session: Promise<Session<T> | null> } | null = null;
    let setCookie: string | null = null;
    let issued: string | null = null;
    let used = false;
    /** Has the answer its headers, or will there be none? */
    let over = false;

    /** Runs a method on the token; `none` where there is no session or none that can be read. */
    async function withToken<R, None>(none: None, method: (token: string) => Promise<R>): Promise<R | None> {
      used = true;
      if (token === null) return none;
      try {
        return await method(token);
      } catch (error) {
        if (error instanceof SessionDataError && error.origin === "stored") return none;
        throw error;
      }
    }

    function remember(touched: boolean, session: Promise<Session<T> | null>): Promise<Session<T> | null> {
      const mine = { touched, session };
      known = mine;
      session.catch(() => {
        if (known === mine) known = null;
      });
      return session;
    }

    /** What is known before a change or learnt beside it may be out of date after it. */
    async function changing<R>(method: (token: string) => Promise<R>): Promise<R | null> {
      known = null;
      try {
        return await withToken(null, method);
      } finally {
        known = null;
      }
    }

    async function changed(method: (token: string) => Promise<Session<T> | null>): Promise<Session<T> | null> {
      const session = await changing(method);
      remember(true, Promise.resolve(session));
      return session;
    }

    function refuseLate(): void {
      if (over) throw new TypeError("Cannot issue a session as the answer that would carry its token is on its way");
    }

    async function issue(next: string, session: Session<T>): Promise<Session<T>> {
      try {
        refuseLate();
        const lasting = typeof persistent === "function" ? persistent(session) : persistent;
        setCookie = cookie.write(next, lasting ? lastingSeconds(session) : undefined);
      } catch (error) {
        // Nobody will receive the token.
        await store.destroy(next).catch(() => {});
        throw error;
      }
      token = issued = next;
      remember(true, Promise.resolve(session));
      return session;
    }

    const session: RequestSession<T, New> = {
      get(options) {
        if (known?.touched) return known.session;
        return remember(
          true,
          withToken(null, (token) => store.get(token, options)),
        );
      },
      peek(options) {
        return (
          known?.session ??
          remember(
            false,
            withToken(null, (token) => store.peek(token, options)),
          )
        );
      },
      create: (data, options) =>
        inTurn(TURN, async () => {
          refuseLate();
          used = true;
          const before = token;
          const created = await store.create(data, options);
          try {
            refuseLate();
            if (before !== null) await store.destroy(before, options);
          } catch (error) {
            await store.destroy(created.token).catch(() => {});
            throw error;
          }
          return await issue(created.token, created.session);
        }),
      update: (patch, options) => changed((token) => store.update(token, patch, options)),
      increment: (field, by, options) => changing((token) => store.increment(token, field, by, options)),
      take: (field, options) => changing((token) => store.take(token, field, options)),
      setIdleTimeout: (seconds, options) => changed((token) => store.setIdleTimeout(token, seconds, options)),
      rotate: (options) =>
        inTurn(TURN, async () => {
          refuseLate();
          const rotated = await changing((token) => store.rotate(token, options));
          return rotated && (await issue(rotated.token, rotated.session));
        }),
      destroy: (options) =>
        inTurn(TURN, async () => {
          const ended = await withToken(false, (token) => store.destroy(token, options));
          // A late logout must not clear a newer cookie; one that this very request was about to set it must.
          if (ended || issued !== null) setCookie = cookie.clear();
          token = issued = known = null;
          return ended;
        }),
    };

    return {
      session,
      finish(answer) {
        over = true;
        const given = answer.getSetCookie();
        const lines = given.filter((line) => !setsCookie(cookie.name, line));
        if (setCookie !== null) lines.push(setCookie);
        const headers: AnswerHeader[] = used ? cachingHeaders(answer, setCookie !== null) : [];
        return setCookie === null && lines.length === given.length ? headers : [["Set-Cookie", ...lines], ...headers];
      },
      async abandon() {
        over = true;
        if (issued === null) return;
        const orphan = issued;
        issued = setCookie = null;
        await store.destroy(orphan).catch(() => {});
      },
    };
  };
}

/** Seconds from the access that the session was just given to its deadline. */
function lastingSeconds({ deadline, lastAccessedAt }: Session<unknown>): number {
  const left = deadline === null ? MAX_AGE_SECONDS : Math.ceil((deadline.getTime() - lastAccessedAt.getTime()) / 1000);
  return Math.min(Math.max(left, 1), MAX_AGE_SECONDS);
}
