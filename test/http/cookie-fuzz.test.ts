import process from "node:process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cookieValues } from "../../src/http/cookie-header.ts";
import { sessionCookie, sessionExchange } from "../../src/index.ts";
import { requestParts } from "../support/http.ts";
import { onNode } from "../support/runtime.ts";
import { visits } from "../support/visits.ts";

/** FUZZ_RUNS sets the number of cases, FUZZ_SEED repeats a run. A failure is printed with its seed and path. */
const RUNS = Number(process.env["FUZZ_RUNS"] ?? (onNode ? 100_000 : 20_000));
const SEED = process.env["FUZZ_SEED"];
const TIMEOUT_MS = 60_000 + RUNS;

const NAME = "__Host-Http-sid";
const G = `${"AbCdEfGhIjKlMnOpQrStUv"}.${"0123456789-_abcdefghijklmnopqrstuvwxyzABCDE"}`;
const BARE = G.slice(23);
const MOST = 32_768;

/**
 * Parses a `Cookie` header literally as RFC 6265bis says, slowly: section 5.6, steps 1 to 4, for each pair between
 * semicolons.
 */
function pairsOf(header: string): { readonly name: string; readonly value: string }[] {
  const stripped = (text: string): string => {
    let rest = [...text.split("")];
    while (rest[0] === " " || rest[0] === "\t") rest = rest.slice(1);
    while (rest.at(-1) === " " || rest.at(-1) === "\t") rest = rest.slice(0, -1);
    return rest.join("");
  };
  return header.split(";").map((pair) => {
    const [name = "", ...value] = pair.split("=");
    if (value.length === 0) return { name: "", value: stripped(name) };
    return { name: stripped(name), value: stripped(value.join("=")) };
  });
}

function valuesIn(header: string): readonly string[] {
  if (header.length > MOST) return [];
  return [...new Set(pairsOf(header).flatMap(({ name, value }) => (name === NAME ? [value] : [])))];
}

/** The token that a server may read from this header, or null. */
function tokenIn(header: string): string | null {
  const values = valuesIn(header);
  const [value = ""] = values;
  return values.length === 1 && (/^[\w-]{22}\.[\w-]{43}(?!\n)$/.test(value) || /^[\w-]{43}(?!\n)$/.test(value))
    ? value
    : null;
}

const characters = '=; \t,"\\\0\n\r\v\f\u0085\u00a0\ufeff\u2003é%_-.aA0\ud83d\ude00'.split("");
const noise = fc.array(fc.constantFrom(...characters), { maxLength: 8 }).map((all) => all.join(""));
const blank = fc.constantFrom("", "", "", " ", "\t", " \t ", "\u00a0", "\n");
const name = fc.oneof(
  { weight: 6, arbitrary: fc.constant(NAME) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "__host-http-sid",
      "__Host%2DHttp-sid",
      "__Host-Http-sid2",
      "x__Host-Http-sid",
      "__proto__",
      "",
      "$Path",
    ),
  },
  { weight: 1, arbitrary: noise },
);
const value = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(G, G, BARE) },
  {
    weight: 2,
    arbitrary: fc.constantFrom("", G.slice(1), `${G}A`, `"${G}"`, `${G}\n`, `${G}=`, G.replace(".", "%2E"), `${G},`),
  },
  { weight: 1, arbitrary: noise },
);
const separator = fc.constantFrom("=", "=", "=", "=", "", "==", ";", ":");
const pair = fc.tuple(blank, name, blank, separator, blank, value, blank).map((parts) => parts.join(""));
const anyPair = fc.oneof(
  { weight: 3, arbitrary: pair },
  { weight: 1, arbitrary: noise },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
);
const headers = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .tuple(fc.array(anyPair, { maxLength: 5 }), fc.constantFrom(";", ";", "; ", ",", ";;"))
      .map(([pairs, by]) => pairs.join(by)),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 300 }) },
);

function check(property: fc.IProperty<[string]> | fc.IAsyncProperty<[string]>, numRuns = RUNS) {
  return fc.assert(property as fc.IAsyncProperty<[string]>, {
    numRuns,
    ...(SEED === undefined ? {} : { seed: Number(SEED) }),
  });
}

test(
  "every Cookie header is read as RFC 6265bis says",
  async () => {
    const { read } = sessionCookie();
    const seen = { token: 0, none: 0 };
    await check(
      fc.property(headers, (header) => {
        const expected = tokenIn(header);
        seen[expected === null ? "none" : "token"]++;
        if (read(header) !== expected) expect(read(header)).toBe(expected);
        const [values, all] = [cookieValues(NAME, header), valuesIn(header)];
        if (values.length !== Math.min(all.length, 2) || values[0] !== all[0] || values[1] !== all[1]) {
          expect(values).toEqual(all.slice(0, 2));
        }
      }),
    );
    // Headers with and without a token both occur often.
    expect(Math.min(seen.token, seen.none)).toBeGreaterThan(RUNS / 20);
  },
  TIMEOUT_MS,
);

test(
  "only a Cookie header with a well-formed token causes a backend call, and no response sets a cookie",
  async () => {
    const { store, calls } = visits();
    const exchangeOf = sessionExchange(store);
    await check(
      fc.asyncProperty(headers, async (header) => {
        calls.length = 0;
        const { session, finish } = exchangeOf(requestParts(header));
        const read = await session.get();
        const lines = finish(new Headers()).map(([field]) => field);
        const token = tokenIn(header);
        const asked = token === null || token.length === BARE.length ? 0 : 1;
        if (read !== null || calls.length !== asked || lines.includes("Set-Cookie")) {
          expect([read, calls.length, lines]).toEqual([null, asked, ["Cache-Control", "Vary"]]);
        }
      }),
    );
  },
  TIMEOUT_MS,
);

test("the number of passes over a Cookie header does not depend on how many pairs it has", () => {
  /** Counts the characters that `indexOf` and `slice` go through. */
  function looked(header: string): number {
    const { indexOf, slice } = String.prototype;
    let passed = 0;
    String.prototype.indexOf = function (this: string, searched: string, from = 0) {
      const at = indexOf.call(this, searched, from);
      passed += (at === -1 ? this.length : at) - from + 1;
      return at;
    };
    String.prototype.slice = function (this: string, start = 0, end = this.length) {
      passed += Math.max(0, end - start);
      return slice.call(this, start, end);
    };
    try {
      sessionCookie().read(header);
    } finally {
      Object.assign(String.prototype, { indexOf, slice });
    }
    return passed;
  }
  for (const piece of [
    ";",
    "=",
    "a=b; ",
    '"',
    "=;",
    "a;",
    " ;",
    " ",
    "\t;",
    "a",
    NAME,
    `${NAME};`,
    `${NAME}=;`,
    `${NAME}=${G};`,
    `${G};`,
  ]) {
    for (const end of ["", "=", `;${NAME}=${G}`]) {
      const header = `${piece.repeat(MOST).slice(0, MOST - end.length)}${end}`;
      expect(looked(header)).toBeLessThan(8 * MOST);
      expect(looked(header.slice(MOST / 2))).toBeLessThan(4 * MOST + 1000);
    }
  }
  expect(looked("=".repeat(MOST))).toBeGreaterThan(0);
});
