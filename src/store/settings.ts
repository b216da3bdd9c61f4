import type { SessionBackend } from "../backend.ts";
import { kindOf, ofType, wholeNumber, withDefaults } from "../base/checks.ts";
import { milliseconds, seconds } from "../base/durations.ts";
import { ignore, isPromise, tell } from "../base/promises.ts";
import { plainTokens, secretTokens, type TokenForm } from "../base/token.ts";
import type { CreateOptions } from "../call-options.ts";
import type { SessionSchema } from "../data.ts";
import type { SessionEvent, SessionStoreOptions } from "../store-options.ts";
import { createReport, type Report } from "./reports.ts";

/** The timeouts of a session in seconds. */
interface Timeouts {
  readonly idleTimeout: number;
  /** `undefined` for none. */
  readonly absoluteTimeout: number | undefined;
}

/** Options with timeouts. */
type GivenTimeouts = Pick<CreateOptions, "idleTimeout" | "absoluteTimeout">;

/** The options of a store after validation, with defaults. Later changes of the options object have no effect. */
export interface Settings extends Timeouts {
  readonly schema: SessionSchema;
  readonly backend: SessionBackend;
  readonly maxIndexEntries: number;
  readonly maxBytes: number;
  /** A touch is due after this time, or after a hundredth of the session's own idle timeout if that is less. */
  readonly touchIntervalMs: number;
  readonly version: number;
  readonly migrations: Readonly<Record<string, unknown>> | undefined;
  readonly operationTimeoutMs: number;
  readonly tokens: TokenForm;
  readonly plainIds: boolean;
  readonly indexes: Readonly<Record<string, unknown>> | undefined;
  /**
   * Returns the current time in whole Unix milliseconds.
   *
   * @throws {TypeError} If the option `now` returns anything but a time until the year 9999.
   */
  time(): number;
  /** Calls the listener. Its errors are ignored. */
  emit(event: SessionEvent): void;
  readonly report: Report;
}

const DEFAULT_TIMEOUTS: Timeouts = { idleTimeout: 1800, absoluteTimeout: 30 * 86_400 };

const MAX_TOUCH_INTERVAL_MS = 60_000;

const ACTION = "create a session store";
const METHODS = [
  "insert",
  "read",
  "touch",
  "write",
  "increment",
  "remove",
  "revoke",
  "enter",
  "extend",
  "page",
  "leave",
  "shared",
  "keys",
] as const satisfies readonly (keyof SessionBackend)[];
/** The largest version that `versionOf` reads. */
const MAX_VERSION = 999_999_999;
const MAX_OPERATION_MS = 30_000;
/** The maximum size of a text in Redis. */
const MAX_TEXT_BYTES = 536_870_912;
const YEAR_10000 = 253_402_300_800_000;

/**
 * Validates the options of a store and adds the defaults.
 *
 * @throws {TypeError | RangeError} As documented for `createSessionStore`.
 */
export function readOptions<T, In, Index extends string, Old>(
  options: SessionStoreOptions<T, In, Index, Old>,
): Settings {
  if (Object.hasOwn(options ?? {}, "limits")) {
    const example = 'indexes: { user: { from: "userId", limit: { max: 5, whenFull: "reject" } } }';
    throw new TypeError(
      `Cannot ${ACTION} as there is no option "limits": each index has its own limit, as in ${example}`,
    );
  }
  const given = withDefaults(ACTION, options, {
    schema: undefined,
    backend: undefined,
    idleTimeout: undefined,
    absoluteTimeout: undefined,
    indexes: undefined,
    maxIndexEntries: 64,
    maxBytes: 65_536,
    touchInterval: undefined,
    version: 1,
    migrations: undefined,
    onEvent: undefined,
    plainIds: false,
    operationTimeout: "2s",
    now: Date.now,
  });
  const { backend, onEvent, plainIds, now, touchInterval } = given;
  for (const method of METHODS) {
    if (typeof backend?.[method] !== "function") {
      ignore(backend);
      const received = isPromise(backend)
        ? "a promise: await it"
        : typeof backend === "function"
          ? "a function: call it"
          : `one without ${method}()`;
      throw new TypeError(`Cannot ${ACTION} as backend must be a session backend: received ${received}`);
    }
  }
  for (const [name, value] of Object.entries({ onEvent, now })) {
    if (value !== undefined) ofType(ACTION, name, value, "function");
  }
  ofType(ACTION, "plainIds", plainIds, "boolean");
  if (plainIds && given.indexes !== undefined) {
    throw new TypeError(`Cannot ${ACTION} as indexes cannot be used with plainIds: remove one of these options`);
  }
  const time = (): number => {
    const time = now();
    if (typeof time !== "number" || !(time >= 0 && time < YEAR_10000)) {
      ignore(time);
      const received = typeof time === "number" ? time : kindOf(time);
      throw new TypeError(
        `Cannot read the clock as now must return Unix milliseconds before the year 10000: received ${received}`,
      );
    }
    return Math.floor(time);
  };
  const emit = (event: SessionEvent): void => tell(onEvent, event);
  const { idleTimeout, absoluteTimeout } = readTimeouts(ACTION, given, DEFAULT_TIMEOUTS);
  wholeNumber(ACTION, "maxIndexEntries", given.maxIndexEntries, 1, 10_000);
  wholeNumber(ACTION, "version", given.version, 1, MAX_VERSION);
  wholeNumber(ACTION, "maxBytes", given.maxBytes, 1, MAX_TEXT_BYTES);
  return {
    ...given,
    idleTimeout,
    absoluteTimeout,
    touchIntervalMs:
      touchInterval === undefined
        ? MAX_TOUCH_INTERVAL_MS
        : milliseconds(ACTION, "touchInterval", touchInterval, 0, idleTimeout * 1000 - 1),
    operationTimeoutMs: milliseconds(ACTION, "operationTimeout", given.operationTimeout, 1, MAX_OPERATION_MS),
    tokens: plainIds ? plainTokens : secretTokens,
    time,
    emit,
    report: createReport(emit, time, onEvent !== undefined),
  };
}

/**
 * Returns the timeouts of a session in seconds. An omitted timeout has its default.
 *
 * @throws {TypeError | RangeError} If a timeout is not a positive number of whole seconds, or the idle timeout exceeds the
 * absolute timeout.
 */
export function readTimeouts(action: string, given: GivenTimeouts, defaults: Timeouts): Timeouts {
  const { idleTimeout: idle, absoluteTimeout: absolute } = given;
  const idleTimeout = idle === undefined ? defaults.idleTimeout : seconds(action, "idleTimeout", idle);
  const absoluteTimeout =
    absolute === undefined
      ? defaults.absoluteTimeout
      : absolute === "none"
        ? undefined
        : seconds(action, "absoluteTimeout", absolute);
  if (absoluteTimeout !== undefined && idleTimeout > absoluteTimeout) {
    throw new RangeError(
      `Cannot ${action} as idleTimeout must not exceed absoluteTimeout${absolute === undefined ? " (default)" : ""}: received ${idleTimeout} and ${absoluteTimeout} seconds`,
    );
  }
  return { idleTimeout, absoluteTimeout };
}
