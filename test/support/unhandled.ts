import process from "node:process";
import { afterAll, beforeAll } from "vitest";

/** Collects the rejections that no code handles during the tests around the call. Each of them would end the process. */
export function unhandledRejections(): unknown[] {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => {
    unhandled.push(reason);
  };
  beforeAll(() => {
    process.on("unhandledRejection", note);
  });
  afterAll(() => {
    process.off("unhandledRejection", note);
  });
  return unhandled;
}
