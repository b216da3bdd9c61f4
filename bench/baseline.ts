import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(import.meta.resolve("../"));
/** Inside node_modules, so that the bundles can import `zod` and `redis`. */
const cache = `${root}node_modules/.zession-bench/`;
/** The last commit of version 0.1.0. */
const BASELINE = "e0407675";

export const VERSIONS = ["now", "0.1.0"] as const;
export type Version = (typeof VERSIONS)[number];
/** The parts of zession that the benchmarks use, which have the same form in both versions. */
export type Zession = typeof import("../src/index.ts") & typeof import("../src/redis/index.ts");

/** Bundles the present sources, and version 0.1.0 from the history of Git, in the same way. */
export async function buildVersions(): Promise<void> {
  const sources = `${cache}${BASELINE}/`;
  if (!existsSync(sources)) {
    mkdirSync(sources, { recursive: true });
    const archive = execFileSync("git", ["archive", BASELINE, "src"], { cwd: root, maxBuffer: 2 ** 28 });
    execFileSync("tar", ["-x", "-C", sources], { input: archive });
  }
  for (const [version, from] of [["now", root] as const, ["0.1.0", sources] as const]) {
    const contents = 'export * from "./src/index.ts"; export * from "./src/redis/index.ts";';
    await build({
      stdin: { contents, resolveDir: from },
      outfile: fileOf(version),
      bundle: true,
      format: "esm",
      platform: "neutral",
      target: "es2022",
      external: ["zod", "zod/*", "redis", "node:*"],
    });
  }
}

const fileOf = (version: Version): string => `${cache}zession-${version}.mjs`;

/** Imports what `buildVersions` has bundled. */
export async function importVersion(version: Version): Promise<Zession> {
  return (await import(pathToFileURL(fileOf(version)).href)) as Zession;
}
