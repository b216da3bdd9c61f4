/**
 * Typed, validated, server-side sessions for Bun, Deno and Node.
 *
 * @module
 */
export type {
  Absence,
  Change,
  EnteredPage,
  Increment,
  IndexPage,
  Member,
  ReadRequest,
  Revoked,
  SessionBackend,
} from "./backend.ts";
export { type CookieOptions, type CookieScope, type SessionCookie, sessionCookie } from "./cookie.ts";
export {
  type CrossOriginOptions,
  type CrossOriginProtection,
  crossOriginProtection,
  type OriginatedRequest,
} from "./cross-origin.ts";
export { SessionBackendError, SessionConflictError, SessionDataError, type SessionIssue } from "./errors.ts";
export {
  type AnswerHeader,
  type RequestSession,
  type SessionExchange,
  type SessionExchangeOptions,
  sessionExchange,
} from "./exchange.ts";
export { type MemoryBackendOptions, memoryBackend } from "./memory.ts";
export { type SessionMiddleware, type SessionMiddlewareOptions, sessionMiddleware } from "./middleware.ts";
export type { Access, StoredSession } from "./record.ts";
export {
  type CallOptions,
  type CreateOptions,
  type IndexQuery,
  type IssuedSession,
  isFresh,
  type ListOptions,
  type NewSession,
  type NumberField,
  type OptionalField,
  type PatchInput,
  type RevokeAllOptions,
  type RotateOptions,
  type Session,
  type SessionPatch,
  type SessionSchema,
  type SessionStore,
  timeouts,
} from "./session.ts";
export { createSessionStore } from "./store.ts";
export type {
  IndexValue,
  SessionEvent,
  SessionIndex,
  SessionLimit,
  SessionLimits,
  SessionStoreOptions,
} from "./store-options.ts";
