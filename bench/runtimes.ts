import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const RUNTIMES = ["node", "bun", "deno"] as const;
export type Runtime = (typeof RUNTIMES)[number];

/** Returns the command line that runs a script with a runtime from the dependencies of this package. */
export function commandOf(runtime: Runtime, script: string, ...flags: readonly string[]): string[] {
  if (runtime === "node" && process.versions["bun"] === undefined && process.versions["deno"] === undefined) {
    return [process.execPath, ...flags, script];
  }
  const command = fileURLToPath(import.meta.resolve(`../node_modules/.bin/${runtime}`));
  return runtime === "deno" ? [command, "run", "-A", script] : [command, ...flags, script];
}

const living = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of living) child.kill();
});

/** Starts a server that prints its port when it is ready. */
export async function startServing(command: readonly string[]): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(command[0] as string, command.slice(1), {
    env: { ...process.env, NODE_ENV: "production" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  living.add(child);
  const port = await new Promise<number>((ready, fail) => {
    child.stdout?.once("data", (line) => ready(Number(String(line))));
    child.once("exit", () =>
      fail(new Error(`The server ended before it printed its port: ${command.slice(0, -1).join(" ")}`)),
    );
  });
  return { child, port };
}
