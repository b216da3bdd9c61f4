import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";

/** The start of a line that says which tests did not run. test/run.ts and .ci/run repeat these lines at their end. */
export const SKIPPED = "skipped: ";

/** Why something cannot be used, and the command that installs it. `null` if it can be used. */
export type Missing = string | null;

export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

export function missingChromium(): Missing {
  return existsSync(CHROMIUM) ? null : `no Chromium at ${CHROMIUM}; apt-get install chromium`;
}

/**
 * @param command Prints the version of the program.
 * @param install Installs the program.
 */
export function missingProgram([program, ...args]: readonly [string, ...string[]], install: string): Missing {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0 ? null : `cannot run ${program}; ${install}`;
}

/** Whether a runtime that npm installs can be started. */
export function missingRuntime(name: "bun" | "deno" | "node"): Missing {
  // The file also exists when npm did not run the install script that downloads the program.
  return missingProgram([`node_modules/.bin/${name}`, "--version"], `npm ci && npm rebuild ${name}`);
}

/** Whether a group of tests can run. If it cannot, the run's last lines name the group and the reason. */
export function canRun(group: string, missing: Missing): boolean {
  if (missing !== null) console.log(`${SKIPPED}${group}: ${missing}`);
  return missing === null;
}
