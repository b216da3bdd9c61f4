import { type Insertion, MIN_PRUNE_AGE } from "../backend.ts";
import { noteChange } from "../base/changes.ts";
import { callOptions } from "../base/checks.ts";
import { nullObject, ownProperty } from "../base/null-object.ts";
import { ignore, isPromise } from "../base/promises.ts";
import { asUnknown } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import type { StoreCreateOptions } from "../call-options.ts";
import type { SessionPatch } from "../data.ts";
import { SessionBackendError, SessionConflictError } from "../errors.ts";
import { indexName } from "../indexes/declarations.ts";
import type { LimitedWrite } from "../indexes/limits.ts";
import { MAX_WRITE_DELAY_MS, type Registry } from "../indexes/members.ts";
import { indexEntries, reserved, type StoredSession } from "../record.ts";
import type { Codec } from "../schema/codec.ts";
import type { IssuedSession } from "../session.ts";
import { authentication } from "./authentication.ts";
import type { Decoder } from "./decoding.ts";
import { coverMs } from "./extension.ts";
import { MAX_ATTEMPTS, type PatchWriter } from "./patches.ts";
import type { createReplacement, Replacement } from "./replacement.ts";
import type { Runner, Target } from "./runner.ts";
import { readTimeouts, type Settings } from "./settings.ts";
import type { SizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";

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

/** The data of a new session: validated, and as text. */
interface Draft<T> {
  readonly set: StoredSession;
  readonly data: T;
  readonly entries: readonly string[];
}

const ACTION = "create a session";
const OPTIONS = ["signal", "authenticated", "idleTimeout", "absoluteTimeout", "replaces"] as const;

/** Returns the data of a new session from that of the session that it replaces. */
type DataFunction<T> = (previous: T | null) => unknown;

/** Creates the `create` method of a store. */
export function creation<T>(
  settings: Settings,
  { run }: Runner,
  codec: Codec<T>,
  sizes: SizeLimit,
  registry: Registry,
  limitedWrite: LimitedWrite,
  { toSession }: Decoder<T>,
  { apply }: PatchWriter<T>,
  replacement: ReturnType<typeof createReplacement<T>>,
): (input: unknown, options?: StoreCreateOptions) => Promise<IssuedSession<T>> {
  const { backend, emit, time, tokens } = settings;
  const { indexes } = registry;

  function draftBy(call: DataFunction<T> | null, previous: T | null): Draft<T> {
    const given = call?.(previous);
    if (isPromise(given)) {
      ignore(given);
      throw new TypeError(`Cannot ${ACTION} as the function must return the data: received a promise`);
    }
    return draftOf(given);
  }

  function draftOf(given: unknown): Draft<T> {
    const { set, data } = codec.encode(given);
    sizes.checkGiven(ACTION, set);
    return { set, data, entries: indexes.entriesOf(data) };
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
    const life = isShort ? { life: UNCONFIRMED_MS } : {};
    const inserted = await step("writes", () => backend.insert(key, record, { ...insertion, ...life }, time()));
    if (!isShort || typeof inserted === "string") return inserted;
    const access = { verifier, previous: false, now: time() };
    const confirming = step("writes", () => backend.touch(key, access));
    const confirmed = await confirming.catch((error) => {
      throw asUnknown(error);
    });
    return typeof confirmed === "object" && confirmed !== null ? { ...inserted, ...confirmed } : "revoked";
  }

  /** Ends a session whose token the caller does not receive, in the background. */
  async function discard({ key, verifier, isAnnounced }: Issued, [entry]: readonly string[]): Promise<void> {
    const now = time();
    // The tombstone stops an insert that is still on its way.
    const ending = { id: tokens.ofKey(key).id, cause: "destroyed" } as const;
    const revoked = await backend.revoke(key, entry ?? "", ending, MIN_PRUNE_AGE, now);
    const access = { verifier, previous: false, now };
    // A session without index entries is none of the entry's.
    const ended = revoked === "other" ? await backend.remove(key, access, ending, []) : revoked;
    if (typeof ended !== "object" || ended === null) return;
    if (isAnnounced) emit({ type: "destroyed", id: ending.id, at: new Date(time()) });
    registry.forget(key, indexEntries(ended));
  }

  return async (input, given) => {
    const options = callOptions(ACTION, given, OPTIONS);
    const { signal, replaces = null } = options;
    const { idleTimeout, absoluteTimeout } = readTimeouts(ACTION, options, settings);
    const authenticated = authentication(ACTION, options.authenticated, time());
    const call = typeof input === "function" ? (input as DataFunction<T>) : null;
    let draft = call === null ? draftOf(input) : null;
    const old = replaces === null ? null : tokens.read(replaces);
    let unreceived = null as Issued | null;

    /** Inserts the session under a new ID. */
    async function issue(step: Target["step"], replaced: Replacement<T>, { set, data, entries }: Draft<T>) {
      for (let attempt = 0; attempt < MAX_INSERTS; attempt++) {
        const { token, key, id, verifier } = tokens.issue();
        const record: StoredSession = Object.assign(nullObject(), set, {
          [reserved.idleTimeout]: String(idleTimeout),
          ...(settings.version === 1 ? {} : { [reserved.version]: String(settings.version) }),
          ...(verifier === null ? {} : { [reserved.verifier]: verifier }),
          ...(entries.length === 0 ? {} : { [reserved.index]: JSON.stringify(entries) }),
          ...(options.absoluteTimeout === undefined ? {} : { [reserved.ownDeadline]: "1" }),
          ...authenticated.set,
        });
        const inserted = await limitedWrite(step, {
          action: ACTION,
          key,
          entries,
          coverMs: coverMs(record),
          replaced: replaced.key,
          async write(entered) {
            unreceived = { key, verifier, isAnnounced: false };
            const absolute = absoluteTimeout === undefined ? undefined : absoluteTimeout * 1000;
            const { covered, notAfter } = entered ?? {};
            const { stamp } = authenticated;
            try {
              const answer = await insert(step, unreceived, record, entries, { absolute, covered, notAfter, stamp });
              if (typeof answer === "string") unreceived = null;
              return answer;
            } catch (error) {
              if (error instanceof SessionBackendError && error.outcome === "not-applied") unreceived = null;
              throw error;
            }
          },
          isWritten: (answer) => typeof answer === "object",
        });
        if (inserted === "revoked") throw new SessionConflictError(revokedMessage(entries), { reason: "revoked" });
        if (inserted === "taken") continue;
        const session = snapshot(id, { ...record, ...inserted }, data);
        emit({ type: "created", id, at: session.createdAt });
        unreceived = { key, verifier, isAnnounced: true };
        return { token, session, target: { id, key, verifier, previous: false, isInternal: true, step } };
      }
      const message = `Cannot ${ACTION} as ${MAX_INSERTS} new session IDs in a row were already in use`;
      throw new SessionConflictError(message, { reason: "contended" });
    }

    try {
      return await run(ACTION, null, signal, async (step) => {
        const replaced = replacement(step, old);
        const made = draft ?? draftBy(call, await replaced.previous());
        draft = made;
        const { token, session, target } = await issue(step, replaced, made);
        const replace = async (): Promise<IssuedSession<T>> => {
          let issued = { token, session };
          let written = made;
          for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
            if ((await replaced.end()) !== "changed") return issued;
            const previous = await replaced.previous();
            // It ended or cannot be read any more, so the new session keeps what was read before.
            if (previous === null) continue;
            const next = draftBy(call, previous);
            const patch = difference(written, next);
            written = next;
            if (Object.keys(patch).length === 0) continue;
            const changed = toSession(target, (await apply(target, patch as SessionPatch<T>))?.after);
            if (changed === null) throw new SessionConflictError(revokedMessage(next.entries), { reason: "revoked" });
            issued = { token, session: changed };
          }
          const times = `${MAX_ATTEMPTS} times in a row`;
          throw new SessionConflictError(
            `Cannot ${ACTION} as the session that it replaces was changed concurrently ${times}`,
            { reason: "contended" },
          );
        };
        return await replace().catch((error) => {
          throw asUnknown(error);
        });
      });
    } catch (error) {
      if (unreceived !== null) discard(unreceived, draft?.entries ?? []).catch(() => {});
      throw error;
    } finally {
      if (old !== null) noteChange();
    }
  };
}

/** Returns the fields of the new data whose texts differ, as a patch. */
function difference(before: Draft<unknown>, { set, data }: Draft<unknown>): Record<string, unknown> {
  const patch = nullObject<unknown>();
  for (const name of Object.keys({ ...before.set, ...set })) {
    if (before.set[name] !== set[name]) patch[name] = set[name] === undefined ? undefined : ownProperty(data, name);
  }
  return patch;
}

function revokedMessage(entries: readonly string[]): string {
  const names = [...new Set(entries.map(indexName))].map((name) => `"${name}"`);
  const where = names.length === 1 ? `the index ${names[0]}` : `one of the indexes ${names.join(", ")}`;
  return `Cannot create a session as sessions with the same value in ${where} were revoked concurrently, or as it took more than 30 seconds`;
}
