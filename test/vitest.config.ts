import { defineConfig } from "vitest/config";

const redis = { globalSetup: ["test/support/global-setup.ts"], testTimeout: 20_000, hookTimeout: 60_000 };

export default defineConfig({
  test: {
    pool: "forks",
    projects: [
      { extends: true, test: { name: "unit", include: ["test/*.test.ts"] } },
      { extends: true, test: { name: "redis", include: ["test/redis/**/*.test.ts"], ...redis } },
      { extends: true, test: { name: "demo", include: ["test/demo/**/*.test.ts"], ...redis } },
      { extends: true, test: { name: "faults", include: ["test/faults/**/*.test.ts"], ...redis } },
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
