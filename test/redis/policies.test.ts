import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createSessionStore, SessionDataError } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { authentications } from "../support/authentications.ts";
import { loweredTimeouts } from "../support/lowered-timeouts.ts";
import { manySessions } from "../support/many-sessions.ts";
import { memberStore } from "../support/members.ts";
import { policies } from "../support/policies.ts";
import { connect, ownPrefix } from "../support/redis.ts";
import { replacements } from "../support/replacements.ts";
import { userFunctions } from "../support/user-functions.ts";
import { visit } from "../support/visits.ts";

const client = await connect();
const prefix = await ownPrefix(client);

const open = () => ({ backend: redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }), now: Date.now });

policies(open);
authentications(open);
loweredTimeouts(open);
replacements(open);
manySessions(open);
userFunctions(open);

test("a store with plain IDs whose prefix overlaps cannot use a session by its public ID", async () => {
  const start = "s".repeat(21);
  const plain = createSessionStore({
    schema: visit,
    backend: redisBackend(client, { prefix }),
    plainIds: true,
  });
  const secret = createSessionStore({ schema: visit, backend: redisBackend(client, { prefix: prefix + start }) });
  const { token, session } = await secret.create({});
  expect(await client.exists(prefix + start + session.id)).toBe(1);
  expect(await plain.get(start + session.id)).toBeNull();
  expect(await plain.update(start + session.id, { theme: "dark" })).toBeNull();
  expect(await plain.destroy(start + session.id)).toBe(false);
  expect(await secret.peek(token)).toEqual(session);
});

describe("a stored field that is not valid UTF-8", () => {
  async function spoiled() {
    const { backend, now } = open();
    const { store, events } = memberStore(backend, now);
    const { token, session } = await store.create({ theme: "dark" });
    events.length = 0;
    const [key] = await client.keys(`${prefix}*${session.id}`);
    await client.sendCommand(["HSET", key as string, "theme", Buffer.from([0xff, 0xfe, 0x41])]);
    return { store, events, token, session };
  }

  test("an update function fails with a SessionDataError that names the field, and not as contended", async () => {
    const { store, events, token, session } = await spoiled();
    for (const call of [
      () => store.update(token, ({ views }) => ({ views: views + 1 })),
      () => store.rotate(token, { patch: { views: 1 } }),
    ]) {
      const error = await call().catch((thrown) => thrown);
      expect(error).toBeInstanceOf(SessionDataError);
      expect(error).toMatchObject({ origin: "stored", message: expect.stringContaining("theme: is not valid UTF-8") });
    }
    const issues = [{ code: "invalid_format", path: ["theme"] }];
    const event = { type: "invalid", id: session.id, at: expect.any(Date), issues };
    expect(events).toEqual([event, event]);
    expect(await store.peek(token)).toMatchObject({ data: { views: 0 } });
  });

  test("a patch that replaces the field makes the session whole again", async () => {
    const { store, token } = await spoiled();
    expect(await store.update(token, { theme: "light" })).not.toBeNull();
    expect(await store.update(token, ({ views }) => ({ views: views + 1 }))).toMatchObject({ data: { views: 1 } });
  });

  test("valid text with a replacement character can be updated by a function, also by many at once", async () => {
    const { backend, now } = open();
    const stores = [memberStore(backend, now).store, memberStore(backend, now).store];
    const { token } = await (stores[0] as (typeof stores)[0]).create({ theme: "\ufffd" });
    const add = (store: (typeof stores)[0]) => store.update(token, ({ views }) => ({ views: views + 1 }));
    await Promise.all(stores.flatMap((store) => [add(store), add(store), add(store)]));
    expect(await stores[0]?.peek(token)).toMatchObject({ data: { theme: "\ufffd", views: 6 } });
  });
});
