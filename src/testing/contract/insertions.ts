import assert from "node:assert/strict";
import type { Insertion } from "../../backend.ts";
import { reserved, type StoredSession } from "../../record.ts";
import { type Cases, SKEW_MS } from "./subject.ts";

/** Tests of creation. */
export const insertions: Cases = {
  async "insert stores a record, and adds the time"({ assertNow, backend, clock, newKey, record, stored }) {
    const [key, given] = [newKey(), record()];
    const inserted = (await backend.insert(key, given, {}, clock.now())) as StoredSession;
    const times = pick(inserted, [reserved.createdAt, reserved.lastAccessedAt]);
    for (const [name, text] of Object.entries(times)) assertNow(text, name);
    assert.deepEqual(await stored(key), { ...given, ...times });
  },

  async "insert gives fields the time, and turns the absolute timeout into a deadline"(subject) {
    const { access, assertNow, backend, clock, newKey, record } = subject;
    const stamp = [reserved.authenticatedAt];
    const covered = clock.now() + 30_000;
    const expected: readonly [Insertion, number | null, string | undefined][] = [
      [{}, null, undefined],
      [{ absolute: 5000 }, 5000, undefined],
      [{ covered }, 30_000, "none/0"],
      [{ absolute: 5000, covered }, 5000, "5000/0"],
      [{ absolute: 50_000, covered }, 30_000, "50000/0"],
    ];
    for (const [insertion, deadline, absolute] of expected) {
      const key = newKey();
      const made = (await backend.insert(key, record(), { ...insertion, stamp }, clock.now())) as StoredSession;
      assertNow(made[reserved.authenticatedAt]);
      const at = Date.parse(made[reserved.createdAt] ?? "");
      const end = deadline === 30_000 ? covered : deadline === null ? undefined : at + deadline;
      assert.equal(made[reserved.deadline], end === undefined ? undefined : String(end), JSON.stringify(insertion));
      const [last, moves] = made[reserved.absolute]?.split("/") ?? [];
      const length = last === "" ? "none" : String(Number(last) - at);
      assert.equal(last === undefined ? undefined : `${length}/${moves}`, absolute, JSON.stringify(insertion));
      const whole = (await subject.stored(key)) as StoredSession;
      assert.deepEqual({ ...whole, ...made }, whole);
      assert.ok(typeof (await backend.touch(key, access())) === "object");
    }
  },

  async "insert can give a session less time until its first touch"({
    access,
    backend,
    clock,
    newKey,
    record,
    stored,
  }) {
    const [short, touched] = [newKey(), newKey()];
    for (const key of [short, touched]) await backend.insert(key, record(), { life: 1000 }, clock.now());
    await backend.touch(touched, access());
    await clock.advance(1.1);
    assert.equal(await stored(short), null);
    assert.notEqual(await stored(touched), null);
  },

  async "insert is refused if the session would have no time left"({ backend, clock, newKey, record, stored }) {
    const key = newKey();
    assert.equal(await backend.insert(key, record(), { covered: clock.now() - SKEW_MS }, clock.now()), "revoked");
    assert.equal(await stored(key), null);
  },

  async 'insert with a key in use returns "taken" and changes nothing'({ backend, clock, insert, ...subject }) {
    const key = await insert();
    const before = await subject.stored(key);
    assert.equal(await backend.insert(key, subject.record({ name: "mallory" }), {}, clock.now()), "taken");
    assert.deepEqual(await subject.stored(key), before);
  },

  async "exactly one of many concurrent inserts with the same key is stored"({
    backend,
    clock,
    newKey,
    record,
    stored,
  }) {
    const key = newKey();
    const given = Array.from({ length: 20 }, (_, at) => record({ name: `n${at}`, [`only${at}`]: "" }));
    const answers = await Promise.all(given.map((one) => backend.insert(key, one, {}, clock.now())));
    assert.equal(answers.filter((answer) => answer === "taken").length, 19);
    const winner = answers.findIndex((answer) => typeof answer === "object");
    assert.equal(((await stored(key)) as StoredSession)["name"], `n${winner}`);
    assert.equal(((await stored(key)) as StoredSession)[`only${winner}`], "");
  },
};

function pick(record: StoredSession, names: readonly string[]): StoredSession {
  return Object.fromEntries(names.map((name) => [name, record[name] ?? ""]));
}
