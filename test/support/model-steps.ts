import * as fc from "fast-check";
import { type ChangeBy, ENTRIES, FUNCTIONS, type Patch, TAGS, USERS } from "./model-data.ts";
import type { Rules } from "./model-state.ts";

/** The token to present: that of a session counted from the newest, which is live unless `any` is set. */
export interface TokenOf {
  readonly session: number;
  readonly any?: boolean;
  readonly token: "current" | "previous" | "older" | "wrong secret" | "another's secret" | "unknown" | "malformed";
}

/** The end of a clock step: after some time, or around the end of a session. */
export type Until =
  | { readonly seconds: number }
  | { readonly ms: number }
  | {
      readonly session: number;
      readonly end: "idle" | "deadline" | "grace" | "touch";
      readonly side: "before" | "at" | "after";
    };

/** One step of a sequence. */
export type Step =
  | {
      readonly do: "create";
      readonly data: Patch;
      readonly idleTimeout?: number | undefined;
      readonly absoluteTimeout?: number | undefined;
      readonly authenticated?: true | undefined;
    }
  | { readonly do: "get" | "peek" | "destroy"; readonly of: TokenOf }
  | { readonly do: "update"; readonly of: TokenOf; readonly change: ChangeBy }
  | { readonly do: "increment"; readonly of: TokenOf; readonly field: "views" | "steps"; readonly by: number }
  | { readonly do: "take"; readonly of: TokenOf; readonly field: "flash" | "userId" }
  | { readonly do: "setIdleTimeout"; readonly of: TokenOf; readonly seconds: number }
  | {
      readonly do: "rotate";
      readonly of: TokenOf;
      readonly change?: ChangeBy | undefined;
      readonly idleTimeout?: number | undefined;
      readonly authenticated?: true | undefined;
      readonly grace?: number | undefined;
    }
  | { readonly do: "revoke"; readonly session: number; readonly any?: boolean }
  | { readonly do: "revokeAll"; readonly entry: string; readonly except?: number | undefined }
  | { readonly do: "updateAll"; readonly entry: string; readonly change: ChangeBy }
  | { readonly do: "list"; readonly entry: string; readonly limit?: number | undefined }
  | { readonly do: "count"; readonly entry: string }
  | { readonly do: "scan" }
  | { readonly do: "wait"; readonly until: Until };

/** The options of a store and the steps to perform on it. */
export interface Sequence {
  readonly rules: Rules;
  readonly steps: readonly Step[];
}

const partly = { requiredKeys: [] };
const oneOf = fc.constantFrom;

const which = fc.record({ session: fc.nat(5), any: oneOf(true) }, { requiredKeys: ["session"] });
const tokenOf: fc.Arbitrary<TokenOf> = fc
  .tuple(
    which,
    fc.oneof(
      { weight: 12, arbitrary: oneOf("current" as const) },
      { weight: 4, arbitrary: oneOf("previous" as const) },
      { weight: 1, arbitrary: oneOf("older" as const) },
      { weight: 1, arbitrary: oneOf("wrong secret" as const, "another's secret", "unknown", "malformed") },
    ),
  )
  .map(([session, token]) => ({ ...session, token }));

/** Text that a wrong encoding would change. */
const text = oneOf("", "hello", "null", "1", '{"a":1}', '"', "ü\u2028\u0000", "__proto__");
const values = {
  userId: oneOf(...USERS),
  tags: fc.array(oneOf(...TAGS), { maxLength: 3 }),
  theme: oneOf("light", "dark"),
  views: fc.integer({ min: -3, max: 5 }),
  steps: fc.integer({ min: -4, max: 400 }).map((n) => n * 5),
  flash: text,
};
const nothing = oneOf(undefined);
const fitting = fc.record({ ...values, userId: fc.option(values.userId, { nil: undefined }) }, partly);
const removing = fc.record({ ...values, userId: nothing, flash: nothing }, partly);
const unfit = oneOf<Patch[]>(
  { views: 6 },
  { views: 0.5 },
  { steps: 7 },
  { theme: undefined },
  { tags: undefined, flash: "x" },
  { theme: "red", views: 1 },
  { flash: "x", session_ttl: "9" },
  { created_at: "2020-01-01T00:00:00Z" },
  { flash: 1 },
);
const patch = fc.oneof(
  { weight: 8, arbitrary: fitting },
  { weight: 2, arbitrary: removing },
  { weight: 1, arbitrary: unfit },
);
const change: fc.Arbitrary<ChangeBy> = fc.oneof(
  patch.map((fields) => ({ patch: fields as Patch })),
  oneOf(...(Object.keys(FUNCTIONS) as (keyof typeof FUNCTIONS)[])).map((by) => ({ by })),
);
const entry = oneOf(...ENTRIES);
const newTimeouts = oneOf<{ idleTimeout?: number; absoluteTimeout?: number; authenticated?: true }[]>(
  {},
  {},
  { idleTimeout: 5 },
  { idleTimeout: 20, absoluteTimeout: 20 },
  { idleTimeout: 61, absoluteTimeout: 90, authenticated: true },
  { absoluteTimeout: 700 },
  { idleTimeout: 4000, absoluteTimeout: 5000 },
  { idleTimeout: 90, absoluteTimeout: 61 },
);
const rotation = oneOf<{ idleTimeout?: number; authenticated?: true; grace?: number }[]>(
  {},
  { grace: 4 },
  { grace: 19 },
  { grace: 59 },
  { authenticated: true, idleTimeout: 20 },
  { authenticated: true },
  { idleTimeout: 61 },
  { grace: 61 },
  { idleTimeout: 5, grace: 4 },
  { authenticated: true, grace: 4 },
);

const until: fc.Arbitrary<Until> = fc.oneof(
  fc.record({ seconds: oneOf(1, 2, 4, 9, 15, 59, 61, 200) }),
  fc.record({ ms: oneOf(1, 10, 999, 4999) }),
  fc.record({
    session: fc.nat(3),
    end: oneOf("idle" as const, "deadline", "grace", "touch"),
    side: oneOf("before" as const, "at", "after"),
  }),
);

/** Data in which most sessions belong to one user. */
const data = fc.record(
  { ...values, userId: fc.oneof({ weight: 2, arbitrary: oneOf("a") }, values.userId) },
  { requiredKeys: ["userId"] },
);
const makes = fc.tuple(data, newTimeouts).map(([data, timeouts]) => ({ do: "create" as const, data, ...timeouts }));
const spoilt = fc
  .tuple(fc.oneof(fitting, unfit), oneOf({}, { idleTimeout: 0 }, { absoluteTimeout: 1.5 }, { idleTimeout: 2 ** 31 }))
  .map(([data, timeouts]) => ({ do: "create" as const, data, ...timeouts }));

const plain: [number, fc.Arbitrary<Step>][] = [
  [8, makes],
  [1, spoilt],
  [6, fc.record({ do: oneOf("get" as const), of: tokenOf })],
  [1, fc.record({ do: oneOf("peek" as const), of: tokenOf })],
  [2, fc.record({ do: oneOf("destroy" as const), of: tokenOf })],
  [9, fc.record({ do: oneOf("update" as const), of: tokenOf, change })],
  [
    4,
    fc.record({
      do: oneOf("increment" as const),
      of: tokenOf,
      field: oneOf("views" as const, "steps"),
      by: oneOf(1, -1, 5, 0, 100, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 0.5),
    }),
  ],
  [3, fc.record({ do: oneOf("take" as const), of: tokenOf, field: oneOf("flash" as const, "userId") })],
  [2, fc.record({ do: oneOf("setIdleTimeout" as const), of: tokenOf, seconds: oneOf(5, 20, 61, 300, 4000, 0) })],
  [
    7,
    fc
      .tuple(tokenOf, rotation, fc.option(change, { nil: undefined, freq: 1 }))
      .map(([of, options, change]) => ({ do: "rotate" as const, of, change, ...options })),
  ],
  [1, which.map((session) => ({ do: "revoke" as const, ...session }))],
  [1, fc.record({ do: oneOf("scan" as const) })],
  [5, fc.record({ do: oneOf("wait" as const), until })],
];
const byIndex: [number, fc.Arbitrary<Step>][] = [
  [1, fc.record({ do: oneOf("revokeAll" as const), entry, except: fc.nat(3) }, { requiredKeys: ["do", "entry"] })],
  [2, fc.record({ do: oneOf("updateAll" as const), entry, change })],
  [1, fc.record({ do: oneOf("list" as const), entry, limit: oneOf(1, 2, 100, 0) }, { requiredKeys: ["do", "entry"] })],
  [1, fc.record({ do: oneOf("count" as const), entry })],
];

/** Sequences that create a few sessions first, so that later steps have sessions to use. */
function stepsOf(kinds: [number, fc.Arbitrary<Step>][]): fc.Arbitrary<Step[]> {
  const step = fc.oneof(...kinds.map(([weight, arbitrary]) => ({ weight, arbitrary })));
  return fc
    .tuple(fc.array(makes, { maxLength: 4, size: "max" }), fc.array(step, { maxLength: 36, size: "max" }))
    .map(([first, then]) => [...first, ...then]);
}

const timeouts = {
  idleTimeout: oneOf(60, 300),
  absoluteTimeout: oneOf(undefined, 600, 3600),
  touchInterval: oneOf(0, 10),
};
const without = fc.record({ ...timeouts, indexed: oneOf(false), limit: oneOf(null), refined: fc.boolean() });
const limit = oneOf(null, "evict-oldest" as const, "reject");
const withIndexes = fc.record({ ...timeouts, indexed: oneOf(true), limit, refined: fc.boolean() });

/** Random store options with random steps. */
export const sequences: fc.Arbitrary<Sequence> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ rules: without, steps: stepsOf(plain) }) },
  { weight: 3, arbitrary: fc.record({ rules: withIndexes, steps: stepsOf([...plain, ...byIndex]) }) },
);
