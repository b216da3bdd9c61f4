import { SessionBackendError, SessionRequiredError } from "../errors.ts";
import type { IssuedSession, Session, SessionStore } from "../session.ts";
import { withHeaders } from "./answer.ts";
import { answerHeaders } from "./answer-headers.ts";
import { type AnswerHeader, isPrivate } from "./cache-headers.ts";
import { MAX_AGE_SECONDS } from "./cookie.ts";
import { cookieValues } from "./cookie-header.ts";
import { tokenDelivery } from "./delivery.ts";
import { answerOf } from "./handler-answer.ts";
import { endScope, isInside, noteUse, runInside } from "./nesting.ts";
import { type HttpSettings, readHttpOptions, type SessionHttpOptions, type SessionTransport } from "./options.ts";
import { refused } from "./own-answers.ts";
import { pendingCalls } from "./pending-calls.ts";
import { bearerToken, type SessionRequest, tokenHeader } from "./request.ts";
import { requestSession } from "./request-methods.ts";
import type { Issued, RequestSession } from "./request-session.ts";
import { leaveRequest, newSharedRequest, type SharedRequest, shareRequest } from "./shared-request.ts";

const NO_RESPONSE = "Cannot set the session cookie as the handler returned no response that could carry it";
const TOO_LATE =
  "Cannot use the session for the first time after the response headers were sent: call get() before returning the stream, or send Cache-Control: private";

/**
 * One request and its response, for adapters to frameworks without `Request` and `Response`.
 *
 * 1. If `response` is not `null`, send it and do not call the handler.
 * 2. Call the handler with `session`, inside `run` if requests may be nested.
 * 3. If the handler succeeds, await `settle`. If there is no failure, set the headers that `finish` returns.
 * 4. If the handler fails or `settle` returns a failure, await `abandon` with the error. Send the response that it returns;
 *    if it returns `null`, throw the error on.
 *
 * @typeParam S The session for the handler.
 */
export interface SessionExchange<S> {
  /** The session for the handler. */
  readonly session: S;
  /**
   * The response of the library itself, without any handler: 403 for an unsafe request from another origin. `null` if the
   * handler is to be called.
   */
  readonly response: Response | Promise<Response> | null;
  /**
   * Runs the handler. If an exchange inside the handler issues a session cookie, `finish` allows this cookie in the
   * response.
   */
  run<R>(handler: () => R): R;
  /**
   * Waits for calls on the session that are still in progress, so that a missing `await` loses no cookie. Never
   * rejects.
   *
   * @returns The first failure that no code has handled, for `abandon`; `null` if there is none.
   */
  settle(): Promise<{ readonly error: unknown } | null>;
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
   * Called instead of `finish` if the handler failed, or if its response is not sent. Ends the session that this request
   * created or rotated, because nobody receives its token. This includes a `create` or `rotate` still in progress. If the
   * library answers the error, it keeps a session that was only rotated, and the response sets its cookie.
   *
   * @returns The response to send, with all headers: 503 for a `SessionBackendError`, 401 for a `SessionRequiredError`, or
   * what `onBackendError` or `onUnauthenticated` returns. `null` for all other errors, and for a call that its own caller
   * aborted.
   */
  abandon(error?: unknown): Promise<Response | null>;
}

/**
 * Returns a function that begins the exchange of a request. It makes no backend call. Exchanges of the same request object
 * share one session.
 *
 * @throws {TypeError} If an option is unknown or has the wrong type, or if options contradict each other. The returned
 * function throws if the request has no `header` method, or if the header with the token is not a string.
 */
export function sessionExchange<T, New, Index extends string = never, Transport extends SessionTransport = "cookie">(
  store: SessionStore<T, New, Index>,
  options: SessionHttpOptions<NoInfer<T>, Transport> = {},
): (request: SessionRequest) => SessionExchange<RequestSession<T, New, Index, Transport>> {
  const begin = exchanges("create a session exchange", store, options);
  return (request) => begin(request, request);
}

/**
 * Like `sessionExchange`, for `sessionMiddleware`. The returned function also takes the object that is the same for all
 * handlers of a request.
 */
export function exchanges<T, New, Index extends string, Transport extends SessionTransport>(
  action: string,
  store: SessionStore<T, New, Index>,
  options: SessionHttpOptions<NoInfer<T>, Transport>,
): (request: SessionRequest, key: object) => SessionExchange<RequestSession<T, New, Index, Transport>> {
  const settings = readHttpOptions(action, store, options);
  const { cookie } = settings;

  return (request, key) => {
    const header = tokenHeader(request, cookie === null ? "Authorization" : "Cookie");
    const begin = () =>
      newSharedRequest<T>(request, header, cookie === null ? bearerToken(header) : cookie.read(header));
    if (!settings.passes(request)) return { ...exchange(store, settings, begin(), key), response: refused() };
    const shared = shareRequest(key, settings, cookie?.name ?? null, header, begin);
    return exchange(store, settings, shared, key);
  };
}

/** Adds a handler to a request. The request is over when all of its handlers have returned or failed. */
function exchange<T, New, Index extends string, Transport extends SessionTransport>(
  store: SessionStore<T, New, Index>,
  settings: HttpSettings<T>,
  shared: SharedRequest<T>,
  key: object,
): SessionExchange<RequestSession<T, New, Index, Transport>> {
  const { cookie, isPersistent, isPassive, onBackendError, onUnauthenticated } = settings;
  const { request, scope, token } = shared;
  const calls = pendingCalls();
  const isInner = isInside(scope);
  const delivery = tokenDelivery(store, shared, cookie !== null, isInner);
  if (!isInner) shared.running++;
  let isRunning = true;
  let isUsed = false;
  let isPublic = false;
  let over: AbortController | null = null;

  function use(): void {
    if (isUsed) return;
    if (isPublic) throw new TypeError(TOO_LATE);
    isUsed = true;
    if (isInner) scope.isUsedInside = true;
    noteUse(scope);
    if (cookie === null || shared.isReported || token.token !== null) return;
    shared.isReported = true;
    if (cookieValues(cookie.name, shared.header).length > 1) store["~twoCookies"]?.(cookie.name);
  }

  function end(): void {
    if (isRunning && !isInner) shared.running--;
    isRunning = false;
    over?.abort();
    calls.close();
    if (shared.running > 0) return;
    endScope(scope);
    leaveRequest(key);
  }

  function finish(answer: Headers | null): readonly AnswerHeader[] {
    if (answer === null) {
      if (delivery.needsResponse()) throw new TypeError(NO_RESPONSE);
      end();
      return [];
    }
    const isUsedHere = isUsed || scope.isUsedInside;
    const headers = answerHeaders(cookie, scope, answer, delivery.setCookie(), isUsedHere, token.issued !== null);
    delivery.succeed();
    isPublic = !isUsed && !isPrivate(answer);
    end();
    return headers;
  }

  async function drop(keepsRotated: boolean): Promise<void> {
    end();
    await delivery.fail(keepsRotated);
  }

  async function abandon(error?: unknown): Promise<Response | null> {
    const isRequired = error instanceof SessionRequiredError;
    // An abort by the program's own signal says nothing about the backend.
    if (!isRequired && !(error instanceof SessionBackendError && error.reason !== "aborted")) {
      await drop(false);
      return null;
    }
    // Wait for a rotation still in progress, so that the response carries its cookie.
    await calls.settle();
    await drop(true);
    try {
      const { answer } = isRequired
        ? await answerOf("onUnauthenticated", () => onUnauthenticated(request))
        : await answerOf("onBackendError", () => onBackendError(error, request));
      return await withHeaders(answer, finish(answer.headers));
    } catch (secondError) {
      await drop(false);
      throw secondError;
    }
  }

  function cookieFor({ token, session }: IssuedSession<T>): string | null {
    return cookie?.write(token, isPersistent(session) ? `${lastingSeconds(session)}s` : undefined) ?? null;
  }

  return {
    session: requestSession(store, token, {
      calls,
      clearedCookie: () => cookie?.clear() ?? null,
      cookieFor,
      handOut: (issued) => delivery.handOut(issued) as Issued<T, Transport>,
      isOver: () => !isRunning || scope.isOver,
      isPassive() {
        shared.isPassive ??= isPassive(request);
        return shared.isPassive;
      },
      overSignal() {
        over ??= new AbortController();
        return over.signal;
      },
      use,
    }),
    response: null,
    run: (handler) => runInside(scope, handler),
    settle: calls.settle,
    finish,
    abandon,
  };
}

/** Returns the seconds from the session's last access, which was just now, to its deadline. At most 400 days. */
function lastingSeconds({ deadline, lastAccessedAt }: Session<unknown>): number {
  const left = deadline === null ? MAX_AGE_SECONDS : Math.ceil((deadline.getTime() - lastAccessedAt.getTime()) / 1000);
  return Math.min(Math.max(left, 1), MAX_AGE_SECONDS);
}
