import assert from "node:assert/strict";
import type { Written } from "../../backend.ts";
import { NO_SECRET, reserved, type StoredSession } from "../../record.ts";
import { type Cases, ends, PREVIOUS, plain, SKEW_MS, USES, VERIFIER, WRONG } from "./subject.ts";

const LONG_AGO = "2020-01-01T00:00:00.000Z";
const ROTATED = "r".repeat(43);

/** Tests of access by secret, and of rotation. */
export const secrets: Cases = {
  async "a session is found by the current secret, and by its key alone if no secret is given"(subject) {
    for (const [use, call] of Object.entries(USES)) {
      for (const verifier of [VERIFIER, null]) {
        const answer = await call(subject, await subject.insert(), subject.access({ verifier }));
        assert.ok(answer !== null && typeof answer !== "string", use);
      }
    }
  },

  async "a session is absent for a wrong secret, and does not change"(subject) {
    const later = { verifier: WRONG };
    for (const fields of [{}, { [reserved.verifier]: null }, { [reserved.previous]: PREVIOUS }]) {
      const key = await subject.insert(fields);
      const before = await subject.stored(key);
      const expected = (before as StoredSession)[reserved.verifier] === undefined ? null : "wrong-secret";
      for (const [use, call] of Object.entries(USES)) {
        assert.equal(await call(subject, key, subject.access(later)), expected, use);
      }
      assert.equal(await ends(subject.backend, key, subject.access(later)), expected ?? false);
      assert.deepEqual(await subject.stored(key), before);
    }
  },

  async "an access without a secret reaches a session without one, and no other"(subject) {
    for (const [use, call] of Object.entries(USES)) {
      const access = subject.access({ verifier: NO_SECRET });
      const answer = await call(subject, await subject.insert({ [reserved.verifier]: null }), access);
      assert.ok(answer !== null && typeof answer !== "string", use);
      const key = await subject.insert();
      const before = await subject.stored(key);
      assert.equal(await call(subject, key, access), "wrong-secret", use);
      assert.equal(await ends(subject.backend, key, access), "wrong-secret");
      assert.deepEqual(await subject.stored(key), before);
    }
    const key = await subject.insert({ [reserved.verifier]: null });
    assert.equal(await ends(subject.backend, key, subject.access({ verifier: NO_SECRET })), true);
  },

  async "the secret before the last rotation is reported as reused, and the session does not change"(subject) {
    const now = subject.clock.now();
    const graces = [null, "", "soon", "-1", "1e15", "9".repeat(16), String(now - SKEW_MS)];
    for (const grace of graces) {
      const key = await subject.insert({ [reserved.previous]: PREVIOUS, [reserved.grace]: grace });
      const before = await subject.stored(key);
      const access = subject.access({ verifier: PREVIOUS });
      for (const [use, call] of Object.entries(USES)) {
        assert.equal(await call(subject, key, access), "reused", `${use}: ${grace}`);
      }
      assert.equal(await ends(subject.backend, key, access), "reused");
      assert.deepEqual(await subject.stored(key), before);
    }
  },

  async "the answer for a reused secret contains the stored time of the rotation, even if it is no time"(subject) {
    for (const at of ["2026-04-02T12:34:56.789Z", "yesterday", ""]) {
      const key = await subject.insert({ [reserved.previous]: PREVIOUS, [reserved.rotatedAt]: at });
      const access = subject.access({ verifier: PREVIOUS });
      for (const [use, call] of Object.entries(USES)) {
        assert.equal(await call(subject, key, access), `reused at ${at}`, use);
      }
      assert.equal(await ends(subject.backend, key, access), `reused at ${at}`);
    }
  },

  async "the previous secret is accepted in its grace period if the access allows it, and otherwise the answer is null"(
    subject,
  ) {
    const { access, backend, clock, insert } = subject;
    const until = clock.now() + 60_000;
    const fields = { [reserved.previous]: PREVIOUS, [reserved.grace]: String(until) };
    for (const [use, call] of Object.entries(USES)) {
      const key = await insert(fields);
      assert.equal(await call(subject, key, access({ verifier: PREVIOUS, previous: false })), null, use);
      const answer = await call(subject, key, access({ verifier: PREVIOUS }));
      assert.ok(answer !== null && typeof answer !== "string", use);
    }
    const key = await insert(fields);
    assert.equal(await ends(backend, key, access({ verifier: PREVIOUS, previous: false })), false);
    assert.equal(await ends(backend, key, access({ verifier: PREVIOUS })), true);
    assert.equal(await subject.stored(key), null);
  },

  async "the previous secret is accepted until its grace period ends by the clock of the backend"({
    access,
    backend,
    clock,
    insert,
  }) {
    const by = access({ verifier: VERIFIER, previous: false });
    const set = { [reserved.verifier]: ROTATED, [reserved.previous]: VERIFIER };
    const key = await insert();
    await backend.write(key, by, { set, stamp: [reserved.rotatedAt], grace: 1500, remove: [], fields: [] });
    const read = () => backend.touch(key, access({ verifier: VERIFIER }));
    assert.ok(typeof (await read()) === "object");
    await clock.advance(1.6);
    assert.match(String(await read()), /^reused at /);
  },

  async "remove ends a session exactly once, with the secret or by its key alone"({ access, backend, insert, stored }) {
    for (const verifier of [VERIFIER, null]) {
      const key = await insert();
      const answers = await Promise.all(Array.from({ length: 20 }, () => ends(backend, key, access({ verifier }))));
      assert.equal(answers.filter((ended) => ended).length, 1);
      assert.equal(await stored(key), null);
    }
  },

  async "a rotation changes the secret and data in one step, and keeps everything else"({
    access,
    assertNow,
    backend,
    insert,
    stored,
  }) {
    const key = await insert({ [reserved.deadline]: "9999999999999", [reserved.lastAccessedAt]: LONG_AGO });
    const before = (await stored(key)) as StoredSession;
    const set = { [reserved.verifier]: ROTATED, [reserved.previous]: VERIFIER, name: "barbara" };
    const by = access({ verifier: VERIFIER, previous: false });
    const { after } = (await backend.write(key, by, { set, remove: ["count"], fields: null })) as Written;
    const { count: _, ...kept } = before;
    const stamp = { [reserved.lastAccessedAt]: after[reserved.lastAccessedAt] };
    assertNow(stamp[reserved.lastAccessedAt]);
    assert.deepEqual(await stored(key), { ...kept, ...set, ...stamp });
    assert.deepEqual(plain(after), { ...kept, ...set, ...stamp });
    assert.equal(await backend.touch(key, access({ verifier: VERIFIER })), "reused");
  },

  async "exactly one of many concurrent rotations succeeds"({ access, backend, insert, stored }) {
    const key = await insert();
    const by = access({ verifier: VERIFIER, previous: false });
    const verifiers = Array.from({ length: 20 }, (_, at) => String.fromCharCode(65 + at).repeat(43));
    const answers = await Promise.all(
      verifiers.map((verifier) => {
        const set = { [reserved.verifier]: verifier, [reserved.previous]: VERIFIER };
        return backend.write(key, by, { set, remove: [], fields: [] });
      }),
    );
    const winners = verifiers.filter((_, at) => typeof answers[at] === "object");
    assert.equal(winners.length, 1);
    assert.equal(answers.filter((answer) => answer === "reused").length, 19);
    assert.equal(((await stored(key)) as StoredSession)[reserved.verifier], winners[0]);
  },
};
