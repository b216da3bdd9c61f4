import type { SessionBackend } from "../../backend.ts";
import type { Clock } from "../clock.ts";
import { changes } from "./changes.ts";
import { increments } from "./increments.ts";
import { indexes } from "./indexes.ts";
import { insertions } from "./insertions.ts";
import { lifetimes } from "./lifetimes.ts";
import { notifications } from "./notifications.ts";
import { proofs } from "./proofs.ts";
import { removals } from "./removals.ts";
import { secrets } from "./secrets.ts";
import { sizes } from "./sizes.ts";
import { subjectOf } from "./subject.ts";

/**
 * Registers tests for the promises of `SessionBackend`, which every backend must pass.
 *
 * @param test The test function of vitest, node:test, bun:test or Deno.
 * @param makeBackend Called for each test. May return the same backend each time; it may contain other sessions.
 * @param clock The clock that the backend uses for expiration. With a real clock the tests wait about eight seconds in all.
 */
export function backendContract(
  test: (name: string, run: () => Promise<void>) => unknown,
  makeBackend: () => SessionBackend | Promise<SessionBackend>,
  clock: Clock,
): void {
  for (const [name, run] of Object.entries({
    ...insertions,
    ...lifetimes,
    ...removals,
    ...secrets,
    ...proofs,
    ...sizes,
    ...changes,
    ...increments,
    ...indexes,
    ...notifications,
  })) {
    test(name, async () => run(subjectOf(await makeBackend(), clock)));
  }
}
