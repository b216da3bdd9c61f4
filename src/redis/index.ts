/**
 * The Redis backend: stores sessions in Redis or Valkey through node-redis.
 *
 * @module
 */
export type { RedisAddress } from "./address.ts";
export type { AsyncDisposing } from "./async-disposal.ts";
export type { RedisBackendOptions } from "./backend-options.ts";
export type { RedisClient, RedisCommands, RedisKeys } from "./client.ts";
export type { ConnectedRedis } from "./client-plan.ts";
export { connectRedis } from "./connect.ts";
export type { ConnectOptions, RedisTls } from "./connect-options.ts";
export { type RedisBackend, redisBackend } from "./redis-backend.ts";
export type { ReplicaConfirmation } from "./replicas.ts";
