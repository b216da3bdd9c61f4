/**
 * `node test/run.ts <npm script>...` runs the scripts one after another, also after one has failed. Its last lines are the
 * groups of tests that were skipped and the seconds that each script took.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { missingRuntime, SKIPPED } from "./support/availability.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const skipped = new Set<string>();
const results: string[] = [];

/** Whether all tests of the script passed. */
async function run(script: string): Promise<boolean> {
  // Standard output is a pipe here, on which vitest would use no colours.
  const env = process.stdout.isTTY ? { ...process.env, FORCE_COLOR: "1" } : process.env;
  // A process group of its own can be ended as a whole: npm ends its shell, and not what the shell has started.
  const child = spawn("npm", ["run", "--silent", script], {
    env,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const stop = (): never => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGTERM");
    process.exit(1);
  };
  for (const signal of SIGNALS) process.once(signal, stop);
  for await (const line of createInterface(child.stdout)) {
    if (line.startsWith(SKIPPED)) skipped.add(line);
    else console.log(line);
  }
  const [code] = await closed;
  for (const signal of SIGNALS) process.off(signal, stop);
  return code === 0;
}

for (const script of process.argv.slice(2)) {
  const runtime = (["bun", "deno"] as const).find((name) => script.endsWith(`:${name}`));
  const missing = runtime === undefined ? null : missingRuntime(runtime);
  if (missing !== null) {
    skipped.add(`${SKIPPED}all of ${script}: ${missing}`);
    continue;
  }
  const start = performance.now();
  const passed = await run(script);
  results.push(`${script}: ${passed ? "passed" : "failed"} in ${Math.round((performance.now() - start) / 1000)} s`);
  if (!passed) process.exitCode = 1;
}
for (const line of [...skipped, ...results]) console.log(line);
