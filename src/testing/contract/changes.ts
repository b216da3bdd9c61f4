import assert from "node:assert/strict";
import type { Change, Written } from "../../backend.ts";
import { reserved, type StoredSession } from "../../record.ts";
import { BY_ONE, type Cases, plain, USES } from "./subject.ts";

const LONG_AGO = "2020-01-01T00:00:00.000Z";
const nothing: Change = { set: {}, remove: [], fields: null };

/** Field names that objects inherit, that are array indexes, or that a script could confuse with its own names. */
const NAMES = [
  "constructor",
  "toString",
  "__proto",
  "__proto__x",
  "length",
  "0",
  "-1",
  "a b",
  "é😀",
  "KEYS[1]",
  "'",
  "n\nl",
];

const VALUES: Readonly<Record<string, string>> = {
  nothing: "",
  "lines and quotes": "a\r\nb\t\"c\" 'd' \\ $& %s",
  zeros: "\u0000a\u0000",
  "every control character": String.fromCharCode(...Array(32).keys(), 127, 0x85, 0x2028, 0x2029),
  "other planes": "日本 😀 \u{10ffff} e\u0301 \ufeff \ufffd",
  Lua: "]] redis.call('FLUSHALL') --[[ ' .. KEYS[1] .. '",
  JSON: '{"a":[1,null,"\\u0000"]}',
  "digits that are no safe integer": "123456789012345678901234567890",
  "a hundred kilobytes": "€".repeat(100_000 / 3),
};

/** Tests of reads and writes. */
export const changes: Cases = {
  async "write sets and removes fields in one step, keeps the others, and returns the record before and after the change"(
    subject,
  ) {
    const { access, assertNow, backend, insert, stored } = subject;
    const key = await insert({ kept: "k", gone: "g", [reserved.lastAccessedAt]: LONG_AGO });
    const before = await stored(key);
    const change = { set: { name: "barbara", added: "a" }, remove: ["gone", "never"], fields: null };
    const written = (await backend.write(key, access(), change)) as Written;
    const { gone: _, ...rest } = before as StoredSession;
    const stamp = { [reserved.lastAccessedAt]: written.after[reserved.lastAccessedAt] };
    assertNow(stamp[reserved.lastAccessedAt]);
    assert.deepEqual(plain(written.before), before);
    assert.deepEqual(plain(written.after), { ...rest, ...change.set, ...stamp });
    assert.deepEqual(await stored(key), plain(written.after));
  },

  async "a write gives fields the time, and the grace period its end"({ access, assertNow, backend, insert, stored }) {
    const key = await insert({ [reserved.rotatedAt]: LONG_AGO });
    const stamp = [reserved.rotatedAt, reserved.authenticatedAt];
    for (const touch of [true, false]) {
      const { after } = (await backend.write(key, access(), { ...nothing, stamp, grace: 5000, touch })) as Written;
      for (const name of stamp) assertNow(after[name], name);
      assert.equal(Number(after[reserved.grace]), Date.parse(after[reserved.rotatedAt] ?? "") + 5000);
      assert.deepEqual(await stored(key), plain(after));
    }
  },

  async "touch, write and increment update the last-access time, and a read without touch does not"(subject) {
    for (const [use, call] of Object.entries(USES)) {
      const key = await subject.insert({ [reserved.lastAccessedAt]: LONG_AGO });
      const before = (await subject.stored(key)) as StoredSession;
      await call(subject, key, subject.access());
      const after = (await subject.stored(key)) as StoredSession;
      if (use === "read") assert.equal(after[reserved.lastAccessedAt], LONG_AGO);
      else subject.assertNow(after[reserved.lastAccessedAt], use);
      assert.equal(after[reserved.createdAt], before[reserved.createdAt], use);
    }
  },

  async "a touch changes the time of the last access only, and returns what it may change"(subject) {
    const { access, backend, clock, insert, stored } = subject;
    for (const deadline of [null, String(clock.now() + 60_000)]) {
      const key = await insert({ [reserved.lastAccessedAt]: LONG_AGO, [reserved.deadline]: deadline });
      const before = (await stored(key)) as StoredSession;
      const touched = (await backend.touch(key, access())) as StoredSession;
      const after = (await stored(key)) as StoredSession;
      for (const name of [reserved.lastAccessedAt, reserved.idleTimeout, reserved.deadline]) {
        assert.equal(touched[name], after[name], name);
      }
      assert.deepEqual({ ...after, [reserved.lastAccessedAt]: LONG_AGO }, before);
    }
  },

  async "a compare-and-set writes if and only if the fields have the expected values"({
    access,
    backend,
    insert,
    stored,
  }) {
    const table: [NonNullable<Change["expect"]>, boolean][] = [
      [{}, true],
      [{ a: "1" }, true],
      [{ none: null }, true],
      [{ a: "1", empty: "", none: null }, true],
      [{ a: "2" }, false],
      [{ a: "1 " }, false],
      [{ a: null }, false],
      [{ none: "" }, false],
      [{ empty: null }, false],
      [{ a: "1", empty: "x" }, false],
      [{ a: "1", toString: "" }, false],
      [{ a: "1", empty: "", none: null, b: null }, false],
    ];
    for (const [expect, applies] of table) {
      const key = await insert({ a: "1", b: "2", empty: "" });
      const before = await stored(key);
      const answer = await backend.write(key, access(), { set: { a: "new" }, remove: ["b"], expect, fields: null });
      const found = typeof answer === "object" ? plain(answer?.before) : answer;
      assert.deepEqual(found, applies ? before : "changed", JSON.stringify(expect));
      const after = (await stored(key)) as StoredSession;
      if (applies) assert.equal(after["a"], "new");
      else assert.deepEqual(after, before, JSON.stringify(expect));
    }
  },

  async "exactly one of many concurrent compare-and-sets succeeds"({ access, backend, insert, stored }) {
    const key = await insert();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        backend.write(key, access(), { ...nothing, set: { name: `n${at}` }, expect: { name: "andrew" } }),
      ),
    );
    const winner = answers.findIndex((answer) => typeof answer === "object");
    assert.equal(answers.filter((answer) => answer === "changed").length, 19);
    assert.equal(((await stored(key)) as StoredSession)["name"], `n${winner}`);
  },

  async "exactly one of many concurrent takes receives the value"({ access, backend, insert, stored }) {
    const key = await insert({ code: "once" });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        backend.write(key, access(), { ...nothing, remove: ["code"], fields: ["code"] }),
      ),
    );
    const seen = answers.map((answer) => (answer as Written).before["code"]).filter((code) => code !== undefined);
    assert.deepEqual(seen, ["once"]);
    assert.equal(((await stored(key)) as StoredSession)["code"], undefined);
  },

  async "concurrent writes of different fields all take effect"({ access, backend, insert, stored }) {
    const key = await insert();
    const names = Array.from({ length: 20 }, (_, at) => `field${at}`);
    await Promise.all(names.map((name) => backend.write(key, access(), { ...nothing, set: { [name]: name } })));
    const after = (await stored(key)) as StoredSession;
    assert.deepEqual(
      names.filter((name) => after[name] !== name),
      [],
    );
  },

  async "changing an object that was passed in or returned does not change what is stored"(subject) {
    const { access, backend, clock, newKey, record, stored } = subject;
    const [key, given] = [newKey(), { ...record() }];
    const inserted = await backend.insert(key, given, {}, clock.now());
    const set = { other: "o" };
    const { before: was, after } = (await backend.write(key, access(), { ...nothing, set })) as Written;
    const answers: unknown[] = [
      given,
      inserted,
      set,
      was,
      after,
      await backend.read(key, access(), { fields: null }),
      await backend.touch(key, access()),
    ];
    const before = await stored(key);
    for (const answer of answers) {
      for (const field of ["name", "other", "more", reserved.deadline]) {
        // With `Reflect`, because a backend may also return frozen records, and an assignment would then throw.
        Reflect.set(answer as object, field, "1");
        Reflect.deleteProperty(answer as object, reserved.createdAt);
      }
    }
    assert.deepEqual(await stored(key), before);
  },

  async "a list of fields selects these and the reserved fields, and null selects all"({ access, backend, insert }) {
    const key = await insert();
    const asks = [
      (fields: Change["fields"]) => backend.read(key, access(), { fields }),
      async (fields: Change["fields"]) =>
        ((await backend.write(key, access(), { ...nothing, fields })) as Written).before,
    ];
    for (const ask of asks) {
      const all = (await ask(null)) as StoredSession;
      const list = (await ask(["count", "none", "toString"])) as StoredSession;
      const none = (await ask([])) as StoredSession;
      for (const record of [all, list, none]) {
        assert.equal(record[reserved.idleTimeout], "1800");
        assert.equal(record[reserved.verifier]?.length, 43);
        for (const absent of ["none", "toString", "__proto__"]) assert.equal(record[absent], undefined);
      }
      assert.equal(all["name"], "andrew");
      assert.deepEqual([all["count"], list["count"]], ["1", "1"]);
    }
  },

  async "a field may have any name"({ access, backend, insert, stored }) {
    for (const name of NAMES) {
      const key = await insert();
      assert.equal(((await backend.read(key, access(), { fields: [name] })) as StoredSession)[name], undefined);
      const expect = { [name]: null };
      const written = await backend.write(key, access(), { set: { [name]: "5" }, remove: [], expect, fields: [name] });
      assert.equal((written as Written).before[name], undefined, name);
      const added = await backend.increment(key, access(), { ...BY_ONE, field: name });
      assert.equal((added as StoredSession)[name], "6", name);
      assert.equal(((await stored(key)) as StoredSession)[name], "6", name);
      await backend.write(key, access(), { ...nothing, remove: [name], expect: { [name]: "6" } });
      assert.equal(Object.hasOwn((await stored(key)) as StoredSession, name), false, name);
    }
  },

  async "a field may hold any text"({ access, backend, insert, stored }) {
    for (const [kind, value] of Object.entries(VALUES)) {
      const inserted = await insert({ value });
      assert.ok(((await stored(inserted)) as StoredSession)["value"] === value, kind);
      const written = await insert();
      await backend.write(written, access(), { ...nothing, set: { value } });
      const again = { ...nothing, set: { again: value }, expect: { value }, fields: ["value"] };
      assert.ok(((await backend.write(written, access(), again)) as Written).before["value"] === value, kind);
      const read = (await backend.read(written, access(), { fields: ["again"] })) as StoredSession;
      assert.ok(read["again"] === value, kind);
    }
  },

  async "a thousand fields can be stored, compared, written and read in one step each"({ access, backend, insert }) {
    const texts = (text: string) => Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`field${at}`, text]));
    const fields = Object.keys(texts(""));
    const key = await insert(texts("old"));
    const renewal = { set: texts("new"), remove: [], expect: texts("old"), fields };
    const { before } = (await backend.write(key, access(), renewal)) as Written;
    assert.equal(fields.filter((name) => before[name] !== "old").length, 0);
    const after = await backend.read(key, access(), { fields });
    assert.equal(fields.filter((name) => (after as StoredSession)[name] !== "new").length, 0);
    const removed = await backend.write(key, access(), { ...nothing, remove: fields, fields });
    assert.ok(typeof removed === "object");
    assert.equal(((await backend.read(key, access(), { fields })) as StoredSession)["field0"], undefined);
  },
};
