import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { createSessionStore } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { manySessions } from "../support/many-sessions.ts";
import { policies } from "../support/policies.ts";
import { connect, ownPrefix } from "../support/redis.ts";
import { userFunctions } from "../support/user-functions.ts";
import { visit } from "../support/visits.ts";

const client = await connect();
const prefix = await ownPrefix(client);

const open = () => ({ backend: redisBackend(client, { prefix: `${prefix}${randomUUID()}:` }), now: Date.now });

policies(open);
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
