import { expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend, SessionDataError } from "../../src/index.ts";

const store = createSessionStore({
  schema: z.object({
    userId: z.uuid(),
    role: z.enum(["user", "admin"]).default("user"),
    email: z.string().trim().toLowerCase().optional(),
    tags: z.array(z.string()).default(() => []),
  }),
  backend: memoryBackend(),
  indexes: { user: "userId", role: "role", email: "email", tag: { from: "tags", values: (tags) => tags } },
});
const USER = "0b5c8a52-3c6e-4a8e-9d2f-6f0f1c2d3e4f";

test.each([
  ["role", { role: "amdin" }],
  ["userId", { user: "MARKER" }],
])("a value that the field %s cannot have is a SessionDataError that names the field", async (field, query) => {
  const by = query as { role: string };
  const calls = [
    () => store.list(by),
    () => store.count(by),
    () => store.revokeAll(by),
    () => store.updateAll(by, { role: "user" }),
    () => store.revoke("0123456789012345678901", { of: by }),
  ];
  for (const call of calls) {
    const error: unknown = await call().then(
      () => null,
      (error) => error,
    );
    expect(error).toBeInstanceOf(SessionDataError);
    expect(error).toMatchObject({ origin: "given", issues: [{ path: [field] }] });
    expect(String(error)).toContain(`Cannot look up sessions as its data does not fit the schema: ${field}: `);
    expect(String(error)).not.toContain("MARKER");
  }
});

test("a value is brought into the form that the schema gives it", async () => {
  await store.create({ userId: USER, email: " Ada@Example.com " });
  expect(await store.count({ email: "ADA@example.com" })).toBe(1);
  expect(await store.revokeAll({ email: " ada@example.com" })).toBe(1);
});

test("values of an index with a function are not compared with the schema", async () => {
  await store.create({ userId: USER, tags: ["a", "b"] });
  expect(await store.count({ tag: "b" })).toBe(1);
  expect(await store.count({ tag: "c" })).toBe(0);
});

test("with a version above 1, values that only an earlier schema allows are accepted", async () => {
  const later = createSessionStore({
    schema: z.object({ userId: z.uuid() }),
    backend: memoryBackend(),
    version: 2,
    indexes: { user: "userId" },
  });
  expect(await later.revokeAll({ user: "42" })).toBe(0);
});
