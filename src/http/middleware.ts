import { kindOf } from "../base/checks.ts";
import type { SessionStore } from "../session.ts";
import { discard, withHeaders } from "./answer.ts";
import { exchanges, type SessionExchange } from "./exchange.ts";
import { answerOf, type Given } from "./handler-answer.ts";
import type { SessionHttpOptions, SessionTransport } from "./options.ts";
import { webRequest } from "./request.ts";
import type { RequestSession } from "./request-session.ts";

/**
 * Runs a handler with the session of its request. A handler that upgrades a connection may return `undefined`. If the
 * handler throws a `Response`, the cookie and caching headers are added to it, and the response (or its copy) is thrown
 * again.
 *
 * @typeParam S The session for the handler.
 */
export type SessionMiddleware<S> = <Answer extends Response | undefined>(
  request: Request,
  handler: (session: S) => Answer | Promise<Answer>,
) => Promise<Answer | Response>;

/**
 * Creates a middleware for handlers of web-standard requests: `Bun.serve`, `Deno.serve`, route handlers, hooks.
 *
 * Only `create`, `rotate`, `destroy` and `destroyAll` set the session cookie, once per response. A touch does not set it,
 * and a token without a session does not clear it, so a late response does not overwrite a newer cookie. If the handler
 * itself sets a cookie with the same name, it is removed, unless it was issued for a request that the handler made within
 * this request.
 *
 * If headers have to be added, the response is copied, because a handler may return the same object many times. If the
 * handler throws an error that is not a `Response`, a session that it created or rotated is ended, because nobody can
 * receive its token. Handlers of the same `Request` that run at the same time share one session.
 *
 * @throws {TypeError} If the first argument is not a store, if an option is unknown or has the wrong type, or if options
 * contradict each other. For a request, if the handler returns neither a `Response` nor `undefined`, or if its response
 * cannot carry the cookie.
 */
export function sessionMiddleware<T, New, Index extends string = never, Transport extends SessionTransport = "cookie">(
  store: SessionStore<T, New, Index>,
  options: SessionHttpOptions<NoInfer<T>, Transport> = {},
): SessionMiddleware<RequestSession<T, New, Index, Transport>> {
  const begin = exchanges("create a session middleware", store, options);

  return async <Answer extends Response | undefined>(
    request: Request,
    handler: (session: RequestSession<T, New, Index, Transport>) => Answer | Promise<Answer>,
  ) => {
    const asked = webRequest(request);
    if (typeof handler !== "function") {
      throw new TypeError(
        `Cannot handle a request as the second argument must be a handler, a function of the session: received ${kindOf(handler)}`,
      );
    }
    const exchange = begin(asked, request);
    if (exchange.response !== null) return exchange.response;
    let given: Given<Answer | Response> | undefined;
    let answer: Answer | Response;
    try {
      given = await answerOf("the handler", () => exchange.run(() => handler(exchange.session)));
      const failure = await exchange.settle();
      if (failure !== null) throw failure.error;
      answer = await finished(exchange, given.answer);
    } catch (error) {
      if (given?.answer !== undefined) discard(given.answer);
      const own = await exchange.abandon(error);
      if (own === null) throw error;
      return own;
    }
    if (given.isThrown) throw answer;
    return answer;
  };
}

function finished<Answer extends Response | undefined>(
  { finish }: Pick<SessionExchange<unknown>, "finish">,
  answer: Answer,
): Answer | Response | Promise<Answer | Response> {
  // After an upgrade there is no response that a cache could store or that could carry a cookie.
  if (answer === undefined || answer.status === 101) {
    finish(null);
    return answer;
  }
  return withHeaders(answer, finish(answer.headers));
}
