import assert from "node:assert/strict";
import { reserved, type StoredSession } from "../../record.ts";
import { BY_ONE, type Cases, ends, PREVIOUS, SKEW_MS, type Subject, USES, WRONG } from "./subject.ts";

/** Tests of expiration and removal. */
export const lifetimes: Cases = {
  async "only insert creates a session"(subject) {
    await assertAbsent(subject, subject.newKey());
  },

  async "only insert can create a session again after it was removed"(subject) {
    const key = await subject.insert();
    assert.equal(await ends(subject.backend, key, subject.access()), true);
    await assertAbsent(subject, key);
    assert.equal(typeof (await subject.backend.insert(key, subject.record(), {}, subject.clock.now())), "object");
  },

  async "a session that has expired is absent for every method at once, for whatever reason it expired"(subject) {
    const { access, backend, clock, insert, record } = subject;
    const ways: Record<string, () => Promise<string>> = {
      "its idle timeout": () => insert({ [reserved.idleTimeout]: "1" }),
      "its deadline": () => insert({ [reserved.deadline]: String(clock.now() + 1000) }),
      "a shorter idle timeout": async () => {
        const key = await insert();
        await backend.write(key, access(), { set: { [reserved.idleTimeout]: "1" }, remove: [], fields: [] });
        return key;
      },
    };
    const expired = await Promise.all(
      Object.entries(ways).flatMap(([end, start]) =>
        Object.entries(USES).map(async ([use, call]) => ({ by: `${use} after ${end}`, key: await start(), call })),
      ),
    );
    const removed = await Promise.all(Object.values(ways).map((start) => start()));
    const replaced = await Promise.all(Object.values(ways).map((start) => start()));
    await clock.advance(1.1);
    for (const { by, key, call } of expired) {
      assert.equal(await call(subject, key, access()), null, by);
    }
    for (const key of removed) assert.equal(await ends(backend, key, access()), false);
    for (const key of replaced) assert.equal(typeof (await backend.insert(key, record(), {}, clock.now())), "object");
  },

  async "operations restart the idle timeout, except reads and operations that are refused"(subject) {
    const { access, backend, clock, insert, record } = subject;
    const idle = { [reserved.idleTimeout]: "3", [reserved.previous]: PREVIOUS };
    const change = { set: { name: "barbara" }, remove: [], fields: null };
    const keeps: Record<string, (key: string) => Promise<unknown>> = {
      "a touch": (key) => backend.touch(key, access()),
      "a write": (key) => backend.write(key, access(), change),
      "a write of nothing": (key) => backend.write(key, access(), { set: {}, remove: [], fields: [] }),
      "an increment": (key) => backend.increment(key, access(), BY_ONE),
    };
    const lets: Record<string, (key: string) => Promise<unknown>> = {
      "no use": async () => {},
      "a read": (key) => backend.read(key, access(), { fields: null }),
      "a touch with a wrong secret": (key) => backend.touch(key, access({ verifier: WRONG })),
      "a touch with the secret before": (key) => backend.touch(key, access({ verifier: PREVIOUS })),
      "a write with a wrong secret": (key) => backend.write(key, access({ verifier: WRONG }), change),
      "a write that finds it changed": (key) => backend.write(key, access(), { ...change, expect: { name: "eve" } }),
      "an increment out of bounds": (key) => backend.increment(key, access(), { ...BY_ONE, max: 1 }),
      "a removal with a wrong secret": (key) => ends(backend, key, access({ verifier: WRONG })),
      "an insert under its key": (key) => backend.insert(key, record(), {}, clock.now()),
    };
    const all = Object.entries({ ...keeps, ...lets });
    const keys = await Promise.all(all.map(() => insert(idle)));
    await clock.advance(1.5);
    await Promise.all(all.map(([, use], at) => use(keys[at] as string)));
    await clock.advance(1.7);
    const found = await Promise.all(keys.map((key) => subject.stored(key)));
    for (const [at, [use]] of all.entries()) assert.equal(found[at] !== null, use in keeps, use);
  },

  async "no operation changes the deadline unless it writes it"(subject) {
    const { access, backend, clock, insert } = subject;
    const deadline = String(clock.now() + 2500);
    const more: typeof USES = {
      "a longer idle timeout": (_, key) =>
        backend.write(key, access(), { set: { [reserved.idleTimeout]: "86400" }, remove: [], fields: [] }),
      "a new secret": (_, key) =>
        backend.write(key, access(), { set: { [reserved.verifier]: WRONG }, remove: [], fields: [] }),
    };
    const uses = Object.entries({ ...USES, ...more });
    const keys = await Promise.all(uses.map(() => insert({ [reserved.deadline]: deadline })));
    await clock.advance(1.2);
    await Promise.all(uses.map(([, use], at) => use(subject, keys[at] as string, access())));
    for (const [at, [use]] of uses.entries()) {
      const record = (await subject.stored(keys[at] as string)) as StoredSession;
      assert.equal(record?.[reserved.deadline], deadline, use);
    }
    await clock.advance(1.4);
    for (const [at, [use]] of uses.entries()) assert.equal(await subject.stored(keys[at] as string), null, use);
  },

  async "a write may change the deadline, and ends a session whose deadline it moves into the past"(subject) {
    const { access, backend, clock, insert, stored } = subject;
    const move = (key: string, deadline: number, touch: boolean) =>
      backend.write(key, access(), { set: { [reserved.deadline]: String(deadline) }, remove: [], fields: [], touch });
    for (const touch of [true, false]) {
      const [sooner, past] = [await insert(), await insert()];
      assert.ok(typeof (await move(sooner, clock.now() + 1000, touch)) === "object");
      assert.equal(await move(past, clock.now() - SKEW_MS, touch), null);
      assert.equal(await stored(past), null);
      await clock.advance(1.1);
      assert.equal(await stored(sooner), null);
    }
  },

  async "a session whose deadline cannot be read is invalid and does not live for ever, and it can be removed"(
    subject,
  ) {
    const { access, backend, insert } = subject;
    for (const deadline of ["", "soon", "-1", "1e15", " 1893456000000", "1893456000000.5", "9".repeat(16), "٣"]) {
      const key = await insert({ [reserved.deadline]: deadline });
      for (const [use, call] of Object.entries(USES)) {
        assert.equal(await call(subject, key, access()), "invalid", `${use}: ${deadline}`);
        assert.equal(await call(subject, key, access({ verifier: WRONG })), "wrong-secret", `${use}: ${deadline}`);
      }
      assert.equal(await ends(backend, key, access({ verifier: WRONG })), "wrong-secret", deadline);
      assert.equal(await ends(backend, key, access()), true, deadline);
      assert.equal(await subject.stored(key), null, deadline);
    }
  },

  async "a touch replaces an idle timeout that cannot be read by the time that is left"({
    access,
    backend,
    insert,
    stored,
  }) {
    for (const idle of ["", "0", "0500", "500s", "5e2", " 500", "-5", "2147483648", "99999999999", "None"]) {
      const key = await insert({ [reserved.idleTimeout]: idle });
      assert.equal(((await stored(key)) as StoredSession)[reserved.idleTimeout], idle, "a read changes nothing");
      const touched = (await backend.touch(key, access())) as StoredSession;
      const seconds = touched[reserved.idleTimeout] as string;
      assert.ok(/^[0-9]+$/.test(seconds) && Number(seconds) > 1700 && Number(seconds) <= 1800, `${idle}: ${seconds}`);
      assert.equal(((await stored(key)) as StoredSession)[reserved.idleTimeout], seconds, idle);
    }
  },

  async "a record that lacks one of the three required fields is not a session, and can be removed"(subject) {
    const { access, backend, clock, insert, record } = subject;
    for (const field of [reserved.createdAt, reserved.lastAccessedAt, reserved.idleTimeout]) {
      const key = await insert({ [field]: null });
      for (const [use, call] of Object.entries(USES)) {
        assert.equal(await call(subject, key, access()), null, `${use} without ${field}`);
      }
      assert.equal(await backend.insert(key, record(), {}, clock.now()), "taken", field);
      assert.equal(await ends(backend, key, access()), false, field);
      assert.equal(typeof (await backend.insert(key, record(), {}, clock.now())), "object", field);
    }
  },

  async "keys lists every live session, page by page"({ access, backend, insert, lists }) {
    const keys = await Promise.all(Array.from({ length: 1500 }, () => insert()));
    const listed = new Set<string>();
    for await (const page of backend.keys()) for (const key of page) listed.add(key);
    assert.equal(keys.filter((key) => !listed.has(key)).length, 0);
    await Promise.all(keys.map((key) => ends(backend, key, access())));
    assert.equal(await lists(keys[0] as string), false);
  },
};

async function assertAbsent(subject: Subject, key: string): Promise<void> {
  for (const [use, call] of Object.entries(USES)) {
    assert.equal(await call(subject, key, subject.access()), null, use);
    assert.equal(await subject.stored(key), null, use);
  }
  assert.equal(await ends(subject.backend, key, subject.access()), false);
  assert.equal(await subject.lists(key), false);
}
