import { noteChange } from "../base/changes.ts";
import { wholeNumber } from "../base/checks.ts";
import { type Duration, seconds } from "../base/durations.ts";
import { ownProperty } from "../base/null-object.ts";
import type { NewData, PatchInput, SessionPatch } from "../data.ts";
import { SessionDataError } from "../errors.ts";
import { createIndexes } from "../indexes/declarations.ts";
import { createLimitedWrite } from "../indexes/limits.ts";
import { createRegistry } from "../indexes/members.ts";
import { indexEntries, reserved } from "../record.ts";
import { createCodec } from "../schema/codec.ts";
import { planSchema } from "../schema/fields.ts";
import type { CallOptions, SessionStore } from "../session.ts";
import type { SessionStoreOptions } from "../store-options.ts";
import { bulkOperations } from "./bulk.ts";
import { creation } from "./creation.ts";
import { createDecoder } from "./decoding.ts";
import { createMoves } from "./moves.ts";
import { openRotations } from "./open-rotations.ts";
import { createPatchWriter } from "./patches.ts";
import { rotation } from "./rotation.ts";
import { createRunner, type Target } from "./runner.ts";
import { readOptions } from "./settings.ts";
import { sizeLimit } from "./sizes.ts";
import { snapshot } from "./snapshot.ts";
import { createStorage } from "./storage.ts";

/**
 * Creates a session store. The schema determines the type of the session data and the type that `create` accepts.
 *
 * @throws {TypeError} If the schema cannot be stored, or if an option is unknown or has the wrong type.
 * @throws {RangeError} If a duration is malformed or out of range, if the idle timeout exceeds the absolute timeout, or if
 * the touch interval is not less than the idle timeout.
 */
export function createSessionStore<T extends object, In, Index extends string = never>(
  options: SessionStoreOptions<T, In, Index>,
): SessionStore<T, NewData<T, In>, Index> {
  const settings = readOptions(options);
  const { backend, emit, time } = settings;
  const plan = planSchema(settings.schema);
  const codec = createCodec<T>(plan);
  const sizes = sizeLimit(settings.maxBytes);
  const indexes = createIndexes(plan, settings.indexes, settings.limits, settings.maxIndexEntries);
  const registry = createRegistry(settings, indexes);
  const limitedWrite = createLimitedWrite(settings, registry);
  const rotations = openRotations();
  const fields = settings.migrate === undefined ? codec.names : null;
  const storage = createStorage(settings, fields, sizes, registry, rotations);
  const { accessTo, ask, extended, read, readAndTouch, write } = storage;
  const moves = createMoves(settings, codec, registry, limitedWrite, storage);
  const decoder = createDecoder(settings, codec, sizes, indexes, storage, moves);
  const { decode, toSession } = decoder;
  const patchWriter = createPatchWriter(
    storage,
    moves,
    decoder,
    codec,
    sizes,
    indexes.sources,
    plan.refined || settings.migrate !== undefined,
  );
  const { apply, compareAndSet } = patchWriter;
  const runner = createRunner(settings);
  const { withToken } = runner;

  async function increment(token: string, field: string, by = 1, options?: CallOptions): Promise<number | null> {
    const action = "increment a field of a session";
    const counter = plan.fields.get(field)?.counter;
    if (!counter) throw new TypeError(`Cannot ${action} as the schema has no plain number field with this name`);
    wholeNumber(action, "by", by, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    const refuse = (code: "invalid_type" | "too_small" | "too_big"): never => {
      const reasons = {
        invalid_type: "expected a safe integer",
        too_small: `expected at least ${counter.min}`,
        too_big: `expected at most ${counter.max}`,
      };
      const issue = { code, path: [field], message: reasons[code] };
      const message = `Cannot ${action} as its data does not fit the schema: ${codec.list([issue])}`;
      throw new SessionDataError(message, { issues: [issue], origin: code === "invalid_type" ? "stored" : "given" });
    };
    return await withToken(action, token, options, async (target) => {
      const from = codec.absent(field);
      if (counter.complete && !plan.refined && !indexes.sources.has(field) && Number.isSafeInteger(from)) {
        const change = { field, by, from, min: counter.min, max: counter.max, maxBytes: sizes.maxBytes };
        const added = await ask(target, "writes", () => backend.increment(target.key, accessTo(target), change));
        if (added === "too_many_bytes") throw sizes.refusal(action);
        if (added === null || typeof added === "string") return added === null ? null : refuse(added);
        await extended(target, added);
        return Number(added[field]);
      }
      let sum = Number.NaN;
      const written = await compareAndSet(target, (data) => {
        const held = ownProperty(data, field) ?? from;
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
      throw new TypeError(`Cannot ${action} as the schema has no optional field with this name`);
    }
    return await withToken(action, token, options, async (target) => {
      const written = await apply(target, { [field]: undefined } as SessionPatch<T>);
      const text = written?.before[field];
      if (text === undefined) return null;
      try {
        sizes.checkStored({ [field]: text });
        return codec.decodeField(field, text);
      } catch (error) {
        // The caller gets an error instead of the value, so the value is put back.
        const back = { set: { [field]: text }, remove: [], expect: { [field]: null } };
        await write(target, back);
        throw error;
      }
    });
  }

  async function end(target: Target): Promise<boolean> {
    const ending = { id: target.id, cause: "destroyed" } as const;
    // Ending a session gives no access to it.
    const access = accessTo({ ...target, unproven: true });
    const record = await ask(target, "writes", () => backend.remove(target.key, access, ending, []));
    if (record === null || record === "changed") return false;
    emit({ type: "destroyed", id: target.id, at: new Date(time()) });
    registry.forget(target.key, indexEntries(record));
    return true;
  }

  const store = {
    create: creation(settings, runner, storage, codec, sizes, registry, limitedWrite, end),
    async get(token: string, options?: CallOptions) {
      return await withToken("get a session", token, options, async (target) => {
        const record = await readAndTouch(target);
        const decoded = record && (await decode(target, record));
        if (decoded === null) return null;
        return snapshot(target.id, await moves.healed(target, decoded.record, decoded.data), decoded.data);
      });
    },
    async peek(token: string, options?: CallOptions) {
      return await withToken("peek at a session", token, options, async (target) =>
        toSession(target, await read(target, false, settings.touchIntervalMs)),
      );
    },
    async update(token: string, patch: PatchInput<T>, options?: CallOptions) {
      return await withToken("update a session", token, options, async (target) => {
        const written = await apply(target, patch);
        return await toSession(target, written?.after);
      });
    },
    increment,
    take,
    async setIdleTimeout(token: string, idleTimeout: Duration, options?: CallOptions) {
      const action = "set the idle timeout of a session";
      const set = { [reserved.idleTimeout]: String(seconds(action, "idleTimeout", idleTimeout)) };
      return await withToken(action, token, options, async (target) => {
        const written = await apply(target, {}, { set, remove: [] });
        return await toSession(target, written?.after);
      });
    },
    rotate: rotation(settings, runner, storage, moves, decoder, patchWriter, rotations),
    async destroy(token: string, options?: CallOptions) {
      const ending = withToken("destroy a session", token, options, end);
      return (await ending.finally(noteChange)) ?? false;
    },
    "~twoCookies"(cookieName: string) {
      emit({ type: "two-cookies", id: null, at: new Date(time()), cookieName });
    },
    ...bulkOperations(settings, runner, storage, decoder, patchWriter, codec, registry),
  };
  return Object.freeze(store) as SessionStore<T, NewData<T, In>, Index>;
}
