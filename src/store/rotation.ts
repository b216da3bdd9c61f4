import type { Written } from "../backend.ts";
import { callOptions } from "../base/checks.ts";
import { milliseconds, seconds } from "../base/durations.ts";
import { pause } from "../base/step.ts";
import { newSecret } from "../base/token.ts";
import { SessionBackendError, SessionDataError } from "../errors.ts";
import { changedCopy, reserved, type StoredSession, timeOf } from "../record.ts";
import type { SessionStore } from "../session.ts";
import { authentication } from "./authentication.ts";
import type { Decoder } from "./decoding.ts";
import type { Moves } from "./moves.ts";
import type { OpenRotations } from "./open-rotations.ts";
import type { PatchWriter } from "./patches.ts";
import { type OpenRotation, openRotation } from "./rollback.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Edit, Storage, WriteReply } from "./storage.ts";

/** The pause between two attempts to find out whether a rotation with a lost reply took effect. */
const RECONNECT_MS = 50;

/** Requests that were sent before a rotation arrive within seconds. Later, the old token is in the wrong hands. */
const MAX_GRACE_MS = 60_000;

/** Creates the `rotate` method of a store. */
export function rotation<T>(
  settings: Settings,
  { withToken }: Runner,
  storage: Storage,
  moves: Moves,
  { toHealed }: Decoder<T>,
  { apply }: PatchWriter<T>,
  rotations: OpenRotations,
): SessionStore<T>["rotate"] {
  const { emit } = settings;
  const { write } = storage;

  /**
   * Finds out whether a rotation took effect after its reply was lost with the connection: only then the new secret is
   * valid. Uses a write, because backends that wait for replicas do so only for writes.
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
        // Retries until the connection is back or the operation times out.
        await pause(RECONNECT_MS);
      }
    }
  }

  return async (token, given) => {
    const action = "rotate a session";
    const options = callOptions(action, given, ["signal", "patch", "idleTimeout", "authenticated", "grace"]);
    const { patch = {}, grace = 0, signal } = options;
    if (settings.plainIds)
      throw new TypeError(`Cannot ${action} as with plainIds the ID is the token: create a new session instead`);
    const idleTimeout =
      options.idleTimeout === undefined ? undefined : seconds(action, "idleTimeout", options.idleTimeout);
    const authenticated = authentication(action, options.authenticated, settings.time());
    const graceMs = milliseconds(action, "grace", grace, 0, Math.min(settings.idleTimeout * 1000 - 1, MAX_GRACE_MS));
    const changes = Object.entries({ patch: options.patch, idleTimeout, authenticated: options.authenticated })
      .filter(([, change]) => change !== undefined)
      .map(([name]) => name);
    if (graceMs > 0 && changes.length > 0) {
      throw new TypeError(
        `Cannot ${action} as grace excludes patch, idleTimeout and authenticated, so that the old token gets no new rights: received ${listOf(changes)}`,
      );
    }
    const secret = newSecret();
    let rotation: OpenRotation | undefined;
    try {
      const rotated = await withToken(action, token, { signal }, async (target) => {
        const next = { ...target, verifier: secret.verifier, previous: false, isInternal: true };
        let seen: StoredSession = { [reserved.verifier]: target.verifier as string };
        const open = openRotation(rotations, storage, moves, target, next);
        rotation = open;
        const along = {
          set: {
            [reserved.verifier]: secret.verifier,
            [reserved.previous]: target.verifier as string,
            ...(idleTimeout === undefined ? {} : { [reserved.idleTimeout]: String(idleTimeout) }),
            ...authenticated.set,
          },
          stamp: [reserved.rotatedAt, ...authenticated.stamp],
          ...(graceMs > 0 ? { remove: [], grace: graceMs } : { remove: [reserved.grace] }),
          // If the reply is lost, undoing the rotation needs the values that it replaced.
          reads:
            changes.length === 0
              ? undefined
              : (record: StoredSession) => {
                  seen = record;
                },
          sent: (reply: Promise<WriteReply>, { set, remove, stamp = [] }: Edit) =>
            open.sent(reply, { before: seen, after: changedCopy(seen, set, remove) }, [...stamp, reserved.grace]),
        };
        const rotating = apply({ ...target, previous: false }, patch, along);
        const written = await rotating.catch((error) => findRotated(next, error));
        try {
          const session = await toHealed(next, written?.after);
          return session && { session, at: new Date(timeOf(written?.after[reserved.rotatedAt])) };
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
      // Nobody receives the new token, so the old one must become valid again. The caller does not wait for that.
      rotation?.rollBack();
      throw error;
    }
  };
}

function listOf(names: readonly string[]): string {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? last : `${names.slice(0, -1).join(", ")} and ${last}`;
}
