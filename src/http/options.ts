import { kindOf, knownOptions, ofType } from "../base/checks.ts";
import { ignore, isPromise } from "../base/promises.ts";
import type { SessionBackendError } from "../errors.ts";
import type { Session, SessionStore } from "../session.ts";
import { type CookieOptions, type SessionCookie, sessionCookie } from "./cookie.ts";
import { type CrossOriginProtection, crossOriginProtection } from "./cross-origin.ts";
import { unauthenticated, unavailable } from "./own-answers.ts";
import type { SessionRequest } from "./request.ts";

/** How the session token travels: in a cookie of the browser, or in the `Authorization` header of a program. */
export type SessionTransport = "cookie" | "bearer";

/** The type of an option that only the transport `cookie` has. */
export type WithCookie<Transport extends SessionTransport, Option> = Transport extends "bearer" ? undefined : Option;

/** Options for `sessionMiddleware` and `sessionExchange`. */
export interface SessionHttpOptions<in T = unknown, Transport extends SessionTransport = "cookie"> {
  /**
   * How the session token travels. Default: `cookie`. With `bearer`, requests carry it as `Authorization: Bearer <token>`
   * (RFC 6750), responses set no cookie, and `create` and `rotate` return it to the handler. Origins are not checked,
   * because browsers do not add this header by themselves.
   */
  readonly transport?: Transport | undefined;
  /** The session cookie. Not with `bearer`. */
  readonly cookie?: WithCookie<Transport, CookieOptions> | undefined;
  /**
   * Whether the cookie survives closing the browser. A function is called each time the cookie is written, so it also
   * applies after a rotation. A persistent cookie lasts until the session's deadline, at most 400 days. Default: false.
   * Not with `bearer`.
   */
  readonly persistent?: WithCookie<Transport, boolean | ((session: Session<T>) => boolean)> | undefined;
  /**
   * Whether unsafe cross-origin requests are answered with 403 before anything else, or which origins are exempt; see
   * `crossOriginProtection`. Default: true. Not with `bearer`.
   */
  readonly crossOriginProtection?: WithCookie<Transport, CrossOriginProtection> | undefined;
  /**
   * Whether a request does not keep its session alive, for example one of a page that polls: `get` and `require` then do
   * not restart the idle timeout; methods that change the session do. Called at most once per request, when the session is
   * read. If it throws or returns anything but a boolean, the read rejects with a `TypeError`. Default: no request.
   */
  readonly passive?: ((request: SessionRequest) => boolean) | undefined;
  /**
   * Called when the backend fails and the handler did not catch the error. Default: a 503 response with `Retry-After`.
   * The cookie rules are the same as for a handler's response. If the session was rotated before the failure, the
   * response gets the new cookie, so that the user stays logged in.
   */
  readonly onBackendError?:
    | ((error: SessionBackendError, request: SessionRequest) => Response | Promise<Response>)
    | undefined;
  /**
   * Called when `require` finds no session and the handler did not catch the error, for example to redirect to the login.
   * Default: a 401 response, with `WWW-Authenticate` for the transport `bearer`.
   */
  readonly onUnauthenticated?: ((request: SessionRequest) => Response | Promise<Response>) | undefined;
}

/** The options after validation, with defaults. */
export interface HttpSettings<T> {
  /** `null` with the transport `bearer`. */
  readonly cookie: SessionCookie | null;
  readonly isPersistent: (session: Session<T>) => boolean;
  /** Whether a request passes the cross-origin protection. */
  readonly passes: (request: SessionRequest) => boolean;
  readonly isPassive: (request: SessionRequest) => boolean;
  readonly onBackendError: (error: SessionBackendError, request: SessionRequest) => Response | Promise<Response>;
  readonly onUnauthenticated: (request: SessionRequest) => Response | Promise<Response>;
}

const NAMES = [
  "transport",
  "cookie",
  "persistent",
  "crossOriginProtection",
  "passive",
  "onBackendError",
  "onUnauthenticated",
] as const;

/**
 * Validates the arguments of `sessionMiddleware` and `sessionExchange`.
 *
 * @throws {TypeError} As documented there.
 */
export function readHttpOptions<T, Transport extends SessionTransport>(
  action: string,
  store: Pick<SessionStore<T, never>, "get" | "create">,
  options: SessionHttpOptions<T, Transport>,
): HttpSettings<T> {
  if (typeof store?.get !== "function" || typeof store.create !== "function") {
    throw new TypeError(
      `Cannot ${action} as its first argument must be a session store, the result of createSessionStore: received ${nameOf(store)}`,
    );
  }
  const given: SessionHttpOptions<T, SessionTransport> = knownOptions(action, options, NAMES);
  const {
    transport = "cookie",
    cookie,
    persistent = false,
    passive = () => false,
    onBackendError = unavailable,
  } = given;
  const isBearer = transport === "bearer";
  const {
    onUnauthenticated = (request: SessionRequest) =>
      unauthenticated(isBearer ? (request.header("authorization") ?? "") : null),
  } = given;
  if (!isBearer && transport !== "cookie") {
    throw new TypeError(`Cannot ${action} as transport must be "cookie" or "bearer": received ${nameOf(transport)}`);
  }
  for (const name of ["cookie", "persistent", "crossOriginProtection"] as const) {
    if (isBearer && given[name] !== undefined) {
      throw new TypeError(
        `Cannot ${action} as the option "${name}" needs a cookie: remove it, or the transport "bearer"`,
      );
    }
  }
  for (const [name, value] of Object.entries({ passive, onBackendError, onUnauthenticated })) {
    ofType(action, name, value, "function");
  }
  if (typeof persistent !== "boolean" && typeof persistent !== "function") {
    throw new TypeError(
      `Cannot ${action} as persistent must be true, false or a function: received ${kindOf(persistent)}`,
    );
  }
  return {
    cookie: isBearer ? null : sessionCookie(cookie),
    isPersistent: (session) =>
      typeof persistent === "function"
        ? booleanOf("set the session cookie", "persistent", persistent, session)
        : persistent,
    passes: crossOriginProtection(!isBearer && given.crossOriginProtection),
    isPassive: (request) => booleanOf("read the session", "passive", passive, request),
    onBackendError,
    onUnauthenticated,
  };
}

/** Calls an option that is a function, and returns its answer. */
function booleanOf<A>(action: string, option: string, call: (argument: A) => unknown, argument: A): boolean {
  let answer: unknown;
  try {
    answer = call(argument);
  } catch (cause) {
    throw new TypeError(`Cannot ${action} as the option ${option} threw an error`, { cause });
  }
  if (typeof answer === "boolean") return answer;
  ignore(answer);
  throw new TypeError(`Cannot ${action} as ${option} must return true or false: received ${nameOf(answer)}`);
}

function nameOf(value: unknown): string {
  return isPromise(value) ? "a promise" : kindOf(value);
}
