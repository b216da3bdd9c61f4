import { expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, memoryBackend, SessionBackendError } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { intercept, keysOf } from "../support/backends.ts";
import { limitedWays } from "../support/limited-ways.ts";
import { type Ground, limits } from "../support/limits.ts";

function ground(): Ground {
  const clock = manualClock();
  const backend = memoryBackend();
  return {
    backend,
    now: clock.now,
    async expire(id) {
      const access = { verifier: null, previous: true, now: clock.now() };
      const shorter = { set: { session_ttl: "1" }, remove: [], fields: [] };
      await backend.write(id, access, shorter);
      clock.advance("1001ms");
    },
    minute: () => clock.advance("61s"),
  };
}

limits(ground);
limitedWays(ground);

test("a create that fails while it applies a limit leaves no session behind", async () => {
  const inner = memoryBackend();
  const failing = intercept(inner, (method) => {
    if (method !== "page") return;
    throw new SessionBackendError("The server is not available", { reason: "unavailable", outcome: "not-applied" });
  });
  const store = createSessionStore({
    schema: z.object({ userId: z.string() }),
    backend: failing,
    indexes: { user: { from: "userId", limit: { max: 1, whenFull: "evict-oldest" } } },
  });
  await expect(store.create({ userId: "42" })).rejects.toThrow(SessionBackendError);
  await expect.poll(() => keysOf(inner)).toEqual([]);
});
