import type { SessionBackend } from "../backend.ts";
import { ofType, seconds, wholeNumber, withDefaults } from "../base/checks.ts";
import { plainTokens, secretTokens, type TokenForm } from "../base/token.ts";
import type { SessionSchema } from "../data.ts";
import type { SessionEvent, SessionStoreOptions } from "../store-options.ts";

/** A store's options, checked, with their defaults, and as they were when the store was made. */
export interface Settings {
  readonly schema: SessionSchema;
  readonly backend: SessionBackend;
  readonly idleTimeout: number;
  readonly absoluteTimeout: number | undefined;
  readonly touchInterval: number;
  readonly migrate: ((stored: Readonly<Record<string, unknown>>) => unknown) | undefined;
  readonly operationTimeoutMs: number;
  readonly tokens: TokenForm;
  readonly plainIds: boolean;
  readonly indexes: Readonly<Record<string, unknown>> | undefined;
  readonly limits: Readonly<Record<string, unknown>> | undefined;
  /** Unix milliseconds, whole. @throws {TypeError} If the clock is broken. */
  time(): number;
  /** Tells the listener, whose failures stay its own. */
  emit(event: SessionEvent): void;
}

const ACTION = "create a session store";
const METHODS = [
  "insert",
  "read",
  "write",
  "increment",
  "remove",
  "revoke",
  "enter",
  "page",
  "leave",
  "keys",
] as const satisfies readonly (keyof SessionBackend)[];
const MAX_OPERATION_MS = 30_000;
const YEAR_10000 = 253_402_300_800_000;

/** @throws {TypeError | RangeError} As `createSessionStore` says. */
export function readOptions<T, In, Index extends string>(options: SessionStoreOptions<T, In, Index>): Settings {
  const given = withDefaults(ACTION, options, {
    schema: undefined,
    backend: undefined,
    idleTimeout: 1800,
    absoluteTimeout: undefined,
    indexes: undefined,
    limits: undefined,
    touchInterval: 0,
    migrate: undefined,
    onEvent: undefined,
    plainIds: false,
    operationTimeoutMs: 2000,
    now: Date.now,
  });
  const { backend, idleTimeout, absoluteTimeout, touchInterval, migrate, onEvent, plainIds, now } = given;
  for (const method of METHODS) {
    if (typeof backend?.[method] !== "function") {
      throw new TypeError(`Cannot ${ACTION} as backend must be a session backend: it has no method ${method}`);
    }
  }
  for (const [name, value] of Object.entries({ migrate, onEvent, now })) {
    if (value !== undefined) ofType(ACTION, name, value, "function");
  }
  ofType(ACTION, "plainIds", plainIds, "boolean");
  if (plainIds && given.indexes !== undefined) {
    throw new TypeError(`Cannot ${ACTION} with indexes as with plainIds their members would be tokens`);
  }
  checkTimeouts(ACTION, idleTimeout, absoluteTimeout);
  wholeNumber(ACTION, "touchInterval", touchInterval, 0, idleTimeout - 1);
  wholeNumber(ACTION, "operationTimeoutMs", given.operationTimeoutMs, 1, MAX_OPERATION_MS);
  return {
    ...given,
    tokens: plainIds ? plainTokens : secretTokens,
    time() {
      const time = now();
      if (typeof time !== "number" || !(time >= 0 && time < YEAR_10000)) {
        throw new TypeError("Cannot tell the time as now() must give Unix milliseconds up to the year 9999");
      }
      return Math.floor(time);
    },
    emit(event) {
      try {
        // A listener may be async although its type does not ask for it.
        Promise.resolve(onEvent?.(event)).catch(() => {});
      } catch {
        // Listeners observe; what they throw changes nothing.
      }
    },
  };
}

/** @throws {TypeError | RangeError} If a timeout is no positive whole number, or idle exceeds absolute. */
export function checkTimeouts(action: string, idleTimeout: unknown, absoluteTimeout: unknown): void {
  const idle = seconds(action, "idleTimeout", idleTimeout);
  if (absoluteTimeout === undefined) return;
  const absolute = seconds(action, "absoluteTimeout", absoluteTimeout);
  if (idle > absolute) {
    throw new RangeError(
      `Cannot ${action} as idleTimeout must not exceed absoluteTimeout: received ${idle} and ${absolute}`,
    );
  }
}
