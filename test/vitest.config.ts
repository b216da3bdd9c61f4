import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const redis = { globalSetup: ["test/support/global-setup.ts"], testTimeout: 20_000, hookTimeout: 60_000 };

/** Files that compute for minutes, which would otherwise be what is left at the end. */
const LONG = /exploration|fuzz\.test|faults\/(replicas|connect)/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isShort = ({ moduleId }: TestSpecification): number => Number(!LONG.test(moduleId));
    return (await super.sort(files)).sort((one, other) => isShort(one) - isShort(other));
  }
}

export default defineConfig({
  test: {
    pool: "forks",
    // Many files wait for servers and clocks more than they compute.
    maxWorkers: 4,
    sequence: { sequencer: LongFirst },
    projects: [
      { extends: true, test: { name: "unit", include: ["test/*.test.ts", "test/http/**/*.test.ts"] } },
      { extends: true, test: { name: "redis", include: ["test/redis/**/*.test.ts"], ...redis } },
      { extends: true, test: { name: "demo", include: ["test/demo/**/*.test.ts"], ...redis } },
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
        test: { name: "zod-floor", include: ["test/{schema,codec,store}*.test.ts"] },
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
