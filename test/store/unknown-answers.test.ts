import { expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, type SessionBackend, type SessionEvent } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { idle } from "../support/gate.ts";
import { unhandledRejections } from "../support/unhandled.ts";

const unhandled = unhandledRejections();

const schema = z.object({ n: z.int().default(0), note: z.string().optional() });

/** A store whose backend answers to every method on one session, except `insert`, with the same value. */
async function answering(answer: unknown) {
  const memory = memoryBackend();
  const { token } = await createSessionStore({ schema, backend: memory }).create({});
  const method = async () => answer as never;
  const backend: SessionBackend = { ...memory, read: method, write: method, increment: method, remove: method };
  const store = createSessionStore({ schema, backend });
  return {
    reads: [store.get, store.peek].map((read) => () => read(token)),
    changes: [
      () => store.update(token, { n: 1 }),
      () => store.update(token, () => ({ n: 1 })),
      () => store.increment(token, "n"),
      () => store.take(token, "note"),
      () => store.setIdleTimeout(token, 60),
      () => store.rotate(token),
      () => store.consume(token),
    ],
    destroy: () => store.destroy(token),
  };
}

test.each(["wrong-device", "", "open"])("an answer that the store does not know is no session: %j", async (answer) => {
  const { reads, changes, destroy } = await answering(answer);
  for (const call of [...reads, ...changes]) expect(await call()).toBeNull();
  expect(await destroy()).toBe(false);
});

test.each([undefined, true, 1])("an answer that is neither a text nor a record is an error: %j", async (answer) => {
  const { reads, changes, destroy } = await answering(answer);
  for (const call of [...reads, ...changes, destroy]) await expect(call()).rejects.toThrow("the backend returned");
});

test("a record without the fields of a session is no session", async () => {
  const { reads } = await answering({});
  for (const read of reads) expect(await read()).toBeNull();
});

test("a backend without shared() cannot be used", () => {
  const { shared: _, ...backend } = memoryBackend();
  expect(() => createSessionStore({ schema, backend: backend as SessionBackend })).toThrow("one without shared()");
});

test("a touch behind an answer that fails by a defect of the backend is reported", async () => {
  const memory = memoryBackend();
  const clock = manualClock();
  const defect = new Error("busy");
  const events: SessionEvent[] = [];
  const backend: SessionBackend = { ...memory, touch: () => Promise.reject(defect) };
  const onEvent = (event: SessionEvent) => events.push(event);
  const store = createSessionStore({ schema, backend, now: clock.now, onEvent });
  const { token } = await store.create({});
  clock.advance("1m");
  expect(await store.get(token)).not.toBeNull();
  await idle();
  expect(events.at(-1)).toMatchObject({ type: "unavailable", error: { cause: defect } });
});

test("a backend that is a rejected promise is a TypeError, and no unhandled rejection", async () => {
  const unfinished = Promise.reject(new Error("no server"));
  expect(() => createSessionStore({ schema, backend: unfinished as never })).toThrow("await it");
  expect(() => redisBackend(unfinished as never)).toThrow("await connectRedis()");
  await idle();
  expect(unhandled).toEqual([]);
});
