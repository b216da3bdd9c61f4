import { seconds, wholeNumber } from "../base/checks.ts";
import { nullObject } from "../base/null-object.ts";
import { pause } from "../base/step.ts";
import { newSecret } from "../base/token.ts";
import type { NewSession, PatchInput, SessionPatch, SessionSchema } from "../data.ts";
import { SessionBackendError, SessionConflictError, SessionDataError } from "../errors.ts";
import { indexesOf } from "../indexes/declarations.ts";
import { limitedInsert } from "../indexes/limits.ts";
import { registryOf } from "../indexes/members.ts";
import { indexEntries, reserved, type StoredSession, timeText } from "../record.ts";
import { codecOf } from "../schema/codec.ts";
import { planSchema } from "../schema/fields.ts";
import type { CallOptions, CreateOptions, IssuedSession, RotateOptions, SessionStore } from "../session.ts";
import type { SessionStoreOptions } from "../store-options.ts";
import { collectionOf } from "./bulk.ts";
import { updatesOf } from "./patches.ts";
import { operationsOf, type Target } from "./runner.ts";
import { checkTimeouts, readOptions } from "./settings.ts";
import { recordsOf, sessionOf, UNLIMITED_SECONDS, undoing, type Written } from "./storage.ts";

/** Of a new id: 128 random bits do not collide, so a generator that repeats itself is broken. */
const MAX_INSERTS = 3;
/** Between two attempts to learn what became of a rotation whose answer was lost. */
const RECONNECT_MS = 50;

/**
 * Makes a store. The types of data and of what `create` takes follow from the schema.
 *
 * @throws {TypeError} If the schema cannot be stored, or an option is unknown or of the wrong type.
 * @throws {RangeError} If a timeout is no positive whole number, the idle timeout exceeds the absolute one, or the touch
 * interval is not below the idle timeout.
 */
export function createSessionStore<T extends object, In, Index extends string = never>(
  options: SessionStoreOptions<T, In, Index>,
): SessionStore<T, NewSession<SessionSchema<T, In>>, Index> {
  const settings = readOptions(options);
  const { backend, emit, time, tokens } = settings;
  const plan = planSchema(settings.schema);
  const codec = codecOf<T>(plan);
  const indexes = indexesOf(plan, settings.indexes, settings.limits);
  const registry = registryOf(settings, indexes);
  const insert = limitedInsert(settings, registry);
  const records = recordsOf(settings, codec, registry);
  const { accessTo, present, read, readAndTouch, settle, write } = records;
  const updates = updatesOf(records, codec, indexes.sources, plan.refined || settings.migrate !== undefined);
  const { apply, compareAndSet } = updates;
  const operations = operationsOf(settings);
  const { run, withToken } = operations;

  async function create(data: unknown, options: CreateOptions = {}): Promise<IssuedSession<T>> {
    const action = "create a session";
    const { idleTimeout = settings.idleTimeout, signal } = options;
    const unlimited = indexes.sources.size === 0 ? undefined : Math.max(UNLIMITED_SECONDS, idleTimeout);
    const { absoluteTimeout = settings.absoluteTimeout ?? unlimited } = options;
    checkTimeouts(action, idleTimeout, absoluteTimeout);
    const set = codec.encode(data);
    const stored = codec.decode(set);
    const entries = indexes.entriesOf(stored);
    return await run(action, null, signal, async (step) => {
      for (let attempt = 0; attempt < MAX_INSERTS; attempt++) {
        const { token, key, id, verifier } = tokens.issue();
        const now = time();
        const at = new Date(now);
        const record: StoredSession = Object.assign(nullObject(), set, {
          [reserved.createdAt]: timeText(now),
          [reserved.lastAccessedAt]: timeText(now),
          [reserved.idleTimeout]: String(idleTimeout),
          ...(absoluteTimeout === undefined ? {} : { [reserved.deadline]: String(now + absoluteTimeout * 1000) }),
          ...(verifier === null ? {} : { [reserved.verifier]: verifier }),
          ...(entries.length === 0 ? {} : { [reserved.index]: JSON.stringify(entries) }),
        });
        const inserted = await insert(step, key, entries, (absoluteTimeout ?? 0) * 1000, (notAfter) =>
          step("writes", () => backend.insert(key, record, now, notAfter)),
        );
        if (inserted === "revoked") {
          throw new SessionConflictError("Cannot create a session as those of an index value were revoked", "revoked");
        }
        if (inserted === "taken") continue;
        emit({ type: "created", id, at });
        return { token, session: sessionOf(id, record, stored) };
      }
      throw new SessionConflictError("Cannot create a session as every new id is taken already", "contended");
    });
  }

  async function increment(token: string, field: string, by = 1, options?: CallOptions): Promise<number | null> {
    const action = "increment a field of a session";
    const counter = plan.fields.get(field)?.counter;
    if (!counter) throw new TypeError(`Cannot ${action} as the schema has no plain number field of this name`);
    wholeNumber(action, "by", by, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    const refuse = (code: string): never => {
      const issue = { code, path: [field], message: "The sum is not allowed" };
      throw new SessionDataError(`Cannot ${action} as it does not fit the schema: ${field}: ${code}`, [issue], {
        origin: code === "invalid_type" ? "stored" : "given",
      });
    };
    return await withToken(action, token, options, async (target) => {
      const from = codec.absent(field);
      if (counter.complete && !plan.refined && !indexes.sources.has(field) && Number.isSafeInteger(from)) {
        const change = { field, by, from, min: counter.min, max: counter.max };
        const call = () => backend.increment(target.key, accessTo(target), change);
        const sum = present(target, await target.step("writes", call));
        return typeof sum === "string" ? refuse(sum) : sum;
      }
      let sum = Number.NaN;
      const written = await compareAndSet(target, (data) => {
        const held = (data as Record<string, unknown>)[field] ?? from;
        sum = Number(held) + by;
        if (!Number.isSafeInteger(held)) refuse("invalid_type");
        if (!Number.isSafeInteger(sum)) refuse(by < 0 ? "too_small" : "too_big");
        return { [field]: sum } as SessionPatch<T>;
      });
      return written && sum;
    });
  }

  async function take(token: string, field: string, options?: CallOptions): Promise<unknown> {
    const action = "take a field of a session";
    if (!plan.fields.get(field)?.removable) {
      throw new TypeError(`Cannot ${action} as the schema has no optional field of this name`);
    }
    return await withToken(action, token, options, async (target) => {
      const written = await apply(target, { [field]: undefined } as SessionPatch<T>);
      const text = written?.before[field];
      if (text === undefined) return null;
      try {
        return codec.decodeField(field, text);
      } catch (error) {
        // What cannot be handed over must not be lost either.
        const back = { set: { [field]: text }, remove: [], expect: { [field]: null } };
        await write(target, back);
        throw error;
      }
    });
  }

  async function rotate(token: string, options: RotateOptions<T> = {}): Promise<IssuedSession<T> | null> {
    const action = "rotate a session";
    const { patch = {}, idleTimeout, authenticated = false, grace = 0, signal } = options;
    if (settings.bareIds) throw new TypeError(`Cannot ${action} as with bareIds its key is the token: use create`);
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
        const session = await settle(rotated, written.after);
        if (session === null) return null;
        emit({ type: "rotated", id: target.id, at });
        return { token: `${target.id}.${secret.text}`, session };
      } catch (error) {
        // A new token that nobody receives would end the session: the old one opens again.
        await write(rotated, undoing(written));
        throw error;
      }
    });
  }

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

  const store = {
    create,
    async get(token: string, options?: CallOptions) {
      return await withToken("get a session", token, options, async (target) =>
        settle(target, await readAndTouch(target)),
      );
    },
    async peek(token: string, options?: CallOptions) {
      return await withToken("peek at a session", token, options, async (target) =>
        settle(target, await read(target, false, settings.touchInterval * 1000)),
      );
    },
    async update(token: string, patch: PatchInput<T>, options?: CallOptions) {
      return await withToken("update a session", token, options, async (target) => {
        const written = await apply(target, patch);
        return await settle(target, written?.after);
      });
    },
    increment,
    take,
    async setIdleTimeout(token: string, idleTimeout: number, options?: CallOptions) {
      const action = "set the idle timeout of a session";
      seconds(action, "the idle timeout", idleTimeout);
      const along = { set: { [reserved.idleTimeout]: String(idleTimeout) }, remove: [] };
      return await withToken(action, token, options, async (target) => {
        const written = await apply(target, {}, along);
        return await settle(target, written?.after);
      });
    },
    rotate,
    async destroy(token: string, options?: CallOptions) {
      const ended = await withToken("destroy a session", token, options, async (target) => {
        const record = present(target, await target.step("writes", () => backend.remove(target.key, accessTo(target))));
        if (record === null) return false;
        emit({ type: "destroyed", id: target.id, at: new Date(time()) });
        registry.forget(target.key, indexEntries(record));
        return true;
      });
      return ended ?? false;
    },
    ...collectionOf(settings, operations, records, updates, codec, registry),
  };
  return Object.freeze(store) as SessionStore<T, NewSession<SessionSchema<T, In>>, Index>;
}
