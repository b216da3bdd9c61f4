import { kindOf, knownOptions, ofType } from "../base/checks.ts";
import { SessionBackendError } from "../errors.ts";
import type { SessionStore } from "../session.ts";
import { discard, withHeaders } from "./answer.ts";
import { sessionCookie } from "./cookie.ts";
import { type CrossOriginProtection, crossOriginProtection } from "./cross-origin.ts";
import { type SessionExchange, type SessionExchangeOptions, type SharedExchange, sharedExchange } from "./exchange.ts";
import type { RequestSession } from "./request-session.ts";

/** Options for `sessionMiddleware`. */
export interface SessionMiddlewareOptions<in T = unknown> extends SessionExchangeOptions<T> {
  /**
   * Whether unsafe cross-origin requests are answered with 403 before anything else, or which origins are exempt; see
   * `crossOriginProtection`. Default true.
   */
  readonly crossOriginProtection?: CrossOriginProtection | undefined;
  /**
   * Called when the backend fails and the handler did not catch the error. Default: a 503 response with `Retry-After`.
   * The cookie rules are the same as for a handler's response. If the session was rotated before the failure, the
   * response gets the new cookie, so that the user stays logged in.
   */
  readonly onBackendError?:
    | ((error: SessionBackendError, request: Request) => Response | Promise<Response>)
    | undefined;
}

/**
 * Runs a handler with the session of its request. A handler that upgrades a connection may return `undefined`. If the
 * handler throws a `Response`, the cookie and caching headers are added to it, and the response (or its copy) is thrown
 * again.
 */
export type SessionMiddleware<T, New = T> = <Answer extends Response | undefined>(
  request: Request,
  handler: (session: RequestSession<T, New>) => Answer | Promise<Answer>,
) => Promise<Answer | Response>;

const RETRY_SECONDS = 5;

/**
 * Creates a middleware for handlers of web-standard requests: `Bun.serve`, `Deno.serve`, route handlers, hooks.
 *
 * Only `create`, `rotate` and `destroy` set the session cookie, once per response. A touch does not set it, and a token
 * without a session does not clear it, so a late response does not overwrite a newer cookie. If the handler itself sets
 * a cookie with the same name, it is removed, unless it was issued for a request that the handler made within this
 * request.
 *
 * If headers have to be added, the response is copied, because a handler may return the same object many times. If the
 * handler throws an error that is not a `Response`, a session that it created or rotated is ended, because nobody can
 * receive its token. Handlers of the same `Request` that run at the same time share one session.
 *
 * @throws {TypeError} If an option is unknown, or the attributes of the cookie contradict each other. For a request, if
 * the handler returns neither a `Response` nor `undefined`, or if its response cannot carry the cookie.
 */
export function sessionMiddleware<T, New>(
  store: SessionStore<T, New>,
  options: SessionMiddlewareOptions<NoInfer<T>> = {},
): SessionMiddleware<T, New> {
  const action = "create a session middleware";
  const {
    onBackendError = unavailable,
    cookie,
    persistent,
    crossOriginProtection: protection,
  } = knownOptions(action, options, ["cookie", "persistent", "crossOriginProtection", "onBackendError"]);
  ofType(action, "onBackendError", onBackendError, "function");
  const begin = sharedExchange(store, { cookie, persistent });
  const passes = crossOriginProtection(protection);
  const { name: cookieName } = sessionCookie(cookie);

  /** Returns `null` for a request that the cross-origin protection rejects. */
  function enter(request: Request): SessionExchange<T, New> | null {
    let header: string | null;
    try {
      if (!passes(request)) return null;
      header = request.headers.get("cookie");
    } catch (cause) {
      throw new TypeError("Cannot handle a request as its headers cannot be read", { cause });
    }
    const others = underWay.get(request);
    for (let one = others; one !== undefined; one = one.next) {
      if (one.exchange.isOver()) continue;
      if (one.begin === begin) return (one.exchange as SharedExchange<T, New>).join();
      if (one.cookieName === cookieName) {
        throw new TypeError(
          `Cannot handle a request in two session middlewares at the same time as both use the cookie ${cookieName}: use one middleware, or give each its own cookie name`,
        );
      }
    }
    const exchange = begin(header);
    underWay.set(request, { begin, cookieName, exchange, next: others });
    return exchange.join();
  }

  function leave(request: Request): void {
    let others = underWay.get(request);
    while (others?.exchange.isOver()) others = others.next;
    // Many entries in a weak map make the garbage collector slow.
    if (others === undefined) underWay.delete(request);
    else underWay.set(request, others);
  }

  return async <Answer extends Response | undefined>(
    request: Request,
    handler: (session: RequestSession<T, New>) => Answer | Promise<Answer>,
  ) => {
    const exchange = enter(request);
    if (exchange === null) return refused();
    let given: Given<Answer | Response> | undefined;
    let answer: Answer | Response;
    try {
      given = await answerOf("the handler", () => exchange.run(() => handler(exchange.session)));
      const failure = await exchange.settle();
      if (failure !== null) throw failure.error;
      answer = await finished(exchange, given.answer);
    } catch (error) {
      if (given?.answer !== undefined) discard(given.answer);
      // An abort by the program's own signal says nothing about the backend.
      const isBackendError = error instanceof SessionBackendError && error.reason !== "aborted";
      await exchange.abandon(isBackendError);
      if (!isBackendError) throw error;
      try {
        given = await answerOf<Response>("onBackendError", () => onBackendError(error, request));
        answer = await finished(exchange, given.answer);
      } catch (secondError) {
        await exchange.abandon();
        throw secondError;
      }
    } finally {
      leave(request);
    }
    if (given.isThrown) throw answer;
    return answer;
  };
}

/** A request that is being handled. Its handlers share a session, and no other middleware may set the same cookie. */
interface Handling {
  readonly begin: unknown;
  readonly cookieName: string;
  readonly exchange: Pick<SharedExchange<never, never>, "isOver">;
  readonly next: Handling | undefined;
}

const underWay = new WeakMap<Request, Handling>();

interface Given<Answer> {
  readonly answer: Answer;
  readonly isThrown: boolean;
}

/**
 * Returns the response of a handler. A `Response` that it throws counts as well: React Router throws redirects.
 *
 * @param who The function that is called, for the error message. Only a handler may return `undefined`.
 */
async function answerOf<Answer extends Response | undefined>(
  who: "the handler" | "onBackendError",
  handler: () => Answer | Promise<Answer>,
): Promise<Given<Answer | Response>> {
  let answer: Answer;
  try {
    answer = await handler();
  } catch (error) {
    if (isResponse(error)) return { answer: error, isThrown: true };
    throw error;
  }
  if (isResponse(answer) || (answer === undefined && who === "the handler")) return { answer, isThrown: false };
  const allowed = who === "the handler" ? "a Response, or undefined after an upgrade" : "a Response";
  throw new TypeError(`Cannot answer a request as ${who} must return ${allowed}: received ${kindOf(answer)}`);
}

/**
 * Whether the value is a `Response`. Those of @hono/node-server, of srvx and of other realms are not instances of the
 * global class.
 */
function isResponse(value: unknown): value is Response {
  return Object.prototype.toString.call(value) === "[object Response]";
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

function refused(): Response {
  return plain("Cross-origin request refused", 403);
}

function unavailable(): Response {
  return plain("Service Unavailable", 503, { "retry-after": String(RETRY_SECONDS) });
}

/** Creates a response with the content type of plain text, which Bun does not add. */
function plain(text: string, status: number, headers: Readonly<Record<string, string>> = {}): Response {
  const common = { "content-type": "text/plain;charset=UTF-8", "cache-control": "no-store" };
  return new Response(text, { status, headers: { ...common, ...headers } });
}
