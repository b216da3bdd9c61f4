import { expect, test } from "vitest";
import { redisGround } from "../support/model-grounds.ts";
import { runModel, settings, summary } from "../support/model-runs.ts";
import { connect } from "../support/redis.ts";

const client = await connect();

test("random operations on a Redis store have the same results as on a plain object, and keep every invariant", {
  timeout: 600_000,
}, async () => {
  const report = await runModel(() => redisGround(client), settings(120));
  console.log(summary("Redis", report));
  expect(report.failure).toBeNull();
  // A sequence that ran out of time has passed every check until then.
  expect(report.late).toBeLessThan(report.sequences / 10);
});
