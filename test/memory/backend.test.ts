import { afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { Written } from "../../src/backend.ts";
import { createSessionStore, memoryBackend, SessionBackendError } from "../../src/index.ts";
import { backendContract, manualClock } from "../../src/testing/index.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const DESTROYED = { id: "i".repeat(22), cause: "destroyed" } as const;
const AT = new Date(START).toISOString();

function record(idleSeconds: number): Record<string, string> {
  return { name: "andrew", created_at: AT, last_accessed_at: AT, session_ttl: String(idleSeconds) };
}

function access(now = START) {
  return { verifier: null, previous: false, now };
}

const look = { fields: null } as const;

async function size(backend: ReturnType<typeof memoryBackend>): Promise<number> {
  let count = 0;
  for await (const page of backend.keys()) count += page.length;
  return count;
}

describe("the backend contract in memory", () => {
  backendContract(test, () => memoryBackend(), manualClock());
});

describe("expiry in memory", () => {
  test("a session exists up to the last millisecond of its idle timeout, and not longer", async () => {
    const backend = memoryBackend();
    await backend.insert("a", record(1), {}, START);
    expect(await backend.read("a", access(START + 1000), look)).not.toBeNull();
    expect(await backend.read("a", access(START + 1001), look)).toBeNull();
  });

  test("a session has expired at its deadline to the millisecond", async () => {
    const backend = memoryBackend();
    await backend.insert("a", record(60), { absolute: 1000 }, START);
    expect(await backend.touch("a", access(START + 999))).not.toBeNull();
    expect(await backend.touch("a", access(START + 1000))).toBeNull();
  });

  test("an idle timeout of 400 days lasts 400 days", async () => {
    const backend = memoryBackend();
    const days = 400 * 86_400;
    await backend.insert("a", record(days), {}, START);
    expect(await backend.touch("a", access(START + days * 1000))).not.toBeNull();
    expect(await backend.read("a", access(START + 2 * days * 1000), look)).not.toBeNull();
    expect(await backend.read("a", access(START + 2 * days * 1000 + 1), look)).toBeNull();
  });

  describe("timers", () => {
    afterEach(() => {
      vi.useRealTimers();
    });

    test("M-05 sessions in memory use no timer that would keep the process alive", async () => {
      vi.useFakeTimers();
      const store = createSessionStore({ schema: z.object({ name: z.string() }), backend: memoryBackend() });
      const { token } = await store.create({ name: "andrew" });
      await store.get(token);
      await store.update(token, { name: "barbara" });
      await store.setIdleTimeout(token, "400d");
      expect(vi.getTimerCount()).toBe(0);
    });
  });

  test("M-02 later inserts remove 100,000 expired sessions, a few with each insert", async () => {
    const backend = memoryBackend();
    for (let at = 0; at < 100_000; at++) await backend.insert(`old${at}`, record(1 + (at % 7)), {}, START + (at % 11));
    const later = START + 60_000;
    await backend.insert("new", record(60), {}, later);
    expect(await size(backend)).toBeGreaterThan(99_900);
    for (let at = 0; at < 50_000; at++) await backend.insert(`new${at}`, record(60), {}, later);
    expect(await size(backend)).toBe(50_001);
  }, 30_000);

  test("the removal of expired sessions spares those that were extended", async () => {
    const backend = memoryBackend();
    for (let at = 0; at < 100; at++) await backend.insert(`old${at}`, record(10), {}, START);
    for (let at = 0; at < 100; at += 2) await backend.touch(`old${at}`, access(START + 9000));
    for (let at = 0; at < 200; at++) await backend.insert(`new${at}`, record(60), {}, START + 15_000);
    for (let at = 0; at < 100; at++) {
      const found = await backend.read(`old${at}`, access(START + 15_000), look);
      expect(found !== null, `old${at}`).toBe(at % 2 === 0);
    }
    expect(await size(backend)).toBe(250);
  });
});

test("later inserts remove all expired sessions, in whatever order they were created and removed", async () => {
  let state = 1;
  const random = (below: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  for (let round = 0; round < 50; round++) {
    const backend = memoryBackend();
    const ends = new Map<string, number>();
    for (let at = 0; at < 60; at++) {
      const idle = 1 + random(100);
      await backend.insert(`old${at}`, record(idle), {}, START);
      ends.set(`old${at}`, idle);
      const key = `old${random(60)}`;
      if (at % 3 === 0 && ends.delete(key)) await backend.remove(key, access(), DESTROYED, []);
    }
    const later = START + 50_500;
    for (let at = 0; at < 60; at++) await backend.insert(`new${at}`, record(60), {}, later);
    const left = [...ends.values()].filter((idle) => idle > 50).length;
    expect(await size(backend), `round ${round}`).toBe(60 + left);
  }
});

describe("the capacity of memoryBackend", () => {
  test("M-03 an insert beyond the capacity rejects and changes nothing", async () => {
    const backend = memoryBackend({ capacity: 2 });
    await backend.insert("a", record(60), {}, START);
    await backend.insert("b", record(60), {}, START);
    const refused = backend.insert("c", record(60), {}, START);
    await expect(refused).rejects.toThrow(SessionBackendError);
    await expect(refused).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    await expect(refused).rejects.toThrow("capacity of 2 entries is reached");
    expect(await size(backend)).toBe(2);
    expect(await backend.read("c", access(), look)).toBeNull();
  });

  test("sessions can be used and ended when the capacity is reached", async () => {
    const backend = memoryBackend({ capacity: 1 });
    await backend.insert("a", record(60), {}, START);
    expect(await backend.insert("a", record(60), {}, START)).toBe("taken");
    expect(await backend.touch("a", access())).not.toBeNull();
    expect(await backend.write("a", access(), { set: { more: "text" }, remove: [], fields: null })).not.toBeNull();
    expect(await backend.remove("a", access(), DESTROYED, [])).not.toBeNull();
    expect(await backend.insert("b", record(60), {}, START)).toBeTypeOf("object");
  });

  test("an insert at the capacity succeeds as soon as one session has expired", async () => {
    const backend = memoryBackend({ capacity: 3 });
    for (const [key, idle] of [
      ["a", 60],
      ["b", 1],
      ["c", 60],
    ] as const)
      await backend.insert(key, record(idle), {}, START);
    expect(await backend.insert("d", record(60), {}, START + 1001)).toBeTypeOf("object");
    await expect(backend.insert("e", record(60), {}, START + 1001)).rejects.toThrow(SessionBackendError);
  });

  test("an insert at the capacity succeeds as soon as a session has expired whose timeout was shortened", async () => {
    const backend = memoryBackend({ capacity: 3 });
    for (const key of ["a", "b", "c"]) await backend.insert(key, record(3600), {}, START);
    await backend.write("b", access(), { set: { session_ttl: "1" }, remove: [], fields: [] });
    expect(await backend.insert("d", record(60), {}, START + 1001)).toBeTypeOf("object");
  });

  test("removed and replaced sessions do not count towards the capacity", async () => {
    const backend = memoryBackend({ capacity: 50 });
    for (let round = 0; round < 20; round++) {
      const now = START + round * 1000;
      for (let at = 0; at < 50; at++) {
        const key = `${at}`;
        if (at % 3 === round % 3) await backend.remove(key, access(now), DESTROYED, []);
        await backend.insert(key, record(1 + ((at * 7 + round) % 5)), {}, now);
        if (at % 4 === 0) await backend.touch(key, access(now));
      }
      expect(await size(backend)).toBe(50);
    }
    const end = START + 60_000;
    for (let at = 0; at < 50; at++) expect(await backend.insert(`new${at}`, record(60), {}, end)).toBeTypeOf("object");
    expect(await size(backend)).toBe(50);
  });

  test("a capacity that is not a positive whole number is rejected", () => {
    for (const capacity of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => memoryBackend({ capacity })).toThrow(RangeError);
    }
    for (const capacity of ["10", null, 10n])
      expect(() => memoryBackend({ capacity: capacity as never })).toThrow(TypeError);
    expect(() => memoryBackend({ capcity: 10 } as never)).toThrow('no option "capcity"');
    expect(() => memoryBackend(null as never)).toThrow(TypeError);
  });
});

test("M-01 keys like __proto__ work as any other key", async () => {
  const backend = memoryBackend();
  for (const key of ["__proto__", "constructor", "", "0"]) {
    expect(await backend.read(key, access(), look)).toBeNull();
    expect(await backend.insert(key, record(60), {}, START)).toBeTypeOf("object");
    expect(await backend.read(key, access(), look)).toMatchObject({ name: "andrew" });
    expect(await backend.remove(key, access(), DESTROYED, [])).not.toBeNull();
  }
  expect(({} as { name?: string }).name).toBeUndefined();
});

test("M-02 no insert takes long after a million sessions have expired, and none of them can be read", async () => {
  const backend = memoryBackend();
  for (let at = 0; at < 1_000_000; at++) await backend.insert(`old${at}`, record(1), {}, START);
  const later = START + 60_000;
  let longest = 0;
  for (let at = 0; at < 1000; at++) {
    expect(await backend.read(`old${at * 999}`, access(later), look)).toBeNull();
    const start = performance.now();
    await backend.insert(`new${at}`, record(60), {}, later);
    longest = Math.max(longest, performance.now() - start);
  }
  // Removing all at once would take seconds. The limit allows for the garbage collector and a busy machine.
  expect(longest).toBeLessThan(500);
}, 30_000);

test("M-04 records are copied: changing one that was passed in or returned does not change what is stored", async () => {
  const backend = memoryBackend();
  const given = record(60);
  await backend.insert("a", given, {}, START);
  given["name"] = "changed";
  const change = { set: { more: "text" }, remove: [], fields: null };
  const written = (await backend.write("a", access(), change)) as Written;
  const found = [written.before, written.after, await backend.read("a", access(), look)];
  change.set.more = "changed";
  for (const one of found) {
    expect(() => {
      (one as Record<string, string>)["name"] = "changed";
    }).toThrow(TypeError);
  }
  expect(await backend.read("a", access(), look)).toMatchObject({ name: "andrew", more: "text" });
});

// M-06, several processes: each has its own memory, as the documentation of `memoryBackend` says.

test("keys() returns the keys in pages of 1,000", async () => {
  const backend = memoryBackend();
  for (let at = 0; at < 2500; at++) await backend.insert(`${at}`, record(60), {}, START);
  const pages: number[] = [];
  for await (const page of backend.keys()) pages.push(page.length);
  expect(pages).toEqual([1000, 1000, 500]);
});
