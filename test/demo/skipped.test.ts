import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { text } from "node:stream/consumers";
import { expect, inject, test } from "vitest";

test("a run without Chromium passes, and its last line says which tests were skipped and how to enable them", async () => {
  const args = ["run", "--config", "test/vitest.config.ts", "--project", "demo", "test/demo/browser.test.ts"];
  const child = spawn("node_modules/.bin/vitest", args, {
    env: { ...process.env, CHROMIUM: "/nowhere/chromium", REDIS_URL: inject("redisUrl") },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, "close")]);
  expect(output.trimEnd().split("\n").at(-1)).toBe(
    "skipped: browser tests: no Chromium at /nowhere/chromium; apt-get install chromium",
  );
  expect(code).toBe(0);
});
