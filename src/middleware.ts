import { withHeaders } from "./answer.ts";
import { sessionCookie } from "./cookie.ts";
import { type CrossOriginProtection, crossOriginProtection } from "./cross-origin.ts";
import { SessionBackendError } from "./errors.ts";
import { type RequestSession, type SessionExchange, type SessionExchangeOptions, sessionExchange } from "./exchange.ts";
import { kindOf, knownOptions } from "./options.ts";
import type { SessionStore } from "./session.ts";

/** Of `sessionMiddleware`. */
export interface SessionMiddlewareOptions<in T = unknown> extends SessionExchangeOptions<T> {
  /**
   * Answers 403 to requests that other origins send with a method that may change something, before anything else; see
   * `crossOriginProtection`. Default true; or the origins that may.
   */
  readonly crossOriginProtection?: CrossOriginProtection | undefined;
  /** Takes the place of the answer 503 with `Retry-After` when the backend fails and the handler did not deal with it. */
  readonly onBackendError?:
    | ((error: SessionBackendError, request: Request) => Response | Promise<Response>)
    | undefined;
}

/** Runs a handler with the session of its request. A handler that upgrades a connection may answer `undefined`. */
export type SessionMiddleware<T, New = T> = <Answer extends Response | undefined>(
  request: Request,
  handler: (session: RequestSession<T, New>) => Answer | Promise<Answer>,
) => Promise<Answer | Response>;

const RETRY_SECONDS = 5;

/**
 * Sessions for handlers of web-standard requests: `Bun.serve`, `Deno.serve`, route handlers, hooks.
 *
 * The session cookie is set on `create`, `rotate` and `destroy` only, once per answer. It is never set by a touch and
 * never cleared because its session is unknown, so that a late answer does not overwrite a newer cookie. A cookie of its
 * name that the handler sets by itself does not go out. If the handler throws, a session that it created or rotated is
 * ended, as nobody can receive its token.
 *
 * @throws {TypeError} If the cookie's attributes contradict each other, or an option is unknown.
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
  if (typeof onBackendError !== "function") {
    throw new TypeError(`Cannot ${action} as onBackendError must be a function: received ${kindOf(onBackendError)}`);
  }
  const { name } = sessionCookie(cookie);
  const inside = requestsWith(name);
  const exchangeOf = sessionExchange(store, { cookie, persistent });
  const passes = crossOriginProtection(protection);

  /** `null` for a request that does not pass. */
  function begin(request: Request): SessionExchange<T, New> | null {
    let header: string | null;
    try {
      if (!passes(request)) return null;
      header = request.headers.get("cookie");
    } catch (cause) {
      throw new TypeError("Cannot handle a request as its headers cannot be read", { cause });
    }
    return exchangeOf(header);
  }

  return async (request, handler) => {
    const exchange = begin(request);
    if (exchange === null) return refused();
    if (inside.has(request)) {
      throw new TypeError(
        `Cannot handle a request by two session middlewares inside each other with the cookie ${name}`,
      );
    }
    inside.add(request);
    try {
      const answer = await handler(exchange.session);
      if (answer === undefined) {
        await exchange.abandon();
        return answer;
      }
      return await withHeaders(answer, exchange.finish(answer.headers));
    } catch (error) {
      await exchange.abandon();
      if (error instanceof SessionBackendError) return await onBackendError(error, request);
      throw error;
    } finally {
      inside.delete(request);
    }
  };
}

function refused(): Response {
  return plain("Cross-origin request refused", 403);
}

function unavailable(): Response {
  return plain("Service Unavailable", 503, { "retry-after": String(RETRY_SECONDS) });
}

/** Bun gives a text no type of its own. */
function plain(text: string, status: number, headers: Readonly<Record<string, string>> = {}): Response {
  const common = { "content-type": "text/plain;charset=UTF-8", "cache-control": "no-store" };
  return new Response(text, { status, headers: { ...common, ...headers } });
}

/** By cookie name, the requests that are in a middleware: two of them on one cookie would set it twice. */
const entered = new Map<string, WeakSet<Request>>();

function requestsWith(cookieName: string): WeakSet<Request> {
  const requests = entered.get(cookieName) ?? new WeakSet();
  entered.set(cookieName, requests);
  return requests;
}
