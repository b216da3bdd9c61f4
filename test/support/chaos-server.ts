import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";
import { ENTRIES } from "../demo/start.ts";
import type { Ground } from "./chaos-grounds.ts";

export type Runtime = keyof typeof ENTRIES;

/** The demo in its own process. */
export interface DemoServer {
  readonly url: string;
  /** The output on standard error. */
  errors(): string;
  /** The resident bytes of the process and its children; 0 if unknown. */
  memory(): number;
  /** The exit code, or the signal that ended the process; `null` while it runs. */
  ended(): number | string | null;
  /** Asks the process to exit and returns its exit code. */
  stop(): Promise<number | string | null>;
}

const START_MS = 20_000;

/** For an address that is not a URL, a server of the tests runs the same application. */
export async function serveDemo(runtime: Runtime, { address, replicas }: Ground): Promise<DemoServer> {
  const [command, ...flags] = ENTRIES[runtime];
  const strict = runtime === "node" ? ["--unhandled-rejections=strict"] : [];
  const program =
    typeof address === "string"
      ? [`demo/${runtime}.ts`, "--port", "0", "--redis-url", address]
      : ["test/support/chaos-app.ts", JSON.stringify(address), String(replicas)];
  const child = spawn(`node_modules/.bin/${command}`, [...flags, ...strict, ...program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  process.once("exit", () => child.kill("SIGKILL"));
  let output = "";
  let errors = "";
  child.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  const closed = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string | null);
  const port = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(reject, START_MS, new Error("The demo was not ready in time"));
    child.stdout.on("data", (chunk) => {
      output += chunk;
      const [, found] = /http:\/\/localhost:([0-9]+)/.exec(output) ?? [];
      if (found === undefined) return;
      clearTimeout(late);
      resolve(found);
    });
    closed.then((code) => reject(new Error(`The demo ended with ${code}: ${errors}`)));
  });
  return {
    url: `http://localhost:${port}`,
    errors: () => errors,
    memory: () => residentBytes(child.pid ?? 0),
    ended: () => child.exitCode ?? child.signalCode,
    async stop() {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(child.pid, "SIGTERM");
      return await closed;
    },
  };
}

function residentBytes(pid: number): number {
  try {
    const [, kilobytes] = /^VmRSS:\s+([0-9]+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
    return Number(kilobytes ?? 0) * 1024 + children.reduce((sum, child) => sum + residentBytes(Number(child)), 0);
  } catch {
    return 0;
  }
}
