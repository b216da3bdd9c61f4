import assert from "node:assert/strict";
import type { Ending } from "../../backend.ts";
import { reserved } from "../../record.ts";
import { type Cases, SKEW_MS, VERIFIER, WRONG } from "./subject.ts";

const ENTRY = "user:andrew";
/** How long a notification may take, in seconds. */
const DELAY = 0.2;

/** Tests of the optional methods, which pass for a backend without them, and of the text that processes share. */
export const notifications: Cases = {
  async "notify reports the ID and the cause of each end by remove and revoke, and nothing after it was stopped"(
    subject,
  ) {
    const { access, backend, clock, insert } = subject;
    if (backend.notify === undefined) return;
    const heard: unknown[] = [];
    const listener = { ended: (...end: unknown[]) => heard.push(end), hears: (all: boolean) => heard.push(all) };
    const stop = backend.notify(listener);
    await clock.advance(DELAY);
    assert.ok(heard.length > 0 && heard.splice(0).every((one) => one === true));
    const entered = { [reserved.index]: JSON.stringify([ENTRY]) };
    const [one, other] = [await insert(entered), await insert(entered)];
    const end = (id: string): Ending => ({ id, cause: "limit" });
    await backend.remove(one, access({ verifier: WRONG }), end("wrong"), []);
    await backend.remove(one, access(), end("changed"), [], { name: "barbara" });
    await backend.revoke(one, "user:other", end("other"), 0, clock.now());
    await backend.remove(one, access({ verifier: VERIFIER }), { id: "one", cause: "destroyed" }, []);
    await backend.remove(one, access(), end("gone"), []);
    await backend.revoke(one, ENTRY, end("nothing"), 1000, clock.now());
    await backend.revoke(other, ENTRY, { id: "other", cause: "revoked" }, 0, clock.now());
    await backend.remove(await insert(), access(), end("third"), []);
    await clock.advance(DELAY);
    stop();
    stop();
    await backend.remove(await insert(), access(), end("late"), []);
    await clock.advance(DELAY);
    const ends = heard.filter((one) => one !== true);
    assert.deepEqual(ends, [
      ["one", "destroyed"],
      ["other", "revoked"],
      ["third", "limit"],
    ]);
  },

  async "a listener that throws does not affect the operation that ended a session, nor other listeners"(subject) {
    const { access, backend, clock, insert } = subject;
    if (backend.notify === undefined) return;
    const heard: string[] = [];
    const ended = (): never => {
      throw new Error("of the listener");
    };
    const stops = [
      backend.notify({ ended, hears() {} }),
      backend.notify({ ended: (id) => heard.push(id), hears() {} }),
    ];
    await clock.advance(DELAY);
    const removed = await backend.remove(await insert(), access(), { id: "one", cause: "destroyed" }, []);
    assert.equal(typeof removed, "object");
    await clock.advance(DELAY);
    for (const stop of stops) stop();
    assert.deepEqual(heard, ["one"]);
  },

  async "left returns the remaining lifetime of each session, and a negative number where there is none"(subject) {
    const { backend, clock, insert, newKey } = subject;
    if (backend.left === undefined) return;
    const revoked = newKey();
    await backend.revoke(revoked, ENTRY, { id: "i", cause: "revoked" }, 60_000, clock.now());
    const keys = [
      await insert(),
      newKey(),
      await insert({ [reserved.deadline]: String(clock.now() + 60_000) }),
      await insert({ [reserved.idleTimeout]: "1" }),
      revoked,
      await insert({ [reserved.deadline]: "soon" }),
      await insert({ [reserved.bound]: "!" }),
    ];
    await clock.advance(1.1);
    const left = await backend.left(keys, clock.now());
    const expected = [1_798_900, -1, 58_900, -1, -1, 1_798_900, 1_798_900];
    assert.equal(left.length, expected.length);
    for (const [at, wanted] of expected.entries()) {
      const found = left[at] as number;
      assert.ok(wanted < 0 ? found < 0 : Math.abs(found - wanted) < SKEW_MS, `${at}: ${found}`);
    }
    assert.deepEqual(await backend.left([], clock.now()), []);
  },

  async "a shared text is random, the same for all who ask, and no session"(subject) {
    const { access, backend, lists, newKey } = subject;
    const [one, other] = [newKey(), newKey()];
    const texts = await Promise.all(Array.from({ length: 20 }, () => backend.shared(one)));
    assert.match(texts[0] ?? "", /^[A-Za-z0-9_-]{43}$/);
    assert.equal(new Set([...texts, await backend.shared(one)]).size, 1);
    assert.notEqual(await backend.shared(other), texts[0]);
    for (const key of [one, `shared:${one}`]) {
      assert.equal(await lists(key), false);
      const found = await backend.read(key, access(), { fields: null });
      assert.ok(found === null || found === "invalid");
    }
  },
};
