import type { IssuedSession, Session, SessionStore } from "../session.ts";
import type { SharedRequest } from "./shared-request.ts";

/** Follows the token that a request issued to the response that carries it, for one handler of the request. */
export interface Delivery<T> {
  /** Returns what the handler gets of a session that it issued: without a cookie also the token. */
  handOut(issued: IssuedSession<T>): IssuedSession<T> | Session<T>;
  /** Returns the `Set-Cookie` value for the handler's response; `null` if it sets no session cookie. */
  setCookie(): string | null;
  /** Whether the cookie is lost if the handler has no response. */
  needsResponse(): boolean;
  /** Notes that the handler's response is sent. */
  succeed(): void;
  /**
   * Notes that the handler's response is not sent, and ends the session that the request created or rotated, unless another
   * handler's response carries its token.
   *
   * @param keepsRotated Whether another response follows, which carries the cookie of a session that was only rotated.
   */
  fail(keepsRotated: boolean): Promise<void>;
}

/**
 * @param hasCookie Whether a cookie carries the token, and not the handler itself.
 * @param isInner Whether the handler runs inside another one of the same request, whose response then carries the cookie.
 */
export function tokenDelivery<T>(
  store: Pick<SessionStore<T, never>, "destroy">,
  shared: SharedRequest<T>,
  hasCookie: boolean,
  isInner: boolean,
): Delivery<T> {
  const { carried, token } = shared;
  let isLeftToOthers = isInner;
  /** The `Set-Cookie` value or bearer token that this handler's response carries. */
  let mine: string | null = null;
  /** The token that this handler got last. No other handler can send it. */
  let handedOut: string | null = null;

  function carry(value: string | null): void {
    if (mine !== null) carried.splice(carried.indexOf(mine), 1);
    mine = isInner ? null : value;
    if (mine !== null) carried.push(mine);
  }

  function isCarried(): boolean {
    const latest = hasCookie ? token.setCookie : token.issued;
    return latest !== null && carried.includes(latest);
  }

  const setCookie = (): string | null => (isLeftToOthers && !isInner ? null : token.setCookie);

  return {
    handOut(issued) {
      if (hasCookie) return issued.session;
      handedOut = issued.token;
      return issued;
    },
    setCookie,
    needsResponse: () =>
      token.issued !== null && token.setCookie !== null && !isInner && shared.running === 1 && !isCarried(),
    succeed: () => carry(hasCookie ? setCookie() : handedOut),
    async fail(keepsRotated) {
      carry(null);
      const isOnlyMine = handedOut !== null && handedOut === token.issued;
      isLeftToOthers = isCarried() || ((isInner || shared.running > 0) && !isOnlyMine);
      if (isLeftToOthers || (keepsRotated && hasCookie && token.issued !== null && !token.isNew)) return;
      const orphan = token.issued;
      token.issued = token.setCookie = null;
      if (orphan !== null) await store.destroy(orphan).catch(() => {});
    },
  };
}
