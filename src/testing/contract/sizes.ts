import assert from "node:assert/strict";
import type { Change } from "../../backend.ts";
import type { StoredSession } from "../../record.ts";
import { BY_ONE, type Cases } from "./subject.ts";

const nothing: Change = { set: {}, remove: [], fields: null };

/** Tests of the maximum size of a record. */
export const sizes: Cases = {
  async "a write that would make the record larger than its maximum size changes nothing"({
    access,
    backend,
    insert,
    stored,
  }) {
    // name, andrew, count, 1: 16 bytes. Reserved fields do not count.
    const key = await insert();
    const before = await stored(key);
    const write = (set: StoredSession, remove: string[], maxBytes: number) =>
      backend.write(key, access(), { ...nothing, set, remove, maxBytes });
    assert.equal(await write({ name: "andrea€s" }, [], 19), "too_many_bytes");
    assert.equal(await write({ é: "12" }, [], 19), "too_many_bytes");
    assert.equal(await write({ é: "12345678" }, ["count"], 19), "too_many_bytes");
    assert.deepEqual(await stored(key), before);
    assert.equal(typeof (await write({ name: "andrea€s", session_index: "[]" }, [], 20)), "object");
    assert.equal(typeof (await write({ é: "" }, ["name"], 8)), "object");
    assert.equal(await write({}, [], 7), "too_many_bytes");
  },

  async "an increment that makes the text longer keeps to the maximum size"({ access, backend, insert, stored }) {
    // name, andrew, count, 9: 16 bytes.
    const key = await insert({ count: "9" });
    const increment = async (by: number, maxBytes: number) => {
      const added = await backend.increment(key, access(), { ...BY_ONE, by, maxBytes });
      return typeof added === "object" ? Number(added?.["count"]) : added;
    };
    assert.equal(await increment(1, 16), "too_many_bytes");
    assert.equal(((await stored(key)) as StoredSession)["count"], "9");
    assert.equal(await increment(-1, 1), 8);
    assert.equal(await increment(2, 17), 10);
  },
};
