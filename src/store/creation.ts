import { type Insertion, MIN_PRUNE_AGE_MS } from "../backend.ts";
import { noteChange } from "../base/changes.ts";
import { nullObject } from "../base/null-object.ts";
import { asUnknown } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionBackendError, SessionConflictError } from "../errors.ts";
import { indexName } from "../indexes/declarations.ts";
import type { LimitedWrite } from "../indexes/limits.ts";
import { MAX_WRITE_DELAY_MS, type Registry } from "../indexes/members.ts";
import { indexEntries, reserved, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { IssuedSession, StoreCreateOptions } from "../session.ts";
import { coverMs } from "./extension.ts";
import type { Runner, Target } from "./runner.ts";
import { readTimeouts, type Settings } from "./settings.ts";
import type { SizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";
import type { Storage } from "./storage.ts";

/** Attempts to find an unused session ID. Random IDs of 128 bits do not collide unless the generator is broken. */
const MAX_INSERTS = 3;
/** The lifetime of a session under a `reject` limit until its insert is confirmed. */
const UNCONFIRMED_MS = MAX_WRITE_DELAY_MS;

type Inserted = StoredSession | "taken" | "revoked";

/** A session whose token the caller does not have yet. */
interface Issued extends Pick<ParsedToken, "key" | "verifier"> {
  /** Whether the event `created` was emitted. */
  readonly isAnnounced: boolean;
}

/**
 * Creates the `create` method of a store.
 *
 * @param end Ends the session of a token.
 */
export function creation<T>(
  settings: Settings,
  { run }: Runner,
  { accessTo }: Storage,
  codec: Codec<T>,
  sizes: SizeLimit,
  registry: Registry,
  limitedWrite: LimitedWrite,
  end: (target: Target) => Promise<boolean>,
): (data: unknown, options?: StoreCreateOptions) => Promise<IssuedSession<T>> {
  const { backend, emit, time, tokens } = settings;
  const { indexes } = registry;

  /** Whether the backend accepts the token. A session whose data cannot be read can still be replaced. */
  async function isValid(target: Target): Promise<boolean> {
    const request = { touch: false, fields: [] };
    const access = accessTo({ ...target, unproven: true });
    const found = await target.step("reads", () => backend.read(target.key, access, request));
    return found === "invalid" || (typeof found === "object" && found !== null);
  }

  /**
   * Inserts a session. Under a `reject` limit it lives for half a minute at first, and its idle timeout begins with a touch:
   * if this process gives up in between, the session does not keep its place.
   */
  async function insert(
    step: Target["step"],
    { key, verifier }: Issued,
    record: StoredSession,
    entries: readonly string[],
    insertion: Insertion,
  ): Promise<Inserted> {
    const isShort = entries.some((entry) => indexes.limitOf(entry)?.whenFull === "reject");
    const life = isShort ? { lifeMs: UNCONFIRMED_MS } : {};
    const inserted = await step("writes", () => backend.insert(key, record, { ...insertion, ...life }, time()));
    if (!isShort || typeof inserted === "string") return inserted;
    const access = { verifier, previous: false, now: time() };
    const confirming = step("writes", () => backend.read(key, access, { touch: true, fields: [] }));
    const confirmed = await confirming.catch((error) => {
      throw asUnknown(error);
    });
    return typeof confirmed === "object" && confirmed !== null ? inserted : "revoked";
  }

  /** Ends a session whose token the caller does not receive, in the background. */
  async function discard({ key, verifier, isAnnounced }: Issued, [entry]: readonly string[]): Promise<void> {
    const now = time();
    // The tombstone stops an insert that is still on its way.
    const ending = { id: tokens.ofKey(key).id, cause: "destroyed" } as const;
    const revoked = await backend.revoke(key, entry ?? "", ending, MIN_PRUNE_AGE_MS, now);
    const access = { verifier, previous: false, now };
    // A session without index entries is none of the entry's.
    const ended = revoked === "other" ? await backend.remove(key, access, ending, []) : revoked;
    if (typeof ended !== "object" || ended === null) return;
    if (isAnnounced) emit({ type: "destroyed", id: ending.id, at: new Date(time()) });
    registry.forget(key, indexEntries(ended));
  }

  return async (data, options = {}) => {
    const action = "create a session";
    const { signal, replaces = null } = options;
    const { idleTimeout, absoluteTimeout } = readTimeouts(action, options, settings);
    const set = codec.encode(data);
    sizes.checkGiven(action, set);
    const stored = codec.decode(set);
    const entries = indexes.entriesOf(stored);
    const old = replaces === null ? null : tokens.read(replaces);
    let unreceived = null as Issued | null;
    try {
      return await run(action, null, signal, async (step) => {
        let isVerified = false;
        const replaced = async (): Promise<string | null> => {
          isVerified = old !== null && (await isValid({ ...old, step }));
          return isVerified && old !== null ? old.key : null;
        };
        for (let attempt = 0; attempt < MAX_INSERTS; attempt++) {
          const { token, key, id, verifier } = tokens.issue();
          const record: StoredSession = Object.assign(nullObject(), set, {
            [reserved.idleTimeout]: String(idleTimeout),
            ...(verifier === null ? {} : { [reserved.verifier]: verifier }),
            ...(entries.length === 0 ? {} : { [reserved.index]: JSON.stringify(entries) }),
          });
          const inserted = await limitedWrite(step, {
            action,
            key,
            entries,
            coverMs: coverMs(record),
            replaced,
            async write(entered) {
              unreceived = { key, verifier, isAnnounced: false };
              const absoluteMs = absoluteTimeout === undefined ? undefined : absoluteTimeout * 1000;
              const { covered, notAfter } = entered ?? {};
              try {
                const answer = await insert(step, unreceived, record, entries, { absoluteMs, covered, notAfter });
                if (typeof answer === "string") unreceived = null;
                return answer;
              } catch (error) {
                if (error instanceof SessionBackendError && error.outcome === "not-applied") unreceived = null;
                throw error;
              }
            },
            isWritten: (answer) => typeof answer === "object",
          });
          if (inserted === "revoked") {
            throw new SessionConflictError(revokedMessage(entries), { reason: "revoked" });
          }
          if (inserted === "taken") continue;
          const session = snapshot(id, { ...record, ...inserted }, stored);
          emit({ type: "created", id, at: session.createdAt });
          unreceived = { key, verifier, isAnnounced: true };
          // By its key, if its token was valid a moment ago: a rotation in between must not save it.
          const replacing = old === null ? null : { ...old, verifier: isVerified ? null : old.verifier, step };
          if (replacing !== null) {
            await end(replacing).catch((error) => {
              throw asUnknown(error);
            });
          }
          return { token, session };
        }
        const message = `Cannot create a session as ${MAX_INSERTS} new session IDs in a row were already in use`;
        throw new SessionConflictError(message, { reason: "contended" });
      });
    } catch (error) {
      if (unreceived !== null) discard(unreceived, entries).catch(() => {});
      throw error;
    } finally {
      if (old !== null) noteChange();
    }
  };
}

function revokedMessage(entries: readonly string[]): string {
  const names = [...new Set(entries.map(indexName))].map((name) => `"${name}"`);
  const where = names.length === 1 ? `the index ${names[0]}` : `one of the indexes ${names.join(", ")}`;
  return `Cannot create a session as sessions with the same value in ${where} were revoked concurrently`;
}
