import { sharedState } from "../base/shared-state.ts";
import { serially } from "../base/turns.ts";
import { beginScope, type Scope } from "./nesting.ts";
import type { SessionRequest } from "./request.ts";
import type { SharedToken } from "./request-methods.ts";

/** The state that the handlers of one request share. */
export interface SharedRequest<T> {
  readonly request: SessionRequest;
  /** The request header that may contain the token. */
  readonly header: string;
  readonly token: SharedToken<T>;
  readonly scope: Scope;
  /** The number of handlers that have not returned or failed yet, without those that run inside another one. */
  running: number;
  /** The session cookies in the responses of this request so far, as `Set-Cookie` values; or the bearer tokens. */
  readonly carried: string[];
  /** Whether `passive` applies to the request; `null` until it was called. */
  isPassive: boolean | null;
  /** Whether two values of the session cookie were reported. */
  isReported: boolean;
}

/** A request under way in one middleware. No other middleware may set the same cookie. */
interface UnderWay {
  /** The middleware. */
  readonly owner: object;
  readonly cookieName: string | null;
  readonly shared: SharedRequest<never>;
  readonly next: UnderWay | undefined;
}

const underWay = sharedState("requests", () => new WeakMap<object, UnderWay>());

export function newSharedRequest<T>(request: SessionRequest, header: string, token: string | null): SharedRequest<T> {
  return {
    request,
    header,
    token: { token, issued: null, isNew: false, setCookie: null, known: null, inTurn: serially() },
    scope: beginScope(),
    running: 0,
    carried: [],
    isPassive: null,
    isReported: false,
  };
}

/**
 * Returns the state of a request that other handlers of the same middleware are handling, or else the new one. A request with
 * another token is another request: a framework may use its request objects again.
 *
 * @param key The object that is the same for all handlers of a request.
 * @param header The request header that may contain the token.
 * @throws {TypeError} If another middleware with the same cookie is handling the request.
 */
export function shareRequest<T>(
  key: object,
  owner: object,
  cookieName: string | null,
  header: string,
  begin: () => SharedRequest<T>,
): SharedRequest<T> {
  const others = underWay.get(key);
  for (let one = others; one !== undefined; one = one.next) {
    if (one.shared.scope.isOver) continue;
    if (one.owner === owner) {
      if (one.shared.header === header) return one.shared as SharedRequest<T>;
      continue;
    }
    if (one.cookieName !== null && one.cookieName === cookieName) {
      throw new TypeError(
        `Cannot handle a request in two session middlewares at the same time as both use the cookie ${cookieName}: use one middleware, or give each its own cookie name`,
      );
    }
  }
  const shared = begin();
  underWay.set(key, { owner, cookieName, shared: shared as SharedRequest<never>, next: others });
  return shared;
}

/** Forgets the states of a request that are over. */
export function leaveRequest(key: object): void {
  let others = underWay.get(key);
  while (others?.shared.scope.isOver) others = others.next;
  // Many entries in a weak map make the garbage collector slow.
  if (others === undefined) underWay.delete(key);
  else underWay.set(key, others);
}
