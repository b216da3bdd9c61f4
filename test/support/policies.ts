import { describe, expect, test } from "vitest";
import type { SessionBackend } from "../../src/index.ts";
import { intercept } from "./backends.ts";
import { gate } from "./gate.ts";
import { memberStore } from "./members.ts";

/** An empty backend and its clock. */
export interface PolicyPlace {
  readonly backend: SessionBackend;
  now(): number;
}

/** Rules that the store keeps on every backend. */
export function policies(open: () => PolicyPlace): void {
  describe("a call that its caller aborts", () => {
    test("an aborted call rejects with the reason aborted and reports no event", async () => {
      const { backend, now } = open();
      const held = gate();
      let reached = gate();
      const slow = intercept(backend, async (method) => {
        if (method === "insert") return;
        reached.open();
        await held.passed;
      });
      const { store, events } = memberStore(slow, now);
      const { token } = await store.create({});
      events.length = 0;
      const calls = {
        get: (signal: AbortSignal) => store.get(token, { signal }),
        update: (signal: AbortSignal) => store.update(token, { views: 1 }, { signal }),
        revokeAll: (signal: AbortSignal) => store.revokeAll({ user: "andrew" }, { signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        await expect(call(AbortSignal.abort()), name).rejects.toMatchObject({ reason: "aborted" });
        reached = gate();
        const during = new AbortController();
        const pending = call(during.signal);
        await reached.passed;
        during.abort();
        await expect(pending, name).rejects.toMatchObject({ reason: "aborted" });
      }
      held.open();
      expect(events).toEqual([]);
    });
  });
}
