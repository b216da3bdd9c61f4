import { expect, test } from "vitest";
import { type StoredRecord, sessionMethods } from "../../src/base/transaction.ts";
import { reserved } from "../../src/record.ts";

test("the properties that a record inherits are no fields", async () => {
  let row = "null";
  const { insert, read, write, increment } = sessionMethods(async (_key, now, step) => {
    const found: StoredRecord | null = JSON.parse(row);
    const { answer, next } = step(found, now);
    if (next !== undefined) row = JSON.stringify(next);
    return answer;
  });
  const access = { verifier: null, previous: false, now: 0 };
  await insert("a", { [reserved.idleTimeout]: "60", n: "1" }, {}, 0);
  const found = await read("a", access, { fields: null });
  expect(found).not.toHaveProperty("constructor");
  const addition = { by: 1, from: 0, min: 0, max: 9 };
  expect(await increment("a", access, { ...addition, field: "constructor" })).toMatchObject({ constructor: "1" });
  const change = { set: {}, remove: [], fields: null };
  expect(await write("a", access, { ...change, expect: { valueOf: null } })).toMatchObject({ after: { n: "1" } });
  expect(await read("a", access, { fields: null })).toMatchObject({ constructor: "1" });
});
