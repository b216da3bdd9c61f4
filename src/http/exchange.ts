import { kindOf, knownOptions } from "../base/checks.ts";
import { serially } from "../base/turns.ts";
import type { Session, SessionStore } from "../session.ts";
import { type AnswerHeader, cachingHeaders, isPrivate } from "./cache-headers.ts";
import { type CookieOptions, cookieValues, MAX_AGE_SECONDS, sessionCookie, setsCookie } from "./cookie.ts";
import { beginScope, endScope, isInside, issueFrom, noteUse, runInside, wasIssuedInside } from "./nesting.ts";
import { pendingCalls, type UnhandledFailure } from "./pending-calls.ts";
import { type RequestSession, requestSession, type SharedToken } from "./request-session.ts";

const NO_RESPONSE = "Cannot set the session cookie as the handler returned no response that could carry it";
const TOO_LATE =
  "Cannot use the session for the first time after the response headers were sent: call get() before returning the stream, or send Cache-Control: private";

/** Options for `sessionExchange`. */
export interface SessionExchangeOptions<in T = unknown> {
  readonly cookie?: CookieOptions | undefined;
  /**
   * Whether the cookie survives closing the browser. A function is called each time the cookie is written, so it also
   * applies after a rotation. A persistent cookie lasts until the session's deadline, at most 400 days. Default: false.
   */
  readonly persistent?: boolean | ((session: Session<T>) => boolean) | undefined;
}

/**
 * The session of one request, for adapters to frameworks without `Request` and `Response`.
 *
 * 1. Call the handler with `session` inside `run`.
 * 2. If the handler succeeds, await `settle`. If this returns a failure, treat the failure as if the handler had thrown
 *    it. Otherwise set the headers that `finish` returns.
 * 3. If the handler fails, await `abandon`.
 */
export interface SessionExchange<T, New = T> {
  readonly session: RequestSession<T, New>;
  /**
   * Runs the handler. If an exchange inside the handler issues a session cookie, `finish` allows this cookie in the
   * response.
   */
  run<R>(handler: () => R): R;
  /**
   * Waits for calls on the session that are still in progress, so that a missing `await` loses no cookie. Never
   * rejects.
   *
   * @returns The first failure that no code has handled, or `null`.
   */
  settle(): Promise<UnhandledFailure | null> | null;
  /**
   * Returns the headers to set. Call it once, before the headers of the response are sent. After that `create` and
   * `rotate` throw a `TypeError`. So does the first use of the session, unless `Cache-Control` of the response contains
   * `private` or `no-store`.
   *
   * The response gets at most one session cookie: the one that was issued here, or by an exchange that ran inside this
   * one. Any other value under its name is removed from the response, even if the session was not used. Such a value
   * would be the token of another user, or one that somebody chose. Lines that clear the cookie, and other cookies,
   * stay in order.
   *
   * @param answer The handler's headers, which are not changed. `null` if there is no response to send, as after an
   * upgrade.
   * @throws {TypeError} If a session was created or rotated and there is no response that could carry its cookie.
   */
  finish(answer: Headers | null): readonly AnswerHeader[];
  /**
   * Called instead of `finish` if the handler's response is not sent. Ends the session that this request created or
   * rotated, because nobody receives its token. This includes a `create` or `rotate` still in progress.
   *
   * @param keepsRotated `true` if `finish` will be called later with another response. A rotated session is then kept,
   * and its cookie is sent with that response. A session that was created is ended in any case.
   */
  abandon(keepsRotated?: boolean): Promise<void>;
}

/**
 * Returns a function that takes the `Cookie` header of a request and returns its exchange. The function makes no
 * backend call.
 *
 * @throws {TypeError} If an option is unknown, or the attributes of the cookie contradict each other. The returned
 * function throws if the header is not a string.
 */
export function sessionExchange<T, New>(
  store: SessionStore<T, New>,
  options: SessionExchangeOptions<NoInfer<T>> = {},
): (cookieHeader: string | null | undefined) => SessionExchange<T, New> {
  const begin = sharedExchange(store, options);
  return (cookieHeader) => begin(cookieHeader).join();
}

/** An exchange that the handlers of one request share. It is over when all of them have returned or failed. */
export interface SharedExchange<T, New> {
  /** Adds a handler, with its own `finish` and `abandon`. */
  join(): SessionExchange<T, New>;
  /** Whether all handlers have returned or failed. */
  isOver(): boolean;
}

/** Like `sessionExchange`, for requests with several handlers. */
export function sharedExchange<T, New>(
  store: SessionStore<T, New>,
  options: SessionExchangeOptions<NoInfer<T>> = {},
): (cookieHeader: string | null | undefined) => SharedExchange<T, New> {
  const action = "create a session exchange";
  const { cookie: attributes, persistent = false } = knownOptions(action, options, ["cookie", "persistent"]);
  if (typeof persistent !== "boolean" && typeof persistent !== "function") {
    throw new TypeError(
      `Cannot ${action} as persistent must be true, false or a function: received ${kindOf(persistent)}`,
    );
  }
  const cookie = sessionCookie(attributes);

  function cookieFor(token: string, session: Session<T>): string {
    const isPersistent = typeof persistent === "function" ? persistent(session) : persistent;
    return cookie.write(token, isPersistent ? `${lastingSeconds(session)}s` : undefined);
  }

  return (cookieHeader) => {
    if (typeof (cookieHeader ?? "") !== "string") {
      throw new TypeError(
        `Cannot read the session cookie as the Cookie header must be a string: received ${kindOf(cookieHeader)}`,
      );
    }
    const shared: SharedToken<T> = {
      token: cookie.read(cookieHeader),
      issued: null,
      isNew: false,
      setCookie: null,
      known: null,
      inTurn: serially(),
    };
    const scope = beginScope();
    /** The number of handlers that have not returned or failed yet, without those that run inside another one. */
    let running = 0;
    /** The session cookies in the responses of this request so far, as `Set-Cookie` values. */
    const carried: string[] = [];
    let isReported = false;

    function reportTwoCookies(): void {
      if (isReported || shared.token !== null) return;
      isReported = true;
      if (cookieValues(cookie.name, cookieHeader).length > 1) store["~twoCookies"]?.(cookie.name);
    }

    /**
     * Returns the headers to set on a response.
     *
     * @param setCookie The session cookie of this response, as a `Set-Cookie` value.
     */
    function headersFor(answer: Headers, setCookie: string | null, isUsed: boolean): readonly AnswerHeader[] {
      const own = setCookie === null ? [] : [...cookie.clearPrevious(), setCookie];
      const given = answer.getSetCookie();
      if (given.length === 0 && setCookie === null) return isUsed ? cachingHeaders(answer, false) : [];
      issueFrom(scope, own);
      const inner = given.filter((line) => wasIssuedInside(scope, line));
      const passes = (line: string): boolean =>
        !setsCookie(cookie.name, line) || (setCookie === null && inner.includes(line));
      const lines = given.filter((line) => passes(line) && !own.includes(line));
      const isIssued = setCookie !== null || inner.length > 0;
      const caching = isUsed || isIssued ? cachingHeaders(answer, isIssued) : [];
      return setCookie === null && lines.length === given.length
        ? caching
        : [["Set-Cookie", ...lines, ...own], ...caching];
    }

    function join(): SessionExchange<T, New> {
      const calls = pendingCalls();
      // An inner handler returns its response to the outer one, whose response then carries the cookie.
      const isInner = isInside(scope);
      if (!isInner) running++;
      let isRunning = true;
      let isUsed = false;
      let isPublic = false;
      let isLeftToOthers = isInner;
      let line: string | null = null;
      let over: AbortController | null = null;

      function use(): void {
        if (isUsed) return;
        if (isPublic) {
          throw new TypeError(TOO_LATE);
        }
        isUsed = true;
        if (isInner) scope.isUsedInside = true;
        noteUse(scope);
        reportTwoCookies();
      }

      function end(): void {
        if (isRunning && !isInner) running--;
        isRunning = false;
        over?.abort();
        calls.close();
        if (running === 0) endScope(scope);
      }

      function carry(setCookie: string | null): void {
        if (line !== null) carried.splice(carried.indexOf(line), 1);
        line = isInner ? null : setCookie;
        if (line !== null) carried.push(line);
      }

      const isCarried = (): boolean => shared.setCookie !== null && carried.includes(shared.setCookie);

      return {
        session: requestSession(store, shared, {
          calls,
          clearedCookie: cookie.clear,
          cookieFor,
          isOver: () => !isRunning || scope.isOver,
          overSignal() {
            over ??= new AbortController();
            return over.signal;
          },
          use,
        }),
        run: (handler) => runInside(scope, handler),
        settle: calls.settle,
        finish(answer) {
          if (answer === null) {
            if (shared.issued !== null && !isInner && running === 1 && !isCarried()) throw new TypeError(NO_RESPONSE);
            end();
            return [];
          }
          const setCookie = isLeftToOthers && !isInner ? null : shared.setCookie;
          const headers = headersFor(answer, setCookie, isUsed || scope.isUsedInside);
          carry(setCookie);
          isPublic = !isUsed && !isPrivate(answer);
          end();
          return headers;
        },
        async abandon(keepsRotated = false) {
          // Wait for a rotation still in progress, so that the other response carries its cookie.
          if (keepsRotated) await calls.settle();
          carry(null);
          end();
          isLeftToOthers = isInner || running > 0 || isCarried();
          if (isLeftToOthers || (keepsRotated && shared.issued !== null && !shared.isNew)) return;
          const orphan = shared.issued;
          shared.issued = shared.setCookie = null;
          if (orphan !== null) await store.destroy(orphan).catch(() => {});
        },
      };
    }

    return { join, isOver: () => scope.isOver };
  };
}

/** Returns the seconds from the session's last access, which was just now, to its deadline. At most 400 days. */
function lastingSeconds({ deadline, lastAccessedAt }: Session<unknown>): number {
  const left = deadline === null ? MAX_AGE_SECONDS : Math.ceil((deadline.getTime() - lastAccessedAt.getTime()) / 1000);
  return Math.min(Math.max(left, 1), MAX_AGE_SECONDS);
}
