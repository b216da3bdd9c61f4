/** The clients of node-redis itself, whose types need `skipLibCheck`. */
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { redisBackend } from "zession/redis";

const url = "redis://localhost:6379";
redisBackend(createClient({ url }));
redisBackend(createClientPool({ url }));
redisBackend(createCluster({ rootNodes: [{ url }] }));
redisBackend(createSentinel({ name: "main", sentinelRootNodes: [{ host: "a", port: 26_379 }] }));
