import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findRedis } from "./find-redis.ts";

/** A Redis server of the tests, on loopback and without persistence. */
export interface Server {
  readonly port: number;
  readonly url: string;
  readonly process: ChildProcess;
  /** Stops the process, until the returned function is called. */
  stall(): () => void;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** The arguments of a server that runs in its own folder. */
type Arguments = (port: number, folder: string) => string[] | Promise<string[]>;

const READY = /Ready to accept connections/;
const MONITORS = /\+monitor master/;
const PORT_TAKEN = /Address already in use/;
const START_MS = 10_000;
const ATTEMPTS = 5;

/** Below the ports of outgoing connections, also for the cluster bus, whose port is 10,000 higher. */
const PORTS = { from: 10_000, to: 22_000 };

const living = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
    const probe = createServer().listen(port, "127.0.0.1");
    try {
      await once(probe, "listening");
    } catch {
      continue;
    }
    await new Promise((closed) => probe.close(closed));
    return port;
  }
}

/** @param options Command-line options. Without `--port` a free port is used. */
export async function startServer(...options: string[]): Promise<Server> {
  const at = options.lastIndexOf("--port");
  const fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"];
  return await start(
    (port, folder) => ["--port", `${port}`, "--dir", folder, ...fixed, ...options],
    READY,
    at === -1 ? undefined : Number(options[at + 1]),
  );
}

/** @param lines Lines of the configuration, besides the port and folder. */
export async function startSentinel(...lines: string[]): Promise<Server> {
  return await start(async (port, folder) => {
    const file = join(folder, "sentinel.conf");
    await writeFile(file, [`port ${port}`, "bind 127.0.0.1", `dir ${folder}`, ...lines, ""].join("\n"));
    return [file, "--sentinel"];
  }, MONITORS);
}

/** Tries another port if the free one was taken meanwhile. */
async function start(argumentsOf: Arguments, ready: RegExp, fixedPort?: number): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const folder = await mkdtemp(join(tmpdir(), "zession-redis-"));
    const port = fixedPort ?? (await freePort());
    try {
      return await launch(port, folder, await argumentsOf(port, folder), ready);
    } catch (error) {
      if (fixedPort !== undefined || attempt === ATTEMPTS || !PORT_TAKEN.test(String(error))) throw error;
    }
  }
}

async function launch(port: number, folder: string, options: string[], ready: RegExp): Promise<Server> {
  const child = spawn(findRedis(), options, { stdio: ["ignore", "pipe", "ignore"] });
  // If this process is killed, the pipe closes and the shell kills the server.
  const guard = spawn("sh", ["-c", `cat >/dev/null; kill -9 ${child.pid}; rm -rf "$0"`, folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.unref();
  (guard.stdin as { unref?(): void } | null)?.unref?.();
  const ended = once(child, "exit").then(() => guard.kill("SIGKILL"));
  living.add(child);
  // In Deno a child process receives only the first signal that is sent through it.
  const tell = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      process.kill(child.pid, signal);
  };
  const stall = (): (() => void) => {
    tell("SIGSTOP");
    return () => tell("SIGCONT");
  };
  const stop = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    tell(signal);
    await ended;
    living.delete(child);
    await rm(folder, { recursive: true, force: true });
  };

  let log = "";
  const started = new Promise<void>((resolve, reject) => {
    const late = setTimeout(reject, START_MS, new Error(`The Redis server was not ready in ${START_MS} ms`));
    const settle = (done: () => void): void => {
      clearTimeout(late);
      done();
    };
    child.stdout?.on("data", (chunk) => {
      log += chunk;
      if (ready.test(log)) settle(resolve);
    });
    child.once("error", (error) => settle(() => reject(error)));
    child.once("exit", () => settle(() => reject(new Error(`The Redis server ended: ${log}`))));
  });
  try {
    await started;
  } catch (error) {
    await stop("SIGKILL").catch(() => {});
    throw error;
  }
  return { port, url: `redis://127.0.0.1:${port}`, process: child, stall, stop };
}
