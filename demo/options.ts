import { parseArgs } from "node:util";

/** How the demo is started. */
export interface Options {
  readonly port: number;
  readonly hostname: string;
  /** Where sessions are kept; `null` for memory. */
  readonly redisUrl: string | null;
}

const USAGE = "usage: [--port 0-65535] [--host ADDRESS] [--redis-url URL], or PORT, HOST and REDIS_URL";

/**
 * Flags before environment variables, of which an empty one counts as absent.
 *
 * @throws {Error} With one line for whoever started the demo.
 */
export function readOptions(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Options {
  const given = flags(args);
  const port = given.port ?? (env["PORT"] || "8080");
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new Error(`The port must be a whole number from 0 to 65535: received ${JSON.stringify(port)}; ${USAGE}`);
  }
  const redisUrl = given["redis-url"] ?? (env["REDIS_URL"] || null);
  // The URL may hold a password, so that it is not repeated here.
  if (redisUrl !== null && !/^rediss?:$/.test(URL.parse(redisUrl)?.protocol ?? "")) {
    throw new Error(`The Redis URL must look like redis://localhost:6379; ${USAGE}`);
  }
  return {
    port: Number(port),
    // Only this machine: elsewhere a browser keeps a Secure cookie from plain http anyway.
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
