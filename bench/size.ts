import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { median, printTable, verdict } from "./runner.ts";

const IMPORTS = 15;
const BUNDLED = "bundled by esbuild";
const ENTRIES = {
  zession: ["index"],
  "zession/redis": ["redis/index"],
  both: ["index", "redis/index"],
  "zession/codecs": ["codecs/index"],
} as const;

const root = fileURLToPath(import.meta.resolve("../"));
/** A folder for temporary files. It is inside node_modules, so that they can import `zod` and `redis`. */
const folder = `${root}node_modules/.zession-bench/`;

async function bundle(entries: readonly string[], minify = true) {
  const contents = entries.map((entry) => `export * from "./src/${entry}.ts";`).join("\n");
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    external: ["zod", "zod/*", "redis", "node:*"],
    minify,
    metafile: true,
    write: false,
  });
  return {
    code: outputFiles[0]?.contents ?? new Uint8Array(),
    inputs: Object.values(metafile.outputs)[0]?.inputs ?? {},
  };
}

const kb = (bytes: number): string => (bytes / 1000).toFixed(1);
const zipped = (code: Uint8Array): number => gzipSync(code, { level: 9 }).length;

async function printSizes(): Promise<void> {
  const rows: string[][] = [];
  for (const [name, entries] of Object.entries(ENTRIES)) {
    const { code } = await bundle(entries);
    const bytes = zipped(code);
    rows.push([name, kb(code.length), kb(bytes)]);
  }
  printTable("Size without zod and redis", ["", "KB min", "KB min+gzip"], rows, BUNDLED);

  const { code, inputs } = await bundle(ENTRIES.both);
  const modules = Object.entries(inputs)
    .map(([path, { bytesInOutput }]) => ({ path, bytes: bytesInOutput }))
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);
  const share = (bytes: number): string => `${((bytes / code.length) * 100).toFixed(1)} %`;
  printTable(
    "By module",
    ["", "bytes min", "share"],
    modules.map(({ path, bytes }) => [path.replace(/^.*src\//, ""), String(bytes), share(bytes)]),
    BUNDLED,
  );
}

/** Measures how much longer a new process takes to import zod and zession than zod alone, as the median of pairs. */
async function printImport(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { code } = await bundle(ENTRIES.zession, false);
  writeFileSync(`${folder}zession.mjs`, code);
  const script = (name: string, imports: string): string => {
    const path = `${folder}${name}.mjs`;
    const clock = "const start = performance.now();";
    writeFileSync(path, `${clock}\n${imports}\nprocess.stdout.write(String(performance.now() - start));\n`);
    return path;
  };
  const alone = script("alone", 'await import("zod");');
  const both = script("both", 'await import("zod");\nawait import("./zession.mjs");');
  const take = (path: string): number => Number(execFileSync(process.execPath, [path], { encoding: "utf8" }));
  const pairs = Array.from({ length: IMPORTS }, () => [take(alone), take(both)] as const);
  rmSync(folder, { recursive: true });
  const zod = median(pairs.map(([zod]) => zod));
  const more = median(pairs.map(([zod, both]) => both - zod));
  printTable(
    "Import",
    ["", "ms", "target"],
    [
      ["zod", zod.toFixed(1), ""],
      ["zession in addition", more.toFixed(1), verdict(more, 10, "<=")],
    ],
    `median of ${IMPORTS} pairs of new processes`,
  );
}

await printSizes();
await printImport();
