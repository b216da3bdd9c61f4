import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

const read = async (path: string) => JSON.parse(await readFile(path, "utf8"));
const npm = await read("package.json");
const jsr = await read("jsr.json");

test("npm and JSR publish the same version, licence and entry points", () => {
  const entries = Object.keys(npm.exports).filter((entry) => entry !== "./package.json");
  expect(jsr.version).toBe(npm.version);
  expect(jsr.license).toBe(npm.license);
  expect(Object.keys(jsr.exports)).toEqual(entries);
});

test("every entry point is built from the source that JSR publishes", () => {
  for (const [entry, source] of Object.entries(jsr.exports)) {
    const built = String(source).replace("./src/", "./dist/");
    expect(npm.exports[entry]).toEqual({ types: built.replace(".ts", ".d.ts"), default: built.replace(".ts", ".js") });
  }
});

test("JSR resolves zod and redis to the versions that npm demands, of redis the newest, and there are no other dependencies", () => {
  const { redis, zod } = npm.peerDependencies;
  // A specifier of Deno cannot name alternatives.
  const newest = redis.split(" || ").at(-1);
  expect(jsr.imports).toEqual({ redis: `npm:redis@${newest}`, "zod/v4/core": `npm:zod@${zod}/v4/core` });
  expect(npm.dependencies).toBeUndefined();
  expect(Object.keys(npm.peerDependencies).sort()).toEqual(["redis", "zod"]);
});

test("the tests run with the oldest supported version of zod", async () => {
  const floor = await read("node_modules/zod-floor/package.json");
  expect(npm.peerDependencies.zod).toBe(`^${floor.version}`);
});

test("the changelog has a section for this version", async () => {
  expect(await readFile("CHANGELOG.md", "utf8")).toContain(`## ${npm.version}\n`);
});

test("npm run test:all runs every project of the test configuration", async () => {
  const { scripts } = npm;
  const config = await readFile("test/vitest.config.ts", "utf8");
  const projects = [...config.matchAll(/name: "([\w-]+)"/g)].map(([, name]) => name);
  expect(projects).toContain("exhaustive");
  expect(scripts["test:all"]).toBe("npm test && npm run test:rest");
  const groups = `${scripts.test} ${scripts["test:rest"]}`.match(/test:[\w:]+/g) ?? [];
  const run = groups.flatMap((group) => [...scripts[group].matchAll(/--project ([\w-]+)/g)].map(([, name]) => name));
  expect(new Set(run)).toEqual(new Set(projects));
});
