import process from "node:process";
import { memoryBackend, type SessionBackend } from "../src/index.ts";
import { connectRedis, redisBackend } from "../src/redis/index.ts";
import { demoApp } from "./app.ts";
import { type Options, readOptions } from "./options.ts";

/** What an entry file needs to start a server. */
export interface Serving {
  readonly fetch: (request: Request) => Promise<Response>;
  readonly hostname: string;
  readonly port: number;
}

/** A running server. */
export interface Listening {
  readonly port: number | undefined;
  /** Accepts no new connections and resolves when the running requests have been answered. */
  stop(): unknown;
}

interface Storage {
  readonly backend: SessionBackend;
  readonly name: "memory" | "Redis";
  readonly client: string;
  close(): Promise<void>;
}

/** How long to wait for running requests after the signal. A request body that never ends must not block the exit. */
const STOP_MS = 3000;

/**
 * Runs the demo until SIGTERM or SIGINT.
 *
 * @param server Name of the web server, as shown on the page.
 * @param listen Starts the server.
 */
export async function run(server: string, listen: (serving: Serving) => Listening | Promise<Listening>): Promise<void> {
  const { port, hostname, redisUrl } = orExit(2, () => readOptions(process.argv.slice(2), process.env));
  const storage = await openStorage(redisUrl).catch((error) => exit(1, reason(error)));
  const fetch = demoApp({ backend: storage.backend, storage: storage.name, client: storage.client, server });
  let listening: Listening;
  try {
    listening = await listen({ fetch, hostname, port });
  } catch (error) {
    exit(1, `Cannot listen on port ${port}: ${reason(error)}`);
  }

  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => process.exit(0), STOP_MS).unref();
    await listening.stop();
    await storage.close();
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  console.log(`Session store demo on ${storage.name}: http://localhost:${listening.port}`);
}

async function openStorage(url: Options["redisUrl"]): Promise<Storage> {
  if (url === null) return { backend: memoryBackend(), name: "memory", client: "memory", close: async () => {} };
  const client = await connectRedis(url, { connectTimeout: "5s" });
  client.on("error", (error) => console.error(`Redis: ${reason(error)}`));
  return {
    backend: redisBackend(client),
    name: "Redis",
    client: "node-redis",
    async close() {
      client.isReady ? await client.close() : client.destroy();
    },
  };
}

function orExit<R>(code: number, attempt: () => R): R {
  try {
    return attempt();
  } catch (error) {
    exit(code, reason(error));
  }
}

function exit(code: number, message: string): never {
  console.error(message);
  process.exit(code);
}

/** Returns the message of an error, or its code: the error for a host with several addresses has no message. */
function reason(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message || code || String(error);
}
