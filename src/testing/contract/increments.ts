import assert from "node:assert/strict";
import type { Increment } from "../../backend.ts";
import { reserved, type StoredSession } from "../../record.ts";
import { BY_ONE, type Cases } from "./subject.ts";

const { MAX_SAFE_INTEGER: MAX, MIN_SAFE_INTEGER: MIN } = Number;

type Row = readonly [stored: string | null, asked: Partial<Increment>, answer: number | string];

const INCREMENTS: Readonly<Record<string, Row>> = {
  "adds one": ["1", {}, 2],
  "adds nothing": ["1", { by: 0 }, 1],
  "subtracts below zero": ["1", { by: -3 }, -2],
  "starts an absent field at the given value": [null, { from: 40, by: 2 }, 42],
  "reaches its bounds": ["5", { by: 5, min: 10, max: 10 }, 10],
  "reaches the greatest safe integer": [String(MAX - 1), {}, MAX],
  "reaches the least safe integer": [String(MIN + 1), { by: -1 }, MIN],
  "crosses the whole range": [String(MIN), { by: MAX }, 0],
  "treats minus zero as zero": ["-0", { by: -0 }, 0],
  "refuses to pass the greatest safe integer": [String(MAX), {}, "too_big"],
  "refuses to pass it by far": [String(MAX), { by: MAX }, "too_big"],
  "refuses to pass the least safe integer": [String(MIN), { by: -1 }, "too_small"],
  "refuses a sum above its bound": ["1", { max: 1 }, "too_big"],
  "refuses a sum below its bound": ["1", { by: -1, min: 1 }, "too_small"],
  "refuses an absent field out of bounds": [null, { from: 9, max: 9 }, "too_big"],
  ...Object.fromEntries(
    ["", " 1", "1 ", "1\n", "+1", "1.0", "1e3", "0x1", "--1", "-", "None", "null", '"1"', "٣", "1\u0000"].map(
      (text) => [`refuses ${JSON.stringify(text)}`, [text, {}, "invalid_type"] as const],
    ),
  ),
  "refuses one more than the greatest safe integer": ["9007199254740992", {}, "invalid_type"],
  "refuses one less than the least": ["-9007199254740992", {}, "invalid_type"],
  "refuses more digits than that": ["00000000000000001", {}, "invalid_type"],
};

/** Tests of increments. */
export const increments: Cases = {
  async "increment writes a sum within its bounds, and otherwise changes nothing"({
    access,
    assertNow,
    backend,
    insert,
    stored,
  }) {
    for (const [rule, [text, asked, answer]] of Object.entries(INCREMENTS)) {
      const key = await insert({ count: text });
      const before = (await stored(key)) as StoredSession;
      const added = await backend.increment(key, access(), { ...BY_ONE, ...asked });
      if (typeof answer === "string") {
        assert.equal(added, answer, rule);
        assert.deepEqual(await stored(key), before, rule);
      } else {
        const after = added as StoredSession;
        assertNow(after[reserved.lastAccessedAt], rule);
        const changed = { count: String(answer), [reserved.lastAccessedAt]: after[reserved.lastAccessedAt] };
        assert.deepEqual(await stored(key), { ...before, ...changed }, rule);
        assert.deepEqual({ ...after, name: "andrew" }, { ...before, ...changed }, rule);
      }
    }
  },

  async "concurrent increments all count"({ access, backend, insert, stored }) {
    const key = await insert({ count: null });
    const sums = await Promise.all(Array.from({ length: 50 }, () => backend.increment(key, access(), BY_ONE)));
    assert.deepEqual(
      sums.map((record) => Number((record as StoredSession)["count"])).sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, at) => at + 1),
    );
    assert.equal(((await stored(key)) as StoredSession)["count"], "50");
  },
};
