import { noteChange } from "../base/changes.ts";
import { wholeNumber } from "../base/checks.ts";
import { type Duration, seconds } from "../base/durations.ts";
import { ownProperty } from "../base/null-object.ts";
import type { CallOptions } from "../call-options.ts";
import type { NewData, PatchInput, SessionPatch } from "../data.ts";
import { SessionDataError } from "../errors.ts";
import { createIndexes } from "../indexes/declarations.ts";
import { createLimitedWrite } from "../indexes/limits.ts";
import { createRegistry } from "../indexes/members.ts";
import { indexEntries, reserved, type StoredSession } from "../record.ts";
import { createCodec } from "../schema/codec.ts";
import { planSchema } from "../schema/fields.ts";
import type { SessionStore } from "../session.ts";
import type { SessionStoreOptions } from "../store-options.ts";
import { bulkOperations } from "./bulk.ts";
import { creation } from "./creation.ts";
import { createDecoder } from "./decoding.ts";
import { endings } from "./endings.ts";
import { createExtension } from "./extension.ts";
import { createIndexValues } from "./index-values.ts";
import { createMigrations } from "./migrations.ts";
import { createMoves } from "./moves.ts";
import { openRotations } from "./open-rotations.ts";
import { createPatchWriter } from "./patches.ts";
import { reindexing } from "./reindexing.ts";
import { createReplacement, type End } from "./replacement.ts";
import { rotation } from "./rotation.ts";
import { createRunner, type Target } from "./runner.ts";
import { readOptions } from "./settings.ts";
import { sizeLimit } from "./sizes.ts";
import { createStorage } from "./storage.ts";
import { createTouches } from "./touches.ts";
import { versionOf } from "./upgrade.ts";

/**
 * Creates a session store. The schema determines the type of the session data and the type that `create` accepts.
 *
 * @throws {TypeError} If the schema cannot be stored, or if an option is unknown or has the wrong type.
 * @throws {RangeError} If a duration is malformed or out of range, if the idle timeout exceeds the absolute timeout, or if
 * the touch interval is not less than the idle timeout.
 */
export function createSessionStore<T extends object, In, Index extends string = never, Old = {}>(
  options: SessionStoreOptions<T, In, Index, Old>,
): SessionStore<T, NewData<T, In>, Index> {
  const settings = readOptions(options);
  const { backend, emit, time, version } = settings;
  const plan = planSchema(settings.schema);
  const codec = createCodec<T>(plan);
  const sizes = sizeLimit(settings.maxBytes);
  const indexes = createIndexes(plan, codec, settings.indexes, settings.maxIndexEntries, settings.version > 1);
  const registry = createRegistry(settings, indexes);
  const limitedWrite = createLimitedWrite(settings, registry);
  const rotations = openRotations();
  const migrations = createMigrations(settings, codec, indexes, sizes);
  const extended = createExtension(settings, migrations.fields, registry);
  const storage = createStorage(settings, migrations.fields, sizes, extended, rotations);
  const { accessTo, ask, read, settled, write } = storage;
  const { isRecent, readAndTouch } = createTouches(settings, storage, extended);
  const moves = createMoves(settings, codec, registry, limitedWrite, storage);
  const decoder = createDecoder(codec, sizes, migrations, storage, moves);
  const { toHealed, toSession } = decoder;
  const patchWriter = createPatchWriter(storage, moves, decoder, codec, sizes, indexes.sources, plan.refined, version);
  const { apply, compareAndSet } = patchWriter;
  const runner = createRunner(settings);
  const { withToken } = runner;
  const values = createIndexValues(settings, runner, storage, decoder, codec, indexes);

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
      const isPlain = counter.complete && !plan.refined && !indexes.sources.has(field) && Number.isSafeInteger(from);
      // Versions never become lower, so a copy of any age shows that a session need not be migrated first.
      const record = isPlain && version > 1 ? await read(target, () => true) : undefined;
      if (record === null) return null;
      if (isPlain && (record === undefined || versionOf(record) >= version)) {
        const change = { field, by, from, min: counter.min, max: counter.max, maxBytes: sizes.maxBytes };
        const added = await ask(target, "writes", () => backend.increment(target.key, accessTo(target), change));
        if (added === "too_many_bytes") throw sizes.refusal(action);
        if (added === null || typeof added === "string") return added === null ? null : refuse(added);
        const present = await settled(target, added, true);
        return present && Number(added[field]);
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

  /** Ends the session of a token. Returns its record with these fields; `null` if there is no session. */
  async function ended(
    target: Target,
    names: readonly string[] | null,
    expect?: Readonly<Record<string, string | null>>,
  ): Promise<StoredSession | "changed" | null> {
    const ending = { id: target.id, cause: "destroyed" } as const;
    const record = await ask(target, "writes", () =>
      backend.remove(target.key, accessTo(target), ending, names, expect),
    );
    if (record === null || record === "changed") return record;
    emit({ type: "destroyed", id: target.id, at: new Date(time()) });
    registry.forget(target.key, indexEntries(record));
    return record;
  }

  const end: End = async (target, expect) => {
    // Ending a session gives no access to it.
    const record = await ended({ ...target, unproven: true }, [], expect);
    return record === "changed" ? record : record !== null;
  };

  const replacement = createReplacement(settings, runner, storage, decoder, end);

  const store = {
    create: creation(settings, runner, codec, sizes, registry, limitedWrite, decoder, patchWriter, replacement),
    async get(token: string, options?: CallOptions) {
      return await withToken("get a session", token, options, async (target) => {
        return await toHealed(target, await readAndTouch(target, decoder.decode));
      });
    },
    async peek(token: string, options?: CallOptions) {
      return await withToken("peek at a session", token, options, async (target) =>
        toSession(target, await read(target, isRecent)),
      );
    },
    async update(token: string, patch: PatchInput<T>, options?: CallOptions) {
      return await withToken("update a session", token, options, async (target) => {
        const written = await apply(target, patch);
        return toSession(target, written?.after);
      });
    },
    increment,
    take,
    async setIdleTimeout(token: string, idleTimeout: Duration, options?: CallOptions) {
      const action = "set the idle timeout of a session";
      const set = { [reserved.idleTimeout]: String(seconds(action, "idleTimeout", idleTimeout)) };
      return await withToken(action, token, options, async (target) => {
        const written = await apply(target, {}, { set, remove: [] });
        return await toHealed(target, written?.after);
      });
    },
    rotate: rotation(settings, runner, storage, moves, decoder, patchWriter, rotations),
    async destroy(token: string, options?: CallOptions) {
      const ending = withToken("destroy a session", token, options, (target) => end(target));
      return (await ending.finally(noteChange)) === true;
    },
    async consume(token: string, options?: CallOptions) {
      const consuming = withToken("consume a session", token, options, async (target) => {
        // Read first, because a session whose data does not fit the schema stays.
        const session = toSession(target, await read(target));
        const record = session && (await ended(target, storage.fields));
        return record === "changed" ? null : toSession(target, record);
      });
      return await consuming.finally(noteChange);
    },
    "~twoCookies"(cookieName: string) {
      emit({ type: "two-cookies", id: null, at: new Date(time()), cookieName });
    },
    ...bulkOperations(settings, runner, storage, decoder, patchWriter, codec, values, registry),
    ...endings<T>(settings, runner, storage, values, registry),
    reindex: reindexing(settings, runner, storage, decoder, moves, registry),
  };
  return Object.freeze(store) as SessionStore<T, NewData<T, In>, Index>;
}
