import { seconds, wholeNumber } from "../base/checks.ts";
import { pause } from "../base/step.ts";
import { newSecret } from "../base/token.ts";
import { SessionBackendError } from "../errors.ts";
import { reserved, timeText } from "../record.ts";
import type { SessionStore } from "../session.ts";
import type { PatchWriter } from "./patches.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import { type Storage, undoing, type Written } from "./storage.ts";

/** Between two attempts to learn what became of a rotation whose answer was lost. */
const RECONNECT_MS = 50;

/** The store's `rotate`. */
export function rotation<T>(
  settings: Settings,
  { withToken }: Runner,
  { toSession, write }: Storage<T>,
  { apply }: PatchWriter<T>,
): SessionStore<T>["rotate"] {
  const { emit, time } = settings;

  /**
   * A rotation whose answer was lost with the connection has happened if the new secret opens. Written by it again, as
   * backends that confirm do so for writes only.
   */
  async function findRotated(rotated: Target, lost: unknown): Promise<Written> {
    const isLost = lost instanceof SessionBackendError && lost.outcome === "unknown" && lost.reason === "unavailable";
    if (!isLost) throw lost;
    const again = { set: { [reserved.verifier]: rotated.verifier as string }, remove: [] };
    for (;;) {
      try {
        const written = await write(rotated, again);
        if (written === null || written === "changed") throw lost;
        return written;
      } catch (error) {
        const isAway = error instanceof SessionBackendError && error.reason === "unavailable" && error !== lost;
        if (!isAway) throw lost;
        // Until the connection is back, or the operation's time is over.
        await pause(RECONNECT_MS);
      }
    }
  }

  return async (token, options = {}) => {
    const action = "rotate a session";
    const { patch = {}, idleTimeout, authenticated = false, grace = 0, signal } = options;
    if (settings.plainIds) throw new TypeError(`Cannot ${action} as with plainIds its key is the token: use create`);
    if (idleTimeout !== undefined) seconds(action, "idleTimeout", idleTimeout);
    wholeNumber(action, "grace", grace, 0, (idleTimeout ?? settings.idleTimeout) - 1);
    if (authenticated && grace > 0) throw new TypeError(`Cannot ${action} as a login must not have a grace`);
    return await withToken(action, token, { signal }, async (target) => {
      const secret = newSecret();
      const rotated = { ...target, verifier: secret.verifier };
      const at = new Date(time());
      const rotating = apply({ ...target, previous: false }, patch, {
        set: {
          [reserved.verifier]: secret.verifier,
          [reserved.previous]: target.verifier as string,
          ...(grace > 0 ? { [reserved.grace]: String(at.getTime() + grace * 1000) } : {}),
          ...(authenticated ? { [reserved.authenticatedAt]: timeText(at.getTime()) } : {}),
          ...(idleTimeout === undefined ? {} : { [reserved.idleTimeout]: String(idleTimeout) }),
        },
        remove: grace > 0 ? [] : [reserved.grace],
      });
      const written = await rotating.catch((error) => findRotated({ ...rotated, previous: false }, error));
      if (written === null) return null;
      try {
        const session = await toSession(rotated, written.after);
        if (session === null) return null;
        emit({ type: "rotated", id: target.id, at });
        return { token: `${target.id}.${secret.text}`, session };
      } catch (error) {
        // A new token that nobody receives would end the session: the old one opens again.
        await write(rotated, undoing(written));
        throw error;
      }
    });
  };
}
