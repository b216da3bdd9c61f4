import { inspect } from "node:util";
import { expect, test } from "vitest";
import { memoryBackend, sessionCookie } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { expectHidden, secrecy, shown } from "../support/secrecy.ts";
import { visits } from "../support/visits.ts";

secrecy(() => ({ backend: memoryBackend(), clock: manualClock() }));

test("expectHidden finds a token in every place where a value can hide it", () => {
  const token = "A".repeat(43);
  class Hidden {
    get own(): string {
      return token;
    }
  }
  const places: unknown[] = [
    token,
    { token },
    [[[{ deep: { deeper: { token } } }]]],
    new Error("a", { cause: new Error(token) }),
    Object.assign(new Error("a"), { cause: { args: ["HSET", token] } }),
    new AggregateError([new Error(token)]),
    new Map([[1, { token }]]),
    new Map([[token, 1]]),
    new Set([token]),
    Object.defineProperty({}, "token", { value: token, enumerable: false }),
    { [Symbol(token)]: 1 },
    { [Symbol("a")]: token },
    Object.assign(() => {}, { token }),
    Object.create({ token }),
    new Hidden(),
    { toJSON: () => token },
    { toString: () => token },
    { [inspect.custom]: () => token },
    new Headers({ cookie: token }),
  ];
  for (const place of places) {
    expect(shown(place), inspect(place)).toContain(token);
    expect(() => expectHidden("it", place, [token])).toThrow("it shows");
  }
  expect(() => expectHidden("it", { other: "B" }, [token])).not.toThrow();
});

test("a token appears in the results of create and rotate and in the cookie line", async () => {
  const { store } = visits();
  const created = await store.create({});
  const rotated = await store.rotate(created.token);
  for (const issued of [created, rotated]) {
    expect(Object.keys(issued ?? {})).toEqual(["token", "session"]);
    expect(sessionCookie().write(issued?.token ?? "")).toContain(issued?.token);
  }
});

test("an error message shows an unknown key as one short line without control characters", async () => {
  const { store, events } = visits();
  const { token } = await store.create({});
  const forged = "theme\r\n2026-01-01 admin logged in \u001b[31m\u2028";
  for (const key of [forged, "k".repeat(100_000)]) {
    const calls = [() => store.create({ [key]: 1 } as never), () => store.update(token, { [key]: 1 } as never)];
    for (const call of calls) {
      const error = (await call().catch((reason: unknown) => reason)) as Error;
      expect(error.message).toMatch(/^Cannot (store|update) a session as its data does not fit the schema: /);
      expect(error.message).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
      expect(error.message.length).toBeLessThan(1000);
    }
  }
  expect(events.map(({ type }) => type)).toEqual(["created"]);
});
