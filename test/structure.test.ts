import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";

const MAX_LINES = 250;
const MAX_ROOT_FILES = 8;

const source = new URL("../src/", import.meta.url);
const files = (await readdir(source, { recursive: true })).map((path) => path.replaceAll("\\", "/"));
const modules = files.filter((path) => path.endsWith(".ts"));

// The linter checks which folder may import from which: noRestrictedImports in .biome.json.

test("at most eight modules lie directly in src, and all others in a folder", () => {
  const direct = modules.filter((path) => !path.includes("/"));
  expect(direct).toContain("index.ts");
  expect(direct.length).toBeLessThanOrEqual(MAX_ROOT_FILES);
});

test.each(modules)("src/%s has at most 250 lines", async (path) => {
  const text = await readFile(new URL(path, source), "utf8");
  expect(text.split("\n").length - 1).toBeLessThanOrEqual(MAX_LINES);
});
