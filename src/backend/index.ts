/**
 * The contract of a session backend, and the functions that the backends of this package share. A backend of your own needs
 * no code for security: see `sessionMethods`. Test it with `backendContract` from `zession/testing`.
 *
 * @module
 */
export {
  type Change,
  type EndCause,
  type Ending,
  type EndListener,
  type EnteredPage,
  type Increment,
  type IndexPage,
  type IndexSample,
  type Insertion,
  type Member,
  MIN_PRUNE_AGE,
  type ReadRequest,
  type Revoked,
  type SessionBackend,
  type Written,
} from "../backend.ts";
export {
  type Absence,
  type Access,
  checkAccess,
  checkSecret,
  type Reused,
  type WrongSecret,
} from "../base/access.ts";
export { nullObject } from "../base/null-object.ts";
export { randomText } from "../base/token.ts";
export {
  type RunTransaction,
  type SessionMethods,
  type StepResult,
  type StoredRecord,
  sessionMethods,
} from "../base/transaction.ts";
export { SessionBackendError } from "../errors.ts";
export {
  DEFAULT_IDLE_SECONDS,
  deadlineOf,
  exceeds,
  idleSeconds,
  idleSecondsOrDefault,
  indexEntries,
  isReserved,
  isSession,
  lifetime,
  NO_SECRET,
  reserved,
  type StoredSession,
  TOMBSTONE_FIELD,
  timeOf,
  timeText,
} from "../record.ts";
