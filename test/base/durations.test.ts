import { beforeEach, describe, expect, type MockInstance, onTestFinished, test, vi } from "vitest";
import * as z from "zod";
import { createSessionStore, type Duration, isFresh, memoryBackend, sessionCookie } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";

const schema = z.object({ userId: z.string() });

async function created(options: { idleTimeout?: Duration; absoluteTimeout?: Duration | "none" }, authenticated?: true) {
  const store = createSessionStore({ schema, backend: memoryBackend(), ...options });
  return (await store.create({ userId: "42" }, { authenticated })).session;
}

describe("a duration", () => {
  test.each<[Duration, number]>([
    ["30m", 1800],
    ["12h", 43_200],
    ["30d", 2_592_000],
    ["90s", 90],
    ["1.5h", 5400],
    ["1000ms", 1],
    ["0.5m", 30],
    ["001s", 1],
    [60, 60],
  ])("%j as an idleTimeout is %d seconds", async (idleTimeout, seconds) => {
    expect((await created({ idleTimeout })).idleTimeout).toBe(seconds);
  });

  test("a duration can be given at create, rotate and setIdleTimeout", async () => {
    const store = createSessionStore({ schema, backend: memoryBackend() });
    const { token, session } = await store.create({ userId: "42" }, { idleTimeout: "1m", absoluteTimeout: "1h" });
    expect(session.idleTimeout).toBe(60);
    expect(session.deadline).toEqual(new Date(session.createdAt.getTime() + 3_600_000));
    expect((await store.setIdleTimeout(token, "2m"))?.idleTimeout).toBe(120);
    const rotated = await store.rotate(token, { idleTimeout: "3m" });
    expect(rotated?.session.idleTimeout).toBe(180);
    await expect(store.setIdleTimeout(rotated?.token ?? "", "1500ms")).rejects.toThrow(
      /^Cannot .* idleTimeout must be /,
    );
  });

  test('a session without an absolute timeout can be had from a store with one, by "none"', async () => {
    const store = createSessionStore({ schema, backend: memoryBackend(), absoluteTimeout: "1h" });
    expect((await store.create({ userId: "42" }, { absoluteTimeout: "none" })).session.deadline).toBeNull();
    expect((await created({ absoluteTimeout: "none" })).deadline).toBeNull();
  });

  test("a grace period may be less than a second", async () => {
    const clock = manualClock();
    const store = createSessionStore({ schema, backend: memoryBackend(), now: clock.now });
    const { token } = await store.create({ userId: "42" });
    await store.rotate(token, { grace: "500ms" });
    clock.advance("499ms");
    expect(await store.peek(token)).not.toBeNull();
    clock.advance("1ms");
    expect(await store.peek(token)).toBeNull();
    await expect(store.rotate(token, { grace: "61s" })).rejects.toThrow(
      'grace must be from "0s" to "1m": received "61s"',
    );
  });

  test("isFresh accepts a duration, and rejects what is none", async () => {
    const session = await created({}, true);
    const at = session.authenticatedAt?.getTime() ?? 0;
    expect(isFresh(session, "5m", at + 300_000)).toBe(true);
    expect(isFresh(session, "5m", at + 300_001)).toBe(false);
    expect(isFresh(session, 0, at)).toBe(true);
    expect(() => isFresh(session, "5min" as Duration)).toThrow(RangeError);
    expect(() => isFresh(session, null as unknown as Duration)).toThrow(TypeError);
  });

  test("a cookie's maxAge is a duration of whole seconds", async () => {
    const cookie = sessionCookie();
    const { token } = await createSessionStore({ schema, backend: memoryBackend() }).create({ userId: "42" });
    expect(cookie.write(token, "30d")).toContain("; Max-Age=2592000;");
    expect(() => cookie.write(token, "401d")).toThrow(RangeError);
    expect(() => cookie.write(token, "1500ms")).toThrow(RangeError);
  });
});

describe("a number above 86,400", () => {
  let warn: MockInstance<typeof console.warn>;
  let make: typeof createSessionStore;

  beforeEach(async () => {
    warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    onTestFinished(() => warn.mockRestore());
    // What was already warned about is a matter of the whole process.
    vi.resetModules();
    make = (await import("../../src/index.ts")).createSessionStore;
  });

  test("a number above 86,400 is a warning that shows both texts, once per option", () => {
    for (let times = 0; times < 2; times++) make({ schema, backend: memoryBackend(), idleTimeout: 30 * 60 * 1000 });
    expect(warn.mock.calls).toEqual([
      [
        'zession: idleTimeout is 1800000, and a number is in seconds: 20.8 days. Write "500h", or "30m" if you meant milliseconds',
      ],
    ]);
    make({ schema, backend: memoryBackend(), idleTimeout: 86_401, absoluteTimeout: 30 * 86_400 });
    expect(warn.mock.calls.slice(1)).toEqual([
      [
        'zession: absoluteTimeout is 2592000, and a number is in seconds: 30.0 days. Write "30d", or "2592s" if you meant milliseconds',
      ],
    ]);
  });

  test("a text, and a number of at most a day, are no warning, nor is a session of the store", async () => {
    const store = make({ schema, backend: memoryBackend(), idleTimeout: "15d", absoluteTimeout: "30d" });
    await store.create({ userId: "42" });
    await store.create({ userId: "42" }, { idleTimeout: 86_400 });
    expect(warn).not.toHaveBeenCalled();
  });
});
