/**
 * The Redis backend: stores sessions in Redis or Valkey through node-redis.
 *
 * @module
 */
export { type RedisBackendOptions, redisBackend } from "./backend.ts";
export type { RedisClient, RedisCommands, RedisKeys } from "./client.ts";
export { type ConnectedRedis, type ConnectOptions, connectRedis, type RedisAddress } from "./connect.ts";
export type { ReplicaConfirmation } from "./replicas.ts";
