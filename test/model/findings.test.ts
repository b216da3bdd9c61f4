import { expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, memoryBackend, type SessionEvent } from "../../src/index.ts";

test("an increment beyond the safe integers is rejected as invalid input, also for a field with a custom check", async () => {
  const events: SessionEvent[] = [];
  const even = z.int().refine((n) => n % 2 === 0);
  const store = createSessionStore({
    schema: z.object({ plain: z.int().default(2), checked: even.default(2) }),
    backend: memoryBackend(),
    onEvent: (event) => events.push(event),
  });
  const { token } = await store.create({});
  for (const field of ["plain", "checked"] as const) {
    for (const [held, by, code] of [
      [2, Number.MAX_SAFE_INTEGER, "too_big"],
      [-2, Number.MIN_SAFE_INTEGER, "too_small"],
    ] as const) {
      await store.update(token, { [field]: held });
      await expect(store.increment(token, field, by)).rejects.toMatchObject({
        name: "SessionDataError",
        origin: "given",
        issues: [{ code, path: [field] }],
      });
      expect((await store.peek(token))?.data[field]).toBe(held);
    }
  }
  expect(events.map(({ type }) => type)).toEqual(["created"]);
});
