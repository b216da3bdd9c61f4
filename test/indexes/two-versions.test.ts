import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";

const v1 = z.object({ userId: z.string().optional(), note: z.string().optional() });
const v2 = z.object({ accountId: z.string(), note: z.string().optional() });

/** Two versions of an application. The index `user` is taken from another field in each. */
function bothVersions() {
  const backend = memoryBackend();
  const clock = manualClock();
  const shared = { backend, now: clock.now };
  const earlier = createSessionStore({ ...shared, schema: v1, indexes: { user: "userId" } });
  const later = createSessionStore({
    ...shared,
    schema: v2,
    version: 2,
    migrations: { 1: { from: v1, to: ({ userId = "none", note }) => ({ accountId: `a-${userId}`, note }) } },
    indexes: { user: "accountId" },
  });
  return { earlier, later, clock };
}

type Use = (scene: ReturnType<typeof bothVersions>, token: string) => Promise<unknown>;

describe("a session of a later version", () => {
  const uses: Readonly<Record<string, Use>> = {
    update: ({ earlier }, token) => earlier.update(token, { userId: "7" }),
    "update with a function": ({ earlier }, token) => earlier.update(token, () => ({ userId: "7" })),
    take: async ({ earlier }, token) => {
      await earlier.update(token, { userId: "7" });
      return await earlier.take(token, "userId");
    },
    "rotate with a patch": async ({ earlier }, token) => await earlier.rotate(token, { patch: { userId: "7" } }),
    reindex: ({ earlier }) => earlier.reindex(),
    get: ({ earlier }, token) => earlier.get(token),
  };

  test.each(Object.entries(uses))("stays in its indexes when an earlier version calls %s", async (_, use) => {
    const both = bothVersions();
    const { later } = both;
    const { token } = await later.create({ accountId: "42" });
    await use(both, token);
    expect(await later.count({ user: "42" })).toBe(1);
    expect(await later.revokeAll({ user: "42" })).toBe(1);
    expect(await later.get(token)).toBeNull();
  });

  test("is found by what an earlier version wrote to the field of the index until the later version uses it", async () => {
    const { earlier, later } = bothVersions();
    const { token } = await later.create({ accountId: "42" });
    await earlier.update(token, { userId: "7" });
    expect(await earlier.count({ user: "7" })).toBe(1);
    await later.get(token);
    expect(await earlier.count({ user: "7" })).toBe(0);
    expect(await later.count({ user: "42" })).toBe(1);
  });
});

describe("a session of an earlier version that was not migrated yet", () => {
  test("can be ended by each index value that lists it", async () => {
    const { earlier, later } = bothVersions();
    const { session } = await earlier.create({ userId: "42" });
    const { sessions } = await later.list({ user: "42" });
    expect(sessions.map(({ id }) => id)).toEqual([session.id]);
    expect(await later.revoke(session.id, { of: { user: "43" } })).toBe(false);
    expect(await later.revoke(session.id, { of: { user: "42" } })).toBe(true);
  });

  test("can be ended by its index value of the later version", async () => {
    const { earlier, later } = bothVersions();
    const { session } = await earlier.create({ userId: "42" });
    expect(await later.revoke(session.id, { of: { user: "a-42" } })).toBe(true);
  });

  test("keeps its index entries and gets those of the later version by reindex, which does not migrate it", async () => {
    const { earlier, later } = bothVersions();
    const { token } = await earlier.create({ userId: "42" });
    expect(await later.reindex()).toBe(1);
    expect(await later.reindex()).toBe(0);
    expect(await later.count({ user: "a-42" })).toBe(1);
    expect(await earlier.count({ user: "42" })).toBe(1);
    expect((await earlier.get(token))?.data).toEqual({ userId: "42" });
    expect(await earlier.revokeAll({ user: "42" })).toBe(1);
  });

  test("moves to the index entries of the later version when that uses it", async () => {
    const { earlier, later } = bothVersions();
    const { token } = await earlier.create({ userId: "42" });
    await later.get(token);
    expect(await later.count({ user: "42" })).toBe(0);
    expect(await later.revokeAll({ user: "a-42" })).toBe(1);
  });
});
