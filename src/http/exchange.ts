import { kindOf, knownOptions } from "../base/checks.ts";
import { serially } from "../base/turns.ts";
import type { Session, SessionStore } from "../session.ts";
import { type AnswerHeader, cachingHeaders, isPrivate } from "./cache-headers.ts";
import { type CookieOptions, cookieValues, MAX_AGE_SECONDS, sessionCookie, setsCookie } from "./cookie.ts";
import { beginScope, endScope, isInside, issueFrom, noteUse, runInside, wasIssuedInside } from "./nesting.ts";
import { pendingCalls, type UnhandledFailure } from "./pending-calls.ts";
import { type RequestSession, requestSession, type SharedToken } from "./request-session.ts";

/** Options for `sessionExchange`. */
export interface SessionExchangeOptions<in T = unknown> {
  readonly cookie?: CookieOptions | undefined;
  /**
   * Whether the cookie survives closing the browser. A function is called each time the cookie is written, so it also
   * applies after a rotation. Such a cookie lasts until the session's deadline, at most 400 days. Default false.
   */
  readonly persistent?: boolean | ((session: Session<T>) => boolean) | undefined;
}

/**
 * One request without `Request` and `Response`: what adapters are made of.
 *
 * 1. Run the handler with `session` inside `run`.
 * 2. The handler answered: await `settle`. If it gives a failure, treat it as thrown by the handler. Otherwise set the
 *    headers of `finish`.
 * 3. The handler failed: await `abandon`.
 */
export interface SessionExchange<T, New = T> {
  readonly session: RequestSession<T, New>;
  /** Runs the handler, so that the cookie of an exchange inside it passes this one. */
  run<R>(handler: () => R): R;
  /**
   * Waits for the calls on the session that are under way, so that a missing `await` loses no cookie. Never rejects.
   *
   * @returns The first failure that no code has handled, or `null`.
   */
  settle(): Promise<UnhandledFailure | null> | null;
  /**
   * Called once with the answer, before its headers are sent. After that `create` and `rotate` throw a `TypeError`, and
   * so does a first use of the session unless the answer says `Cache-Control: private` or `no-store`.
   *
   * The session cookie goes out at most once, and only as it was issued here, or by an exchange that ran inside this one.
   * Any other value under its name is removed from the answer, even if the session was not used: it can only be a token
   * that somebody chose, or somebody else's. Lines that clear the cookie, and other cookies, stay in order.
   *
   * @param answer The handler's headers. They are not changed. `null` if there is no answer to send, as after an upgrade.
   * @throws {TypeError} If a session was created or rotated and there is no answer that could carry its cookie.
   */
  finish(answer: Headers | null): readonly AnswerHeader[];
  /**
   * Called instead of `finish` if nobody will get the handler's answer. Ends the session that this request created or
   * rotated, because its token will reach nobody. This includes a `create` or `rotate` still in progress.
   *
   * @param keepsRotated `true` if `finish` will be called later with another response. A rotated session is then kept, and
   * its cookie is sent with that response. A session that was created ends in any case.
   */
  abandon(keepsRotated?: boolean): Promise<void>;
}

/**
 * Takes the `Cookie` header of a request and gives its session. Reads nothing from the backend by itself.
 *
 * @throws {TypeError} If the cookie's attributes contradict each other, or an option is unknown; for a request, if its
 * header is no text.
 */
export function sessionExchange<T, New>(
  store: SessionStore<T, New>,
  options: SessionExchangeOptions<NoInfer<T>> = {},
): (cookieHeader: string | null | undefined) => SessionExchange<T, New> {
  const begin = sharedExchange(store, options);
  return (cookieHeader) => begin(cookieHeader).join();
}

/** An exchange that several handlers of one request share. It is over when all of them have answered. */
export interface SharedExchange<T, New> {
  /** Adds a handler, whose answer is finished or abandoned by itself. */
  join(): SessionExchange<T, New>;
  /** Whether all handlers have answered. */
  isOver(): boolean;
}

/** `sessionExchange` for requests that several handlers may answer. */
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
    return cookie.write(token, isPersistent ? lastingSeconds(session) : undefined);
  }

  return (cookieHeader) => {
    if (typeof (cookieHeader ?? "") !== "string") {
      throw new TypeError(
        `Cannot read the session cookie as its header must be text: received ${kindOf(cookieHeader)}`,
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
    /** Handlers that have not answered, apart from those that run inside another one. */
    let running = 0;
    /** The lines of `Set-Cookie` that answers carry. */
    const carried: string[] = [];
    let isReported = false;

    function reportTwoCookies(): void {
      if (isReported || shared.token !== null) return;
      isReported = true;
      if (cookieValues(cookie.name, cookieHeader).length > 1) store["~twoCookies"]?.(cookie.name);
    }

    /** @param setCookie The value of `Set-Cookie` that this answer carries. */
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
      // The answer of a handler inside another one goes to that one, which then carries the cookie.
      const isInner = isInside(scope);
      if (!isInner) running++;
      let isRunning = true;
      let isUsed = false;
      let isPublic = false;
      let isLeftToOthers = isInner;
      let line: string | null = null;

      function use(): void {
        if (isUsed) return;
        if (isPublic) {
          throw new TypeError(
            "Cannot use the session for the first time after the response headers were sent: call get() before returning the stream, or send Cache-Control: private",
          );
        }
        isUsed = true;
        if (isInner) scope.isUsedInside = true;
        noteUse(scope);
        reportTwoCookies();
      }

      function end(): void {
        if (isRunning && !isInner) running--;
        isRunning = false;
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
          use,
        }),
        run: (handler) => runInside(scope, handler),
        settle: calls.settle,
        finish(answer) {
          if (answer === null) {
            const isLost = shared.issued !== null && !isInner && running === 1 && !isCarried();
            if (isLost) {
              throw new TypeError(
                "Cannot set the session cookie as the handler returned no response that could carry it",
              );
            }
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
          // Only an answer that follows can carry the cookie of a rotation that is still under way.
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

/** Seconds from the access that the session was just given to its deadline. */
function lastingSeconds({ deadline, lastAccessedAt }: Session<unknown>): number {
  const left = deadline === null ? MAX_AGE_SECONDS : Math.ceil((deadline.getTime() - lastAccessedAt.getTime()) / 1000);
  return Math.min(Math.max(left, 1), MAX_AGE_SECONDS);
}
