import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";

/** The commands that run the demo, by runtime. */
export const ENTRIES = {
  bun: ["bun"],
  // The permissions that the README names, and no others.
  deno: ["deno", "run", "--no-prompt", "--allow-net", "--allow-env=PORT,HOST,REDIS_URL", "--allow-read=demo"],
  node: ["node"],
} as const;

/** A demo in a process of its own. */
export interface Demo {
  readonly url: string;
  /** What the process has printed. */
  output(): string;
  /** Ends the process and returns its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

const START_MS = 15_000;
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts the demo on a free port. */
export async function startDemo(entry: keyof typeof ENTRIES, args: readonly string[] = []): Promise<Demo> {
  const { child, output, exited } = launch(entry, ["--port", "0", ...args]);
  const url = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${entry} was not ready in ${START_MS} ms: ${output()}`)), START_MS);
    child.stdout?.on("data", () => {
      const found = /http:\/\/localhost:[0-9]+/.exec(output());
      if (found === null) return;
      clearTimeout(late);
      resolve(found[0]);
    });
    exited.then((code) => {
      clearTimeout(late);
      reject(new Error(`${entry} ended with ${code}: ${output()}`));
    });
  });
  return {
    url,
    output,
    stop(signal = "SIGTERM") {
      // Not child.kill: Deno then reports the signal instead of the exit code.
      if (child.pid !== undefined && child.exitCode === null) process.kill(child.pid, signal);
      return exited;
    },
  };
}

/** Runs the demo with arguments with which it is expected to exit. */
export async function runDemo(
  entry: keyof typeof ENTRIES,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ readonly code: number | null; readonly output: string }> {
  const { output, exited } = launch(entry, args, env);
  return { code: await exited, output: output() };
}

function launch(entry: keyof typeof ENTRIES, args: readonly string[], env: Record<string, string> = {}) {
  const [command, ...flags] = ENTRIES[entry];
  const { REDIS_URL: _url, PORT: _port, HOST: _host, ...rest } = process.env;
  const child: ChildProcess = spawn(`node_modules/.bin/${command}`, [...flags, `demo/${entry}.ts`, ...args], {
    env: { ...rest, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let text = "";
  const take = (chunk: unknown): void => {
    text += chunk;
  };
  child.stdout?.on("data", take);
  child.stderr?.on("data", take);
  // "close" is emitted when all output has been read.
  const exited = once(child, "close").then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { child, output: () => text, exited };
}
