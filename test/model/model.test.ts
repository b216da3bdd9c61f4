import { expect, test } from "vitest";
import { memoryGround } from "../support/model-grounds.ts";
import { runModel, settings, summary } from "../support/model-runs.ts";

test("a store on the memory backend agrees with the model and keeps all invariants in random sequences of operations", {
  timeout: 600_000,
}, async () => {
  const report = await runModel(memoryGround, settings(2000));
  console.log(summary("memory", report));
  expect(report.failure).toBeNull();
});
