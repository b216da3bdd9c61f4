import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findRedis } from "./find-redis.ts";

/** A server of the tests' own, on loopback, without persistence. */
export interface Server {
  readonly port: number;
  readonly url: string;
  /** For signals: SIGSTOP makes it hang. */
  readonly process: ChildProcess;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const READY = /Ready to accept connections/;
const START_MS = 10_000;

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  await new Promise((closed) => probe.close(closed));
  if (address === null || typeof address === "string") throw new Error("The probe has no port");
  return address.port;
}

export async function startServer(...options: string[]): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), "zession-redis-"));
  const port = await freePort();
  const fixed = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
  const child = spawn(findRedis(), [...fixed, "--enable-debug-command", "yes", ...options], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  // Should this process be killed, the pipe closes and the shell ends the server.
  const guard = spawn("sh", ["-c", `cat >/dev/null; kill -9 ${child.pid}; rm -rf "$0"`, folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.unref();
  (guard.stdin as { unref?(): void } | null)?.unref?.();
  const ended = once(child, "exit").then(() => guard.kill("SIGKILL"));
  const stop = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    child.kill(signal);
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  process.once("exit", () => child.kill("SIGKILL"));

  let log = "";
  const ready = new Promise<void>((resolve, reject) => {
    const late = setTimeout(reject, START_MS, new Error(`The Redis server was not ready in ${START_MS} ms`));
    const settle = (done: () => void): void => {
      clearTimeout(late);
      done();
    };
    child.stdout?.on("data", (chunk) => {
      log += chunk;
      if (READY.test(log)) settle(resolve);
    });
    child.once("error", (error) => settle(() => reject(error)));
    child.once("exit", () => settle(() => reject(new Error(`The Redis server ended: ${log}`))));
  });
  try {
    await ready;
  } catch (error) {
    await stop("SIGKILL").catch(() => {});
    throw error;
  }
  return { port, url: `redis://127.0.0.1:${port}`, process: child, stop };
}
