import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { options } from "./runner.ts";
import { commandOf, RUNTIMES, type Runtime } from "./runtimes.ts";

/** Each suite in a process of its own, one after the other, so that none is warmed up or heaped upon by another. */
const SUITES = ["store", "http", "memory", "capacity", "size"];

const { runtime, wanted } = options;
if (!RUNTIMES.includes(runtime as Runtime)) throw new RangeError(`--runtime must be one of ${RUNTIMES.join(", ")}`);
const suites = wanted.length > 0 ? wanted : SUITES;
if (!suites.every((suite) => SUITES.includes(suite))) throw new RangeError(`The suites are ${SUITES.join(", ")}`);
const passedOn = process.argv.slice(2).filter((argument) => !wanted.includes(argument));

for (const suite of suites) {
  // The others choose for themselves what they measure on.
  const own = suite === "store" ? (runtime as Runtime) : "node";
  const [command = "", ...args] = commandOf(own, fileURLToPath(import.meta.resolve(`./${suite}.ts`)));
  const child = spawn(command, [...args, ...passedOn], { stdio: "inherit" });
  const [code] = await once(child, "exit");
  if (code !== 0) process.exit(1);
}
