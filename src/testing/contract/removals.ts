import assert from "node:assert/strict";
import type { Change, Ending } from "../../backend.ts";
import { reserved, type StoredSession } from "../../record.ts";
import { type Cases, DESTROYED, plain } from "./subject.ts";

const ENTRY = "user:andrew";
const REVOKED: Ending = { id: "x".repeat(22), cause: "revoked" };

/** Tests of the end of a session. */
export const removals: Cases = {
  async "remove returns the reserved fields and the requested fields of the session that it ended"(subject) {
    const { access, backend, insert, stored } = subject;
    const requests: [Change["fields"], string[]][] = [
      [null, ["name", "count"]],
      [["count", "none"], ["count"]],
      [[], []],
    ];
    for (const [fields, returned] of requests) {
      const key = await insert();
      const before = (await stored(key)) as StoredSession;
      const removed = (await backend.remove(key, access(), DESTROYED, fields)) as StoredSession;
      for (const name of [...Object.values(reserved), ...returned]) assert.equal(removed[name], before[name], name);
      assert.equal(await stored(key), null);
    }
  },

  async "remove ends a session only if the fields have the expected values"({ access, backend, insert, stored }) {
    const table: [NonNullable<Change["expect"]>, boolean][] = [
      [{}, true],
      [{ a: "1", empty: "", none: null }, true],
      [{ [reserved.idleTimeout]: "1800" }, true],
      [{ a: "2" }, false],
      [{ a: null }, false],
      [{ none: "" }, false],
      [{ empty: null }, false],
      [{ a: "1", toString: "" }, false],
    ];
    for (const [expect, applies] of table) {
      const key = await insert({ a: "1", empty: "" });
      const before = await stored(key);
      const answer = await backend.remove(key, access(), DESTROYED, ["a"], expect);
      assert.equal(typeof answer === "object" ? answer?.["a"] : answer, applies ? "1" : "changed");
      assert.deepEqual(await stored(key), applies ? null : before, JSON.stringify(expect));
      assert.equal(await backend.remove(key, access(), DESTROYED, [], { a: "3" }), applies ? null : "changed");
    }
  },

  async "remove does not compare the fields of a session that has expired"({ access, backend, clock, insert, stored }) {
    const key = await insert({ [reserved.deadline]: String(clock.now() + 1000) });
    await clock.advance(1.1);
    assert.equal(await backend.remove(key, access(), DESTROYED, [], { name: "barbara" }), null);
    assert.equal(await stored(key), null);
  },

  async "of a concurrent removal and a write, remove returns what it ended or does not end the session"(subject) {
    const { access, backend, insert, stored } = subject;
    for (const order of [0, 1]) {
      const key = await insert();
      const remove = () => backend.remove(key, access(), DESTROYED, ["name"], { name: "andrew" });
      const write = () => backend.write(key, access(), { set: { name: "barbara" }, remove: [], fields: [] });
      const answers = await Promise.all(order === 0 ? [remove(), write()] : [write(), remove()]);
      const after = plain(await stored(key));
      if (answers.includes("changed")) assert.equal((after as StoredSession)["name"], "barbara");
      else assert.deepEqual([answers.includes(null), after], [true, null]);
    }
  },

  async "remove and revoke accept each cause"({ access, backend, clock, insert, stored }) {
    for (const cause of ["destroyed", "revoked", "limit"] as const) {
      const ending = { ...REVOKED, cause };
      const [removed, revoked] = [await insert(), await insert({ [reserved.index]: JSON.stringify([ENTRY]) })];
      assert.equal(typeof (await backend.remove(removed, access(), ending, [])), "object");
      assert.equal(typeof (await backend.revoke(revoked, ENTRY, ending, 0, clock.now())), "object");
      assert.deepEqual([await stored(removed), await stored(revoked)], [null, null]);
    }
  },
};
