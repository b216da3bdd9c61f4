import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, type SessionBackend, SessionBackendError } from "../../src/index.ts";
import { backendContract, manualClock } from "../../src/testing/index.ts";
import { canRun, type Missing } from "../support/availability.ts";

async function missingSqlite(): Promise<Missing> {
  const found = await import("node:sqlite").then(
    () => true,
    () => false,
  );
  return found ? null : "this runtime has no node:sqlite; use Node 22.13, Bun 1.4 or Deno 2.2, or later";
}

function storeOn(backend: SessionBackend, now: () => number) {
  const schema = z.object({ userId: z.string(), views: z.int().default(0) });
  return createSessionStore({ schema, indexes: { user: "userId" }, backend, now });
}

const hasSqlite = canRun("tests of the SQLite backend", await missingSqlite());

describe.runIf(hasSqlite)("the SQLite backend", async () => {
  if (!hasSqlite) return;
  const { sqliteBackend } = await import("../../examples/sqlite-backend/sqlite-backend.ts");
  const path = join(tmpdir(), `zession-${randomUUID()}.db`);
  const clock = manualClock();
  const backend = sqliteBackend(path, { now: clock.now });
  const other = sqliteBackend(path, { now: clock.now });

  afterAll(async () => {
    for (const one of [backend, other, contracted]) one.close();
    await Promise.all(["", "-wal", "-shm"].map((end) => rm(path + end, { force: true })));
  });

  // In memory, because the contract makes thousands of transactions, and each would wait for the disk.
  const contracted = sqliteBackend(":memory:", { now: clock.now });
  backendContract(test, () => contracted, clock);

  test("two connections to one database share sessions", async () => {
    const [store, elsewhere] = [storeOn(backend, clock.now), storeOn(other, clock.now)];
    const userId = `\u0000${randomUUID()}`;
    const { token } = await store.create({ userId });
    expect(await elsewhere.increment(token, "views")).toBe(1);
    expect((await store.get(token))?.data).toEqual({ userId, views: 1 });
    expect(await elsewhere.count({ user: userId })).toBe(1);
    expect(await elsewhere.revokeAll({ user: userId })).toBe(1);
    expect(await store.get(token)).toBeNull();
    expect(await backend.shared("text")).toBe(await other.shared("text"));
  });

  test("a call after the database was closed fails with a SessionBackendError", async () => {
    const closed = sqliteBackend(":memory:");
    closed.close();
    await expect(closed.shared("text")).rejects.toThrow(SessionBackendError);
  });
});
