import assert from "node:assert/strict";
import type { IndexPage } from "../../backend.ts";
import { reserved } from "../../record.ts";
import { type Cases, SKEW_MS, type Subject, VERIFIER } from "./subject.ts";

const LIFE_MS = 60_000;
const REVOKED = { id: "i".repeat(22), cause: "revoked" } as const;
const newEntry = (): string => `user:${crypto.randomUUID()}`;
const keysOf = ({ members }: IndexPage): string[] => members.map(({ key }) => key);
const under = (...entries: string[]) => ({ [reserved.index]: JSON.stringify(entries) });

async function enter({ backend, clock }: Subject, entry: string, ...keys: string[]): Promise<IndexPage> {
  let page: IndexPage = { members: [], size: 0, at: 0 };
  for (const key of keys) page = await backend.enter(entry, key, LIFE_MS, 100, clock.now());
  return page;
}

/** Tests of indexes and tombstones. */
export const indexes: Cases = {
  "enter returns the first members, their total number and the time": async (subject) => {
    const { backend, clock } = subject;
    const entry = newEntry();
    const { at } = await enter(subject, entry, "a", "b");
    const page = await backend.enter(entry, "c", LIFE_MS, 2, clock.now());
    assert.deepEqual(keysOf(page), ["a", "b"]);
    assert.equal(page.size, 3);
    assert.ok(Math.abs(at - clock.now()) < SKEW_MS && page.at >= at, `${at}`);
  },

  "scores increase with every enter, also of the same key, and are microseconds of the current time": async (
    subject,
  ) => {
    const entry = newEntry();
    const keys = Array.from({ length: 50 }, (_, at) => `${at}`);
    const first = await enter(subject, entry, ...keys);
    const scores = first.members.map(({ score }) => score);
    assert.equal(new Set(scores).size, keys.length);
    assert.deepEqual(
      [...scores].sort((a, b) => a - b),
      scores,
    );
    assert.ok(scores.every((score) => Number.isSafeInteger(score) && Math.abs(score / 1000 - first.at) < SKEW_MS));
    const again = await enter(subject, entry, "0");
    assert.deepEqual(keysOf(again), [...keys.slice(1), "0"]);
    assert.equal(again.size, keys.length);
  },

  async "enter returns the score of the key, and whether it was new"({ backend, clock }) {
    const entry = newEntry();
    const first = await backend.enter(entry, "a", LIFE_MS, 9, clock.now());
    assert.equal(first.isNew, true);
    assert.deepEqual(first.members, [{ key: "a", score: first.score }]);
    const again = await backend.enter(entry, "a", LIFE_MS, 9, clock.now());
    assert.equal(again.isNew, false);
    assert.deepEqual(again.members, [{ key: "a", score: again.score }]);
    await backend.leave(entry, [{ key: "a", score: first.score }], clock.now());
    assert.equal((await backend.page(entry, 0, 9, clock.now())).size, 1);
    await backend.leave(entry, [{ key: "a", score: again.score }], clock.now());
    assert.equal((await backend.enter(entry, "a", LIFE_MS, 9, clock.now())).isNew, true);
  },

  "enter with a limit of 0 returns no members but a random sample, in which every member appears eventually": async (
    subject,
  ) => {
    const { backend, clock } = subject;
    const entry = newEntry();
    const { members } = await enter(subject, entry, ..."abcdefgh");
    const scores = new Map(members.map(({ key, score }) => [key, score]));
    const seen = new Set<string>();
    for (let entered = 0; entered < 500 && seen.size < scores.size; entered++) {
      const page = await backend.enter(entry, "z", LIFE_MS, 0, clock.now());
      assert.deepEqual([page.members, page.size], [[], scores.size + 1]);
      assert.ok(page.sample.length <= 2);
      for (const { key, score } of page.sample) {
        if (key === "z") continue;
        assert.equal(score, scores.get(key));
        seen.add(key);
      }
    }
    assert.deepEqual([...seen].sort(), [...scores.keys()]);
    const { sample } = await backend.enter(newEntry(), "a", LIFE_MS, 0, clock.now());
    assert.deepEqual(
      sample.map(({ key }) => key),
      ["a"],
    );
  },

  "page returns the members above a score, page by page to the end": async (subject) => {
    const { backend, clock } = subject;
    const entry = newEntry();
    const keys = ["a", "b", "c", "d", "e"];
    await enter(subject, entry, ...keys);
    const found: string[] = [];
    for (let after = 0; ; ) {
      const { members, size } = await backend.page(entry, after, 2, clock.now());
      if (members.length === 0) break;
      assert.equal(size, keys.length);
      found.push(...members.map(({ key }) => key));
      after = members.at(-1)?.score ?? 0;
    }
    assert.deepEqual(found, keys);
  },

  "an index entry that was never entered has no members": async ({ backend, clock }) => {
    const page = await backend.page(newEntry(), 0, 10, clock.now());
    assert.deepEqual([page.members, page.size], [[], 0]);
  },

  "leave removes members only if their score has not changed since it was read": async (subject) => {
    const { backend, clock } = subject;
    const entry = newEntry();
    const { members } = await enter(subject, entry, "a", "b", "c");
    await enter(subject, entry, "a");
    await backend.leave(entry, members.slice(0, 2), clock.now());
    assert.deepEqual(keysOf(await backend.page(entry, 0, 10, clock.now())), ["c", "a"]);
    const any = ["a", "nobody"].map((key) => ({ key, score: null }));
    await backend.leave(entry, any, clock.now());
    assert.deepEqual(keysOf(await backend.page(entry, 0, 10, clock.now())), ["c"]);
    await backend.leave(newEntry(), members, clock.now());
  },

  "index entries are separate from each other and from sessions": async (subject) => {
    const { backend, clock } = subject;
    const entry = newEntry();
    const key = await subject.insert(under(entry));
    await enter(subject, entry, key);
    assert.equal((await backend.page(`${entry}x`, 0, 10, clock.now())).size, 0);
    await backend.leave(entry, [{ key, score: null }], clock.now());
    assert.notEqual(await subject.stored(key), null);
  },

  "revoke ends a session of the given index entry, and no other": async (subject) => {
    const { backend, clock, stored } = subject;
    const [mine, theirs] = [newEntry(), newEntry()];
    const both = await subject.insert(under(mine, theirs));
    const other = await subject.insert(under(theirs));
    const none = await subject.insert();
    const broken = await subject.insert({ [reserved.index]: "{not json" });
    const ended = await backend.revoke(both, mine, REVOKED, 1000, clock.now());
    assert.ok(typeof ended === "object" && ended[reserved.index] === under(mine, theirs)[reserved.index]);
    assert.equal(await stored(both), null);
    for (const key of [other, none, broken]) {
      assert.equal(await backend.revoke(key, mine, REVOKED, 1000, clock.now()), "other");
      assert.notEqual(await stored(key), null);
    }
    assert.equal(await backend.revoke(both, mine, REVOKED, 0, clock.now()), "nothing");
    assert.equal(await subject.lists(both), false);
  },

  "a tombstone prevents the insertion of a session under its key, and is not a session itself": async (subject) => {
    const { backend, clock, newKey, record, access, stored } = subject;
    const key = newKey();
    assert.equal(await backend.revoke(key, newEntry(), REVOKED, LIFE_MS, clock.now()), "nothing");
    assert.equal(await backend.insert(key, record(), {}, clock.now()), "revoked");
    assert.equal(await stored(key), null);
    assert.equal(await backend.remove(key, access(), REVOKED, []), null);
    assert.equal(await backend.revoke(key, newEntry(), REVOKED, LIFE_MS, clock.now()), "nothing");
    assert.equal(await backend.insert(key, record(), {}, clock.now()), "revoked");
    const unmarked = newKey();
    await backend.revoke(unmarked, newEntry(), REVOKED, 0, clock.now());
    assert.equal(typeof (await backend.insert(unmarked, record(), {}, clock.now())), "object");
  },

  "insert and write are refused after their time limit and change nothing": async (subject) => {
    const { backend, clock, newKey, record, access, stored } = subject;
    const key = newKey();
    const late = clock.now() - SKEW_MS;
    const soon = clock.now() + LIFE_MS;
    assert.equal(await backend.insert(key, record(), { notAfter: late }, clock.now()), "revoked");
    assert.equal(await stored(key), null);
    assert.equal(typeof (await backend.insert(key, record(), { notAfter: soon }, clock.now())), "object");
    const before = await stored(key);
    const change = { set: { name: "barbara" }, remove: [], fields: null };
    assert.equal(await backend.write(key, access(), { ...change, notAfter: late }), "revoked");
    assert.deepEqual(await stored(key), before);
    await backend.write(key, access(), { ...change, notAfter: soon });
    assert.equal(((await stored(key)) as Record<string, string>)["name"], "barbara");
  },

  "remove returns the reserved fields of the session that it ended": async (subject) => {
    const { backend, access } = subject;
    const entry = newEntry();
    const key = await subject.insert(under(entry));
    const ended = await backend.remove(key, access({ verifier: VERIFIER }), REVOKED, []);
    assert.ok(ended !== null && typeof ended !== "string");
    assert.equal(ended[reserved.index], JSON.stringify([entry]));
    assert.equal(ended[reserved.verifier], VERIFIER);
    assert.equal(await backend.remove(key, access({ verifier: VERIFIER }), REVOKED, []), null);
  },

  "a write without touch does not change the last-access time": async (subject) => {
    const { backend, access, stored } = subject;
    const long = "2020-01-01T00:00:00.000Z";
    const key = await subject.insert({ [reserved.lastAccessedAt]: long });
    await backend.write(key, access(), { set: { name: "barbara" }, remove: [], fields: null, touch: false });
    const after = (await stored(key)) as Record<string, string>;
    assert.deepEqual([after["name"], after[reserved.lastAccessedAt]], ["barbara", long]);
  },

  "extend keeps the score of a member, and adds a missing one behind all others as of a minute ago": async (
    subject,
  ) => {
    const { backend, clock } = subject;
    const entry = newEntry();
    const { members } = await enter(subject, entry, "a", "b");
    const { at, sample, isNew } = await backend.extend(entry, "a", LIFE_MS, clock.now());
    assert.equal(isNew, false);
    assert.ok(Math.abs(at - clock.now()) < SKEW_MS);
    assert.ok(sample.length > 0 && sample.every(({ key }) => ["a", "b"].includes(key)));
    assert.deepEqual((await backend.page(entry, 0, 10, clock.now())).members, members);
    assert.equal((await backend.extend(entry, "c", LIFE_MS, clock.now())).isNew, true);
    const page = await backend.page(entry, 0, 10, clock.now());
    assert.deepEqual(keysOf(page), ["a", "b", "c"]);
    const alone = newEntry();
    await backend.extend(alone, "a", LIFE_MS, clock.now());
    const score = (await backend.page(alone, 0, 10, clock.now())).members[0]?.score ?? 0;
    assert.ok(score / 1000 <= clock.now() + SKEW_MS && score > 0);
  },

  "extend lets an index live longer, and never shorter": async (subject) => {
    const { backend, clock } = subject;
    const entries = [newEntry(), newEntry(), newEntry()] as const;
    const [longer, shorter, made] = entries;
    await backend.enter(longer, "a", 500, 1, clock.now());
    await backend.extend(longer, "a", LIFE_MS, clock.now());
    await backend.enter(shorter, "a", LIFE_MS, 1, clock.now());
    await backend.extend(shorter, "a", 500, clock.now());
    await backend.extend(made, "a", 500, clock.now());
    await clock.advance(0.7);
    const sizes = await Promise.all(entries.map(async (entry) => (await backend.page(entry, 0, 10, clock.now())).size));
    assert.deepEqual(sizes, [1, 1, 0]);
  },

  "an index entry lives as long as its longest-lived member, and then expires": async (subject) => {
    const { backend, clock } = subject;
    const [short, long] = [newEntry(), newEntry()];
    await backend.enter(short, "a", 500, 1, clock.now());
    await backend.enter(long, "a", LIFE_MS, 1, clock.now());
    await backend.enter(long, "b", 500, 1, clock.now());
    await clock.advance(0.7);
    assert.equal((await backend.page(short, 0, 10, clock.now())).size, 0);
    assert.equal((await backend.page(long, 0, 10, clock.now())).size, 2);
  },
};
