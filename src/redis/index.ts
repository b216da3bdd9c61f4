/**
 * The Redis backend.
 *
 * @module
 */
export { type RedisBackendOptions, redisBackend } from "./backend.ts";
export type { RedisClient, RedisCommands, RedisKeys } from "./client.ts";
