import { expect, test } from "vitest";
import { memoryGround } from "../support/model-grounds.ts";
import { runModel, settings, summary } from "../support/model-runs.ts";

test("random uses of a store on memory come out as on a plain object, and keep every promise after each step", {
  timeout: 600_000,
}, async () => {
  const report = await runModel(memoryGround, settings(2000));
  console.log(summary("memory", report));
  expect(report.failure).toBeNull();
});
