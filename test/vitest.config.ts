import process from "node:process";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { SKIPPED } from "./support/availability.ts";
import { onNode } from "./support/runtime.ts";

const redis = { globalSetup: ["test/support/global-setup.ts"], testTimeout: 20_000, hookTimeout: 60_000 };

/** Tests that compute for long and whose result does not depend on the runtime. */
const EXHAUSTIVE = [
  "test/{exploration,fuzz}/**/*.test.ts",
  "test/http/cookie-{fuzz,jar}.test.ts",
  "test/model/model.test.ts",
];

/** The files that take longest. If they started last, they would run alone at the end. */
const LONG =
  /exploration|fuzz\.test|model\.test|faults\/(replicas|connect)|redis\/(cluster|sentinel|indexes)|demo\/server/;

/** What `canRun` said, to be repeated as the last lines of the run, where nobody overlooks it. */
const skipped = new Set<string>();
process.once("exit", () => {
  for (const line of skipped) console.log(line);
});

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isShort = ({ moduleId }: TestSpecification): number => Number(!LONG.test(moduleId));
    return (await super.sort(files)).sort((one, other) => isShort(one) - isShort(other));
  }
}

export default defineConfig({
  // Examples import the package by its name.
  resolve: { alias: { "zession/backend": fileURLToPath(new URL("../src/backend/index.ts", import.meta.url)) } },
  test: {
    pool: "forks",
    // Many files wait for servers and clocks more than they compute.
    maxWorkers: 4,
    sequence: { sequencer: LongFirst },
    onConsoleLog(log) {
      const lines = log.trim().split("\n");
      const reasons = lines.filter((line) => line.startsWith(SKIPPED));
      for (const line of reasons) skipped.add(line);
      return reasons.length < lines.length;
    },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/{redis,demo,frameworks,faults,consumers}/**", ...EXHAUSTIVE],
          // Samples of the README are written there, and share the modules of their tests.
          server: { deps: { inline: [/node_modules\/\.cache\/readme/] } },
        },
      },
      { extends: true, test: { name: "exhaustive", include: EXHAUSTIVE } },
      { extends: true, test: { name: "redis", include: ["test/redis/**/*.test.ts"], ...redis } },
      {
        extends: true,
        test: {
          name: "demo",
          include: ["test/demo/**/*.test.ts"],
          // The page is the same from any runtime, and Playwright supports Node only.
          exclude: onNode ? [] : ["test/demo/{browser,skipped}.test.ts"],
          ...redis,
        },
      },
      {
        extends: true,
        test: {
          name: "frameworks",
          include: ["test/frameworks/*.test.ts"],
          exclude: [
            ...(onNode ? [] : ["test/frameworks/hono-node-server-*.test.ts"]),
            ...("Bun" in globalThis ? [] : ["test/frameworks/bun.test.ts"]),
          ],
        },
      },
      {
        extends: true,
        test: {
          name: "faults",
          include: ["test/faults/**/*.test.ts"],
          // Faults are a matter of time, so nothing that computes for minutes runs beside them.
          sequence: { groupOrder: 1 },
          maxWorkers: 3,
          ...redis,
        },
      },
      {
        extends: true,
        // The oldest zod that is supported.
        resolve: { alias: [{ find: /^zod(?=$|\/)/, replacement: "zod-floor" }] },
        test: {
          name: "zod-floor",
          include: ["test/{schema,codecs}/*.test.ts", "test/store/{store,rotation,deadline}.test.ts"],
        },
      },
      {
        extends: true,
        // The oldest node-redis that is supported.
        resolve: { alias: [{ find: /^redis$/, replacement: "redis-floor" }] },
        test: {
          name: "redis-floor",
          include: ["test/{redis/*,faults/failover}.test.ts"],
          env: { OLDEST_REDIS: "1" },
          ...redis,
        },
      },
      {
        extends: true,
        test: {
          name: "types",
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ["test/types/*.test-d.ts"],
            tsconfig: "./test/tsconfig.json",
          },
        },
      },
      { extends: true, test: { name: "consumers", include: ["test/consumers/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "types-loose",
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ["test/types/*.test-d.ts"],
            tsconfig: "./test/tsconfig.loose.json",
          },
        },
      },
    ],
    coverage: { provider: "v8", include: ["src/**/*.ts"], reporter: ["text"] },
  },
});
