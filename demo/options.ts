import { parseArgs } from "node:util";

/** The options of the demo. */
export interface Options {
  readonly port: number;
  readonly hostname: string;
  /** URL of the Redis server that stores sessions, or `null` to store them in memory. */
  readonly redisUrl: string | null;
}

const USAGE =
  "usage: [--port 0-65535] [--host ADDRESS] [--redis-url URL], or the environment variables PORT, HOST and REDIS_URL";

/**
 * Reads the options. Flags take precedence over environment variables; an empty environment variable is ignored.
 *
 * @throws {Error} If a flag is unknown or a value is invalid. The message is one line.
 */
export function readOptions(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Options {
  const given = flags(args);
  const port = given.port ?? (env["PORT"] || "8080");
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new Error(`The port must be a whole number from 0 to 65535: received ${JSON.stringify(port)}; ${USAGE}`);
  }
  const redisUrl = given["redis-url"] ?? (env["REDIS_URL"] || null);
  // The message does not quote the URL, which may contain a password.
  if (redisUrl !== null && !/^rediss?:$/.test(URL.parse(redisUrl)?.protocol ?? "")) {
    throw new Error(`The Redis URL must look like redis://localhost:6379 or rediss://example.com:6380; ${USAGE}`);
  }
  return {
    port: Number(port),
    // Reachable from this machine only: over plain http, browsers accept a Secure cookie from localhost alone.
    hostname: given.host ?? (env["HOST"] || "127.0.0.1"),
    redisUrl,
  };
}

function flags(args: readonly string[]) {
  const string = { type: "string" } as const;
  try {
    return parseArgs({ args: [...args], options: { port: string, host: string, "redis-url": string } }).values;
  } catch (error) {
    throw new Error(`${(error as Error).message.split(". ")[0]}; ${USAGE}`);
  }
}
