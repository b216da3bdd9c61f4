import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { buildVersions } from "./baseline.ts";
import { options } from "./runner.ts";
import { commandOf, RUNTIMES, type Runtime } from "./runtimes.ts";

/** The suites. Each runs in its own process, so that none inherits a warm engine or a full heap. */
const SUITES = ["http", "store", "memory", "capacity", "size"];

const { runtime, wanted } = options;
if (!RUNTIMES.includes(runtime as Runtime)) {
  throw new RangeError(`--runtime must be one of ${RUNTIMES.join(", ")}: received "${runtime}"`);
}
const suites = wanted.length > 0 ? wanted : SUITES;
const unknown = suites.find((suite) => !SUITES.includes(suite));
if (unknown !== undefined) throw new RangeError(`Unknown suite "${unknown}": use ${SUITES.join(", ")}`);
const passedOn = process.argv.slice(2).filter((argument) => !wanted.includes(argument));

await buildVersions();
for (const suite of suites) {
  // Only `store` runs on the chosen runtime; the other suites choose their own.
  const own = suite === "store" ? (runtime as Runtime) : "node";
  const [command = "", ...args] = commandOf(own, fileURLToPath(import.meta.resolve(`./${suite}.ts`)));
  const child = spawn(command, [...args, ...passedOn], { stdio: "inherit" });
  const [code] = await once(child, "exit");
  if (code !== 0) process.exit(1);
}
