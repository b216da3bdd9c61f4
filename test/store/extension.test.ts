import { expect, test } from "vitest";
import { memoryBackend } from "../../src/index.ts";
import { visits } from "../support/visits.ts";

const IDLE = 60;
/** Seconds after which the next access extends the indexes. */
const DUE = 40;

/** A session whose indexes must live longer. */
async function due() {
  const inner = memoryBackend();
  const base = visits({ backend: inner, indexes: { user: "userId" }, idleTimeout: IDLE });
  const { token, session } = await base.store.create({ userId: "42" });
  base.advance(DUE);
  return { ...base, inner, token, session };
}

test.each(["[]", "{", '"user:42"', "[5]", "[null, {}]", '[["user:42"]]'])(
  "a session that is due keeps its idle timeout if its stored index entries are %s",
  async (entries) => {
    const { store, inner, clock, token, session, advance } = await due();
    const access = { verifier: null, previous: false, now: clock.now() };
    const change = { set: { session_index: entries }, remove: [], fields: null, touch: false };
    await inner.write(session.id, access, change);
    for (let use = 0; use < 5; use++) {
      expect((await store.get(token))?.expiresAt.getTime()).toBe(clock.now() + IDLE * 1000);
      expect(await store.increment(token, "pageViews")).toBe(use + 1);
      advance(DUE);
    }
    expect(await store.update(token, { userId: "43" })).not.toBeNull();
    expect(await store.count({ user: "43" })).toBe(1);
  },
);
