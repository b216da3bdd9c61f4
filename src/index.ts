/**
 * Typed, validated, server-side sessions for Bun, Deno and Node.
 *
 * @module
 */
export type { SessionBackend } from "./backend.ts";
export type { Duration } from "./base/durations.ts";
export type { SessionId, SessionToken } from "./base/token.ts";
export type {
  CallOptions,
  CreateOptions,
  ListOptions,
  RevokeAllOptions,
  RevokeOptions,
  RotateOptions,
  RotateWithChange,
  RotateWithGrace,
  StoreCreateOptions,
  WalkOptions,
  WalkProgress,
} from "./call-options.ts";
export type {
  CreateInput,
  IndexQuery,
  KeepLiterals,
  LiteralLeaf,
  LiteralShape,
  MigratedData,
  NewData,
  NumberField,
  OptionalField,
  PatchInput,
  SessionMigration,
  SessionPatch,
  SessionSchema,
} from "./data.ts";
export {
  SessionBackendError,
  SessionConflictError,
  SessionDataError,
  type SessionIssue,
  SessionRequiredError,
} from "./errors.ts";
export type { AnswerHeader } from "./http/cache-headers.ts";
export { type CookieOptions, type CookieScope, type SessionCookie, sessionCookie } from "./http/cookie.ts";
export {
  type CrossOriginOptions,
  type CrossOriginProtection,
  crossOriginProtection,
} from "./http/cross-origin.ts";
export { type SessionExchange, sessionExchange } from "./http/exchange.ts";
export { type SessionMiddleware, sessionMiddleware } from "./http/middleware.ts";
export type { SessionHttpOptions, SessionTransport, WithCookie } from "./http/options.ts";
export type { SessionRequest } from "./http/request.ts";
export type { Issued, RequestSession, RequestSessionOf } from "./http/request-session.ts";
export { type MemoryBackendOptions, memoryBackend } from "./memory/backend.ts";
export type { DataOf, IssuedSession, NewDataOf, Session, SessionPage, SessionStore } from "./session.ts";
export { isFresh, nistTimeouts } from "./store/authentication.ts";
export { createSessionStore } from "./store/store.ts";
export type {
  IndexValue,
  SessionEvent,
  SessionIndex,
  SessionLimit,
  SessionStoreOptions,
} from "./store-options.ts";
