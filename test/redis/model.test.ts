import { expect, test } from "vitest";
import { redisGround } from "../support/model-grounds.ts";
import { runModel, settings, summary } from "../support/model-runs.ts";
import { connect } from "../support/redis.ts";

const client = await connect();

test("random uses of a store on Redis come out as on a plain object, and keep every promise after each step", {
  timeout: 600_000,
}, async () => {
  const report = await runModel(() => redisGround(client), settings(300));
  console.log(summary("Redis", report));
  expect(report.failure).toBeNull();
  // A sequence that was given up has still held up to there.
  expect(report.late).toBeLessThan(report.sequences / 10);
});
