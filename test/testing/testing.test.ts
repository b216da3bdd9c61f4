import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, type SessionBackend, sessionMiddleware } from "../../src/index.ts";
import { backendContract, manualClock, testSession } from "../../src/testing/index.ts";

describe("manualClock", () => {
  test("stands still until it is moved", () => {
    const { now, advance } = manualClock(new Date("2030-01-01T00:00:00Z"));
    expect([now(), now()]).toEqual([1_893_456_000_000, 1_893_456_000_000]);
    advance(1500);
    expect(now()).toBe(1_893_456_001_500);
    advance(-500);
    expect(now()).toBe(1_893_456_001_000);
  });

  test("moves a store on memory through time at once", async () => {
    const clock = manualClock();
    const store = createSessionStore({ schema: z.object({}), backend: memoryBackend(), now: clock.now });
    const { token } = await store.create({});
    clock.advance(1_800_000);
    expect(await store.peek(token)).not.toBeNull();
    clock.advance(1);
    expect(await store.peek(token)).toBeNull();
  });
});

describe("testSession", () => {
  const schema = z.object({ user: z.string(), views: z.int().default(0) });
  const newStore = () => createSessionStore({ schema, backend: memoryBackend() });

  test("gives token and session of a new session", async () => {
    const store = newStore();
    const { token, session } = await testSession(store, { user: "andrew" });
    expect(session.data).toEqual({ user: "andrew", views: 0 });
    expect(await store.peek(token)).toEqual(session);
  });

  test("gives headers with which a request is signed in", async () => {
    const store = newStore();
    const handle = sessionMiddleware(store);
    const { headers } = await testSession(store, { user: "andrew" });
    const request = new Request("https://example.com/", { headers });
    const response = await handle(request, async (session) => new Response((await session.get())?.data.user));
    expect(await response.text()).toBe("andrew");
  });

  test("names the cookie as its attributes do", async () => {
    const names: string[] = [];
    for (const cookie of [undefined, {}, { secure: false }, { path: "/app" }, { name: "visit" }]) {
      const { token, headers } = await testSession(newStore(), { user: "andrew" }, { cookie });
      const [name, value] = headers.cookie.split("=");
      expect(value).toBe(token);
      names.push(name as string);
    }
    expect(names).toEqual(["__Host-sid", "__Host-sid", "sid", "__Secure-sid", "visit"]);
  });

  test("refuses attributes that the middleware would refuse, and options that it does not know", async () => {
    const store = newStore();
    const user = { user: "andrew" };
    await expect(testSession(store, user, { cookie: { name: "a b" } })).rejects.toThrow(TypeError);
    await expect(testSession(store, user, { cookies: {} } as never)).rejects.toThrow('no option "cookies"');
  });
});

describe("backendContract", () => {
  /** Runs the contract and gives the names of the tests that fail. */
  async function failures(makeBackend: () => SessionBackend): Promise<string[]> {
    const tests: [string, () => Promise<void>][] = [];
    backendContract((name, run) => tests.push([name, run]), makeBackend, manualClock());
    const failed: string[] = [];
    for (const [name, run] of tests) await run().catch(() => failed.push(name));
    return failed;
  }

  const later = () => new Promise<void>((done) => setTimeout(done));

  /** Ways to break a promise, each on top of a backend that keeps them all. */
  const broken: Record<string, (good: SessionBackend) => Partial<SessionBackend>> = {
    "insert replaces": (good) => ({
      async insert(key, record, now) {
        await good.remove(key, { verifier: null, previous: true, now });
        return await good.insert(key, record, now);
      },
    }),
    "insert tells nothing": (good) => ({
      insert: (key, record, now) => good.insert(key, record, now).then(() => "inserted"),
    }),
    "insert forgets the deadline": (good) => ({
      insert(key, { session_deadline: _, ...record }, now) {
        return good.insert(key, record, now);
      },
    }),
    "insert does not copy": (good) => {
      const live = new Map<string, object>();
      return {
        async insert(key, record, now) {
          live.set(key, record);
          return await good.insert(key, record, now);
        },
        read: async (key, access, request) => {
          const found = await good.read(key, access, request);
          return typeof found === "object" && found !== null && !request.touch ? { ...found, ...live.get(key) } : found;
        },
      };
    },
    "write creates": (good) => ({
      async write(key, access, change) {
        await good.insert(key, { created_at: "", last_accessed_at: "", session_ttl: "60", ...change.set }, access.now);
        return await good.write(key, access, change);
      },
    }),
    "increment creates": (good) => ({
      async increment(key, access, increment) {
        const zombie = { created_at: "", last_accessed_at: "", session_ttl: "60" };
        await good.insert(key, zombie, access.now);
        return await good.increment(key, access, increment);
      },
    }),
    "read ignores the secret": (good) => ({
      read: (key, access, request) => good.read(key, { ...access, verifier: null }, request),
    }),
    "remove ignores the secret": (good) => ({
      remove: (key, access) => good.remove(key, { ...access, verifier: null }),
    }),
    "read opens to the secret before for ever": (good) => ({
      read: (key, access, request) => good.read(key, { ...access, now: 1 }, request),
    }),
    "write lets the secret before rotate": (good) => ({
      write: (key, access, change) => good.write(key, { ...access, previous: true }, change),
    }),
    "read always touches": (good) => ({
      read: (key, access, request) => good.read(key, access, { ...request, touch: true }),
    }),
    "read never touches": (good) => ({
      read: (key, access, request) => good.read(key, access, { ...request, touch: false }),
    }),
    "write answers what is after it": (good) => ({
      async write(key, access, change) {
        const before = await good.write(key, access, change);
        return typeof before === "string" ? before : await good.read(key, access, { touch: false, fields: null });
      },
    }),
    "write is read, then write": (good) => ({
      async write(key, access, change) {
        const before = await good.read(key, access, { touch: false, fields: null });
        await later();
        const answer = await good.write(key, access, change);
        return answer === "changed" || answer === null ? answer : before;
      },
    }),
    "compare, then set": (good) => ({
      async write(key, access, change) {
        const before = await good.read(key, access, { touch: false, fields: null });
        if (typeof before === "string" || before === null) return before;
        const { expect: expected = {}, ...rest } = change;
        if (Object.entries(expected).some(([name, text]) => (before[name] ?? null) !== text)) return "changed";
        await later();
        return await good.write(key, access, rest);
      },
    }),
    "expect knows no absence": (good) => ({
      write: (key, access, { expect: expected = {}, ...change }) =>
        good.write(key, access, {
          ...change,
          expect: Object.fromEntries(Object.entries(expected).filter(([, text]) => text !== null)),
        }),
    }),
    "increment knows no bounds": (good) => ({
      increment: (key, access, increment) =>
        good.increment(key, access, { ...increment, max: Number.MAX_SAFE_INTEGER }),
    }),
    "increment reads, then writes": (good) => ({
      async increment(key, access, increment) {
        const record = await good.read(key, access, { touch: false, fields: null });
        if (typeof record === "string" || record === null) return record;
        const sum = Number(record[increment.field] ?? increment.from) + increment.by;
        await later();
        await good.write(key, access, { set: { [increment.field]: String(sum) }, remove: [], fields: [] });
        return sum;
      },
    }),
    "remove always answers a session": (good) => ({
      remove: async (key, access) => (await good.remove(key, access)) ?? {},
    }),
    "answers inherit from Object": (good) => ({
      async read(key, access, request) {
        const record = await good.read(key, access, request);
        return typeof record === "object" && record !== null ? { ...record } : record;
      },
    }),
    "keys stops after a page": (good) => ({
      async *keys() {
        for await (const page of good.keys()) return yield page;
      },
    }),
  };

  test("a backend that keeps every promise passes", async () => {
    expect(await failures(() => memoryBackend())).toEqual([]);
  });

  for (const [what, breaks] of Object.entries(broken)) {
    test(`fails where ${what}`, async () => {
      const failed = await failures(() => {
        const good = memoryBackend();
        return { ...good, ...breaks(good) };
      });
      expect(failed).not.toEqual([]);
    });
  }
});
