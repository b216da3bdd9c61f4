import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { until } from "./until.ts";

/** A process on the runtime of the tests. */
export interface OwnProcess {
  /** Waits until the process has printed these words. */
  says(words: string): Promise<void>;
  tell(line: string): void;
  /** Returns the exit code, or `null` if the process did not exit in this time and was killed. */
  end(milliseconds: number): Promise<number | null>;
}

/** @param file A module in test/support. */
export function startProcess(file: string, ...args: string[]): OwnProcess {
  const flags = process.versions["deno"] === undefined ? [] : ["run", "-A"];
  const child = spawn(process.execPath, [...flags, `test/support/${file}`, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let said = "";
  const take = (chunk: unknown): void => {
    said += chunk;
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const ended = once(child, "close").then(([code]) => code as number | null);
  return {
    async says(words) {
      await until(`it says "${words}", but: ${said}`, () => said.includes(words)).catch(() => {
        throw new Error(`The process has not said "${words}" but: ${said}`);
      });
    },
    tell: (line) => child.stdin.write(`${line}\n`),
    async end(milliseconds) {
      const late = setTimeout(() => child.kill("SIGKILL"), milliseconds);
      const code = await ended;
      clearTimeout(late);
      return code;
    },
  };
}
