import assert from "node:assert/strict";
import type { Written } from "../../backend.ts";
import { NO_SECRET, reserved } from "../../record.ts";
import { type Cases, ends, PREVIOUS, plain, SKEW_MS, USES, VERIFIER, WRONG } from "./subject.ts";

const [PROOF, OTHER] = ["1".repeat(43), "2".repeat(43)];

/** Tests of sessions that are bound to a device. */
export const proofs: Cases = {
  async "a bound session is unproven for a secret without a valid proof, and does not change"(subject) {
    const now = subject.clock.now();
    const bounds: [string, string | null][] = [
      ["!", PROOF],
      ["!", ""],
      ["!.9999999999999", ""],
      [`!${PROOF}`, PROOF],
      [`!${PROOF}.`, PROOF],
      [`!${PROOF}.soon`, PROOF],
      [`!${PROOF}.${"9".repeat(16)}`, PROOF],
      [`!${PROOF}.1.9999999999999`, PROOF],
      [`!x.${PROOF}.9999999999999`, PROOF],
      [`!${PROOF}.${now - SKEW_MS}`, PROOF],
      [`!${PROOF}.9999999999999`, null],
      [`!${PROOF}.9999999999999`, ""],
      [`!${PROOF}.9999999999999`, OTHER],
      [`!${PROOF}.9999999999999`, `${PROOF}.9999999999999`],
      [`!${PROOF}.${now - SKEW_MS} ${OTHER}.9999999999999`, PROOF],
    ];
    for (const [bound, proof] of bounds) {
      const key = await subject.insert({ [reserved.bound]: bound });
      const before = await subject.stored(key);
      const access = subject.access({ verifier: VERIFIER, proof });
      for (const [use, call] of Object.entries(USES)) {
        assert.equal(await call(subject, key, access), "unproven", `${use}: ${bound} ${proof}`);
      }
      assert.equal(await ends(subject.backend, key, access), "unproven", bound);
      assert.deepEqual(await subject.stored(key), before);
    }
  },

  async "a bound session is found with a proof among its values that have not expired"(subject) {
    const { access, backend, insert } = subject;
    const valid = `${PROOF}.9999999999999`;
    for (const bound of [`!${valid}`, `! ${valid}`, `!${OTHER}.1 ${valid}`, `!${valid} ${OTHER}.1`, `!x ${valid}`]) {
      for (const [use, call] of Object.entries(USES)) {
        const by = access({ verifier: VERIFIER, proof: PROOF });
        const answer = await call(subject, await insert({ [reserved.bound]: bound }), by);
        assert.ok(answer !== null && typeof answer === "object", `${use}: ${bound}`);
      }
      const key = await insert({ [reserved.bound]: bound });
      assert.equal(await ends(backend, key, access({ verifier: VERIFIER, proof: PROOF })), true);
    }
  },

  async "a bound session is found without a proof by its key alone, and by an access that needs none"(subject) {
    const bound = { [reserved.bound]: `!${PROOF}.1` };
    for (const given of [{ verifier: null }, { verifier: VERIFIER, unproven: true }]) {
      for (const [use, call] of Object.entries(USES)) {
        const answer = await call(subject, await subject.insert(bound), subject.access(given));
        assert.ok(answer !== null && typeof answer === "object", use);
      }
      assert.equal(await ends(subject.backend, await subject.insert(bound), subject.access(given)), true);
    }
  },

  async "a session needs no proof if its binding is absent or does not begin with an exclamation mark"(subject) {
    for (const bound of [null, "", ` !${PROOF}.1`, `${PROOF}.1`, "?!"]) {
      for (const [use, call] of Object.entries(USES)) {
        const key = await subject.insert({ [reserved.bound]: bound });
        const answer = await call(subject, key, subject.access({ verifier: VERIFIER }));
        assert.ok(answer !== null && typeof answer === "object", `${use}: ${bound}`);
      }
    }
  },

  async "a proof does not replace the secret"(subject) {
    const fields = { [reserved.bound]: `!${PROOF}.9999999999999`, [reserved.previous]: PREVIOUS };
    const expected = { [WRONG]: "wrong-secret", [NO_SECRET]: "wrong-secret", [PREVIOUS]: "reused" };
    for (const [verifier, answer] of Object.entries(expected)) {
      for (const given of [{ proof: PROOF }, { unproven: true }, {}]) {
        const key = await subject.insert(fields);
        for (const [use, call] of Object.entries(USES)) {
          assert.equal(await call(subject, key, subject.access({ verifier, ...given })), answer, use);
        }
      }
    }
  },

  async "the previous secret in its grace period and an access without a secret need a proof too"(subject) {
    const bound = { [reserved.bound]: `!${PROOF}.9999999999999` };
    const grace = { [reserved.previous]: PREVIOUS, [reserved.grace]: String(subject.clock.now() + 60_000) };
    for (const [use, call] of Object.entries(USES)) {
      const late = await subject.insert({ ...bound, ...grace });
      assert.equal(await call(subject, late, subject.access({ verifier: PREVIOUS })), "unproven", use);
      const plainKey = await subject.insert({ ...bound, [reserved.verifier]: null });
      assert.equal(await call(subject, plainKey, subject.access({ verifier: NO_SECRET })), "unproven", use);
    }
  },

  async "a proof is accepted until its end by the clock of the backend"({ access, backend, clock, insert }) {
    const key = await insert({ [reserved.bound]: `!${PROOF}.${clock.now() + 1500}` });
    const read = () => backend.read(key, access({ verifier: VERIFIER, proof: PROOF }), { fields: [] });
    assert.equal(typeof (await read()), "object");
    await clock.advance(1.6);
    assert.equal(await read(), "unproven");
  },

  async "a write can bind a session, and the binding holds for the next access"({ access, backend, insert, stored }) {
    const key = await insert();
    const by = access({ verifier: VERIFIER });
    const set = { [reserved.bound]: `!${PROOF}.9999999999999`, [reserved.device]: "d" };
    const { after } = (await backend.write(key, by, { set, remove: [], fields: [] })) as Written;
    assert.equal(plain(after)[reserved.bound], set[reserved.bound]);
    assert.equal(await backend.touch(key, by), "unproven");
    assert.equal(await backend.read(key, by, { fields: [], accepts: () => true }), "unproven");
    assert.notEqual(await stored(key), null);
  },
};
