import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { EndListener } from "../../src/backend.ts";
import {
  createSessionStore,
  type Duration,
  memoryBackend,
  type SessionBackend,
  sessionMiddleware,
} from "../../src/index.ts";
import { backendContract, manualClock, testSession } from "../../src/testing/index.ts";

describe("manualClock", () => {
  test("manualClock does not move by itself", () => {
    const { now, advance } = manualClock(new Date("2030-01-01T00:00:00Z"));
    expect([now(), now()]).toEqual([1_893_456_000_000, 1_893_456_000_000]);
    advance("1.5s");
    expect(now()).toBe(1_893_456_001_500);
    advance(-0.5);
    expect(now()).toBe(1_893_456_001_000);
  });

  test("manualClock rejects what is no duration", () => {
    const { advance } = manualClock();
    expect(() => advance("soon" as Duration)).toThrow(RangeError);
    expect(() => advance(undefined as unknown as Duration)).toThrow(TypeError);
  });

  test("a session in memory expires when manualClock is advanced", async () => {
    const clock = manualClock();
    const store = createSessionStore({ schema: z.object({}), backend: memoryBackend(), now: clock.now });
    const { token } = await store.create({});
    clock.advance("30m");
    expect(await store.peek(token)).not.toBeNull();
    clock.advance("1ms");
    expect(await store.peek(token)).toBeNull();
  });
});

describe("testSession", () => {
  const schema = z.object({ user: z.string(), views: z.int().default(0) });
  const newStore = () => createSessionStore({ schema, backend: memoryBackend() });

  test("testSession returns the token and the session of a new session", async () => {
    const store = newStore();
    const { token, session } = await testSession(store, { user: "andrew" });
    expect(session.data).toEqual({ user: "andrew", views: 0 });
    expect(await store.peek(token)).toEqual(session);
  });

  test("testSession returns headers that authenticate a request", async () => {
    const store = newStore();
    const handle = sessionMiddleware(store);
    const { headers } = await testSession(store, { user: "andrew" });
    const request = new Request("https://example.com/", { headers });
    const response = await handle(request, async (session) => new Response((await session.get())?.data.user));
    expect(await response.text()).toBe("andrew");
  });

  test("testSession names the cookie according to the given cookie options", async () => {
    const names: string[] = [];
    for (const cookie of [undefined, {}, { secure: false }, { path: "/app" }, { name: "visit" }]) {
      const { token, headers } = await testSession(newStore(), { user: "andrew" }, { cookie });
      const [name, value] = headers.cookie.split("=");
      expect(value).toBe(token);
      names.push(name as string);
    }
    expect(names).toEqual(["__Host-Http-sid", "__Host-Http-sid", "sid", "__Http-sid", "visit"]);
  });

  test("testSession rejects invalid cookie options and unknown options", async () => {
    const store = newStore();
    const user = { user: "andrew" };
    await expect(testSession(store, user, { cookie: { name: "a b" } })).rejects.toThrow(TypeError);
    await expect(testSession(store, user, { cookies: {} } as never)).rejects.toThrow('no option "cookies"');
  });
});

describe("backendContract", () => {
  /** Runs the contract and returns the names of the failing tests. */
  async function failures(makeBackend: () => SessionBackend): Promise<string[]> {
    const tests: [string, () => Promise<void>][] = [];
    backendContract((name, run) => tests.push([name, run]), makeBackend, manualClock());
    const failed: string[] = [];
    for (const [name, run] of tests) await run().catch(() => failed.push(name));
    return failed;
  }

  const later = () => new Promise<void>((done) => setTimeout(done));

  /** Ways to violate the contract, each applied to a backend that fulfils it. */
  const broken: Record<string, (good: SessionBackend) => Partial<SessionBackend>> = {
    "insert replaces an existing session": (good) => ({
      async insert(key, record, insertion, now) {
        await good.remove(key, { verifier: null, previous: true, now }, { id: key, cause: "destroyed" }, []);
        return await good.insert(key, record, insertion, now);
      },
    }),
    "insert does not report that a key is taken": (good) => ({
      async insert(key, record, insertion, now) {
        const inserted = await good.insert(key, record, insertion, now);
        return inserted === "taken" ? record : inserted;
      },
    }),
    "insert ignores the absolute timeout": (good) => ({
      insert: (key, record, { absolute: _, ...insertion }, now) => good.insert(key, record, insertion, now),
    }),
    "insert ignores the time until which the indexes hold the session": (good) => ({
      insert: (key, record, { covered: _, ...insertion }, now) => good.insert(key, record, insertion, now),
    }),
    "insert ignores the maximum lifetime": (good) => ({
      insert: (key, record, { life: _, ...insertion }, now) => good.insert(key, record, insertion, now),
    }),
    "insert stores the caller's object without copying it": (good) => {
      const live = new Map<string, object>();
      return {
        async insert(key, record, insertion, now) {
          live.set(key, record);
          return await good.insert(key, record, insertion, now);
        },
        read: async (key, access, request) => {
          const found = await good.read(key, access, request);
          return typeof found === "object" && found !== null ? { ...found, ...live.get(key) } : found;
        },
      };
    },
    "write creates a session": (good) => ({
      async write(key, access, change) {
        await good.insert(key, { session_ttl: "60", ...change.set }, {}, access.now);
        return await good.write(key, access, change);
      },
    }),
    "increment creates a session": (good) => ({
      async increment(key, access, increment) {
        await good.insert(key, { session_ttl: "60" }, {}, access.now);
        return await good.increment(key, access, increment);
      },
    }),
    "extend moves a member to the end": (good) => ({
      async extend(entry, key, life, now) {
        return await good.enter(entry, key, life, 0, now);
      },
    }),
    "extend does not add a member that is missing": (good) => ({
      async extend(entry, key, life, now) {
        const { members } = await good.page(entry, 0, 1000, now);
        const isThere = members.some((member) => member.key === key);
        return isThere ? await good.extend(entry, key, life, now) : { at: now, sample: [], isNew: true };
      },
    }),
    "extend does not let the index live longer": (good) => ({
      extend: (entry, key, _, now) => good.extend(entry, key, 0, now),
    }),
    "read does not check the secret": (good) => ({
      read: (key, access, request) => good.read(key, { ...access, verifier: null }, request),
    }),
    "remove does not check the secret": (good) => ({
      remove: (key, access, ...rest) => good.remove(key, { ...access, verifier: null }, ...rest),
    }),
    "increment does not check the proof of the device": (good) => ({
      increment: (key, access, increment) => good.increment(key, { ...access, unproven: true }, increment),
    }),
    "remove always requires the proof of the device": (good) => ({
      remove: (key, access, ...rest) => good.remove(key, { ...access, unproven: false }, ...rest),
    }),
    "shared answers every call with another text": () => ({
      shared: async () => crypto.randomUUID().padEnd(43, "0"),
    }),
    "notify reports ends that did not happen": (good) => {
      const listeners = new Set<EndListener>();
      return {
        notify(listener) {
          listeners.add(listener);
          listener.hears(true);
          return () => listeners.delete(listener);
        },
        async remove(key, access, ending, ...rest) {
          for (const { ended } of listeners) ended(ending.id, ending.cause);
          return await good.remove(key, access, ending, ...rest);
        },
      };
    },
    "left ignores the deadline": (good) => ({
      left: async (keys, now) => (await good.left?.(keys, now))?.map((left) => (left < 0 ? 1 : left)) ?? [],
    }),
    "remove does not compare the fields": (good) => ({
      remove: (key, access, ending, fields) => good.remove(key, access, ending, fields),
    }),
    "remove returns the reserved fields alone": (good) => ({
      async remove(...args) {
        const record = await good.remove(...args);
        if (typeof record !== "object" || record === null) return record;
        return Object.fromEntries(Object.entries(record).filter(([name]) => /^session_|_at$/.test(name)));
      },
    }),
    "read accepts the former secret for ever": (good) => ({
      read: (key, access, request) => good.read(key, { ...access, now: 1 }, request),
    }),
    "write lets the former secret rotate": (good) => ({
      write: (key, access, change) => good.write(key, { ...access, previous: true }, change),
    }),
    "read touches": (good) => ({
      async read(key, access, request) {
        await good.touch(key, access);
        return await good.read(key, access, request);
      },
    }),
    "touch only reads": (good) => ({
      touch: (key, access) => good.read(key, access, { fields: [] }),
    }),
    "touch changes the record and not its lifetime": (good) => ({
      touch: async (key, access) => {
        const found = await good.read(key, access, { fields: [] });
        if (typeof found !== "object" || found === null) return found;
        const set = { last_accessed_at: new Date(access.now).toISOString() };
        const written = await good.write(key, access, { set, remove: [], fields: [], touch: false });
        return typeof written === "object" && written !== null ? written.after : null;
      },
    }),
    "write returns the record after the change as the one before it": (good) => ({
      async write(key, access, change) {
        const written = await good.write(key, access, change);
        return typeof written === "string" || written === null ? written : { ...written, before: written.after };
      },
    }),
    "write returns the record before the change as the one after it": (good) => ({
      async write(key, access, change) {
        const written = await good.write(key, access, change);
        return typeof written === "string" || written === null ? written : { ...written, after: written.before };
      },
    }),
    "write gives no field the time": (good) => ({
      write: (key, access, { stamp: _, ...change }) => good.write(key, access, change),
    }),
    "write ignores the grace period": (good) => ({
      write: (key, access, { grace: _, ...change }) => good.write(key, access, change),
    }),
    "write reads and then writes in two steps": (good) => ({
      async write(key, access, change) {
        const before = await good.read(key, access, { fields: null });
        await later();
        const answer = await good.write(key, access, change);
        const isWritten =
          typeof answer === "object" && answer !== null && typeof before === "object" && before !== null;
        return isWritten ? { ...answer, before } : answer;
      },
    }),
    "write compares and then sets in two steps": (good) => ({
      async write(key, access, change) {
        const before = await good.read(key, access, { fields: null });
        if (typeof before === "string" || before === null) return before;
        const { expect: expected = {}, ...rest } = change;
        if (Object.entries(expected).some(([name, text]) => (before[name] ?? null) !== text)) return "changed";
        await later();
        return await good.write(key, access, rest);
      },
    }),
    "write does not check that a field is absent": (good) => ({
      write: (key, access, { expect: expected = {}, ...change }) =>
        good.write(key, access, {
          ...change,
          expect: Object.fromEntries(Object.entries(expected).filter(([, text]) => text !== null)),
        }),
    }),
    "increment ignores its bounds": (good) => ({
      increment: (key, access, increment) =>
        good.increment(key, access, { ...increment, max: Number.MAX_SAFE_INTEGER }),
    }),
    "increment reads and then writes in two steps": (good) => ({
      async increment(key, access, increment) {
        const record = await good.read(key, access, { fields: null });
        if (typeof record === "string" || record === null) return record;
        const sum = Number(record[increment.field] ?? increment.from) + increment.by;
        await later();
        const change = { set: { [increment.field]: String(sum) }, remove: [], fields: null };
        const written = await good.write(key, access, change);
        return typeof written === "object" && written !== null ? written.after : null;
      },
    }),
    "remove always reports that a session was ended": (good) => ({
      remove: async (...args) => (await good.remove(...args)) ?? {},
    }),
    "returned records inherit from Object": (good) => ({
      async read(key, access, request) {
        const record = await good.read(key, access, request);
        return typeof record === "object" && record !== null ? { ...record } : record;
      },
    }),
    "keys() ends after one page": (good) => ({
      async *keys() {
        for await (const page of good.keys()) return yield page;
      },
    }),
  };

  test("the contract passes for a backend that fulfils it", async () => {
    expect(await failures(() => memoryBackend())).toEqual([]);
  });

  for (const [what, breaks] of Object.entries(broken)) {
    test(`the contract fails for a backend where ${what}`, async () => {
      const failed = await failures(() => {
        const good = memoryBackend();
        return { ...good, ...breaks(good) };
      });
      expect(failed).not.toEqual([]);
    });
  }
});
