import { seconds, wholeNumber } from "../base/checks.ts";
import { pause } from "../base/step.ts";
import { newSecret } from "../base/token.ts";
import { SessionBackendError, SessionDataError } from "../errors.ts";
import { changedCopy, reserved, type StoredSession, timeText } from "../record.ts";
import type { SessionStore } from "../session.ts";
import type { OpenRotations } from "./open-rotations.ts";
import type { PatchWriter } from "./patches.ts";
import { type OpenRotation, openRotation } from "./rollback.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Edit, Storage, WriteReply, Written } from "./storage.ts";

/** Between two attempts to learn what became of a rotation whose answer was lost. */
const RECONNECT_MS = 50;

/** The store's `rotate`. */
export function rotation<T>(
  settings: Settings,
  { withToken }: Runner,
  storage: Storage<T>,
  { apply }: PatchWriter<T>,
  rotations: OpenRotations,
): SessionStore<T>["rotate"] {
  const { emit, time } = settings;
  const { toSession, write } = storage;

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
    const isBare = options.patch === undefined && idleTimeout === undefined && !authenticated;
    const secret = newSecret();
    let rotation: OpenRotation | undefined;
    try {
      const rotated = await withToken(action, token, { signal }, async (target) => {
        const next = { ...target, verifier: secret.verifier, previous: false };
        const at = new Date(time());
        let seen: StoredSession = { [reserved.verifier]: target.verifier as string };
        const open = openRotation(rotations, storage, target, next);
        rotation = open;
        const along = {
          set: {
            [reserved.verifier]: secret.verifier,
            [reserved.previous]: target.verifier as string,
            [reserved.rotatedAt]: timeText(at.getTime()),
            ...(grace > 0 ? { [reserved.grace]: String(at.getTime() + grace * 1000) } : {}),
            ...(authenticated ? { [reserved.authenticatedAt]: timeText(at.getTime()) } : {}),
            ...(idleTimeout === undefined ? {} : { [reserved.idleTimeout]: String(idleTimeout) }),
          },
          remove: grace > 0 ? [] : [reserved.grace],
          // Should the reply be lost and the rotation be taken back, what else it changed has to be known.
          reads: isBare
            ? undefined
            : (record: StoredSession) => {
                seen = record;
              },
          sent: (reply: Promise<WriteReply>, { set, remove }: Edit) =>
            open.sent(reply, { before: seen, after: changedCopy(seen, set, remove) }),
        };
        const rotating = apply({ ...target, previous: false }, patch, along);
        const written = await rotating.catch((error) => findRotated(next, error));
        try {
          const session = await toSession(next, written?.after);
          return session && { session, at };
        } catch (error) {
          if (error instanceof SessionDataError) await target.step("writes", open.rollBack);
          throw error;
        }
      });
      rotation?.close();
      if (rotated === null) return null;
      emit({ type: "rotated", id: rotated.session.id, at: rotated.at });
      return { token: `${rotated.session.id}.${secret.text}`, session: rotated.session };
    } catch (error) {
      // A new token that nobody receives would end the session: the old one opens again. The caller does not wait.
      rotation?.rollBack();
      throw error;
    }
  };
}
