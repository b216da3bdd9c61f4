import CachePolicy from "http-cache-semantics";
import { describe, expect, test } from "vitest";
import { type AnswerHeader, cachingHeaders, isPrivate } from "../../src/http/cache-headers.ts";
import { type Handler, signedIn, site } from "../support/sites.ts";

/** Each way to use a session, and whether the response then carries the session cookie. */
const uses: Readonly<Record<string, { readonly act: Handler; readonly sets: boolean; readonly anonymous?: true }>> = {
  get: { act: (session) => session.get(), sets: false },
  peek: { act: (session) => session.peek(), sets: false },
  update: { act: (session) => session.update({ theme: "dark" }), sets: false },
  increment: { act: (session) => session.increment("pageViews"), sets: false },
  take: { act: (session) => session.take("flash"), sets: false },
  setIdleTimeout: { act: (session) => session.setIdleTimeout(60), sets: false },
  create: { act: (session) => session.create({}), sets: true },
  rotate: { act: (session) => session.rotate(), sets: true },
  destroy: { act: (session) => session.destroy(), sets: true },
  "get without a cookie": { act: (session) => session.get(), sets: false, anonymous: true },
  "rotate without a cookie": { act: (session) => session.rotate(), sets: false, anonymous: true },
  "destroy without a cookie": { act: (session) => session.destroy(), sets: false, anonymous: true },
  "create without a cookie": { act: (session) => session.create({}), sets: true, anonymous: true },
};

/** The lines of Cache-Control that the handler sets, and the header that is sent if the session was read. */
const cacheControls: readonly (readonly [readonly string[], string])[] = [
  [[], "private"],
  [[""], "private"],
  [[" , "], "private"],
  [["public"], "private"],
  [["public, max-age=3"], "private, max-age=3"],
  [["PuBlIc , MAX-AGE=3"], "private, MAX-AGE=3"],
  [["PUBLIC,MAX-AGE=5"], "private, MAX-AGE=5"],
  [["max-age=3,public"], "private, max-age=3"],
  [["public", "max-age=3"], "private, max-age=3"],
  [["max-age=3", "public", "public"], "private, max-age=3"],
  [["public, private"], "private"],
  [["private, max-age=3"], "private, max-age=3"],
  [["private"], "private"],
  [["Private, max-age=3"], "private, max-age=3"],
  [["no-store"], "no-store"],
  [["No-Store, max-age=0"], "no-store, max-age=0"],
  [["public, no-store"], "no-store"],
  [["must-understand, no-store, max-age=3"], "private, must-understand, no-store, max-age=3"],
  [["Must-Understand, private, no-store"], "Must-Understand, private, no-store"],
  [["no-cache"], "private, no-cache"],
  [['no-cache="set-cookie"'], 'private, no-cache="set-cookie"'],
  [["max-age=600"], "private, max-age=600"],
  [["max-age=0"], "private, max-age=0"],
  [["max-age=5, max-age=9"], "private, max-age=5, max-age=9"],
  [["max-age"], "private, max-age"],
  [["must-revalidate, max-age=9"], "private, must-revalidate, max-age=9"],
  [["max-age=9, proxy-revalidate"], "private, max-age=9, proxy-revalidate"],
  [["max-age=9, immutable"], "private, max-age=9, immutable"],
  [
    ["max-age=9, stale-while-revalidate=60, stale-if-error=60"],
    "private, max-age=9, stale-while-revalidate=60, stale-if-error=60",
  ],
  [["must-understand"], "private, must-understand"],
  [["no-transform"], "private, no-transform"],
  [["s-maxage=60"], "private"],
  [["max-age=3, S-MaxAge=60"], "private, max-age=3"],
  [["max-age=3, S-MaxAge = 9"], "private, max-age=3"],
  [["public, s-maxage=60"], "private"],
  [["s-maxage=60, private"], "private"],
  [["s-maxage = 60"], "private"],
  [['s-maxage="60"'], "private"],
  [["s-maxage"], "private"],
  [['public="odd"'], "private"],
  [['no-cache="a, public, b"'], 'private, no-cache="a, public, b"'],
  [['private="x-a"'], 'private, private="x-a"'],
  [['private="x-a, x-b", public'], 'private, private="x-a, x-b"'],
  [['private="x-a", private'], 'private="x-a", private'],
  [["private=x-a"], "private, private=x-a"],
  [['private, private="", private=, no-store=""'], "private"],
  [['ext="open, private'], 'private, ext="open, private'],
  [['ext="open', "private"], 'private, ext="open, private'],
  [['ext="a\\", private, b"'], 'private, ext="a\\", private, b"'],
  [['ext="a\\", b", private'], 'ext="a\\", b", private'],
  [["private; max-age=3"], "private, private; max-age=3"],
  [["publicity, max-age=3"], "private, publicity, max-age=3"],
  [["privately, no-storefront"], "private, privately, no-storefront"],
];

const varies: readonly (readonly [readonly string[], string])[] = [
  [[], "Cookie"],
  [[""], "Cookie"],
  [["*"], "*"],
  [["Accept-Encoding"], "Accept-Encoding, Cookie"],
  [["cookie"], "cookie"],
  [["Accept-Encoding, COOKIE"], "Accept-Encoding, COOKIE"],
  [["Accept-Encoding", "Cookie"], "Accept-Encoding, Cookie"],
  [["X-Cookie"], "X-Cookie, Cookie"],
  [["Accept , *"], "Accept , *"],
];

function answerWith(lines: Readonly<Record<string, readonly string[]>>): Response {
  const answer = new Response("ok", { headers: { expires: "Thu, 01 Jan 2099 00:00:00 GMT", "x-mine": "1" } });
  for (const [name, values] of Object.entries(lines)) for (const value of values) answer.headers.append(name, value);
  return answer;
}

/** Headers that caches follow instead of Cache-Control, according to the documentation of those caches. */
const targeted = [
  "CDN-Cache-Control",
  "Surrogate-Control",
  "Edge-Control",
  "X-Accel-Expires",
  "X-LiteSpeed-Cache-Control",
  "Cloudflare-CDN-Cache-Control",
  "Vercel-CDN-Cache-Control",
  "Netlify-CDN-Cache-Control",
  "Any-Other-CDN-Cache-Control",
];

const directives = [
  "public",
  "Public",
  "private",
  "PRIVATE",
  'private="x-a"',
  'private=""',
  "no-store",
  "No-Store",
  "no-store=",
  "no-cache",
  'no-cache="set-cookie"',
  "max-age=600",
  "max-age",
  "s-maxage=60",
  "S-MaxAge = 60",
  "must-revalidate",
  "proxy-revalidate",
  "must-understand",
  "immutable",
  "stale-while-revalidate=60",
  'ext="a, private, b"',
  'ext="open',
];

/** Whether a shared cache would store a response with these headers, according to http-cache-semantics. */
function isStorable(headers: Headers): boolean {
  const request = { method: "GET", url: "/", headers: { host: "app.example" } };
  const policy = new CachePolicy(request, { status: 200, headers: Object.fromEntries(headers) }, { shared: true });
  return policy.storable();
}

function withHeaders(answer: Headers, changes: readonly AnswerHeader[]): Headers {
  const headers = new Headers(answer);
  for (const [name, ...values] of changes) {
    headers.delete(name);
    for (const value of values) headers.append(name, value);
  }
  return headers;
}

function listOf(text: string | null): string[] {
  return (text ?? "")
    .replaceAll(/"[^"]*"/g, "")
    .split(",")
    .map((one) => one.trim().toLowerCase());
}

describe.each(Object.entries(uses))("R-17 a response after %s", (_, { act, sets, anonymous }) => {
  test.each(cacheControls)(
    "a response whose handler sets Cache-Control %j cannot be stored by a shared cache, whatever its Vary header",
    async (lines, read) => {
      for (const [varyLines, vary] of varies) {
        const { visit } = await (anonymous ? site() : signedIn());
        const { headers } = await visit(act, () => answerWith({ "cache-control": lines, vary: varyLines }));
        expect(headers.getSetCookie()).toHaveLength(sets ? 1 : 0);
        const cacheControl = headers.get("cache-control");
        expect(cacheControl).toBe(sets ? "no-store" : read);
        expect(isStorable(headers)).toBe(false);
        // The same promises, checked without the table above.
        expect(listOf(cacheControl)).not.toContain("public");
        expect(listOf(cacheControl).filter((one) => one.startsWith("s-maxage"))).toEqual([]);
        if (sets) expect(listOf(cacheControl)).toContain("no-store");
        expect(headers.get("vary")).toBe(vary);
        expect(listOf(headers.get("vary")).filter((name) => name === "cookie" || name === "*")).toHaveLength(1);
        expect([headers.get("expires"), headers.get("x-mine")]).toEqual(["Thu, 01 Jan 2099 00:00:00 GMT", "1"]);
      }
    },
  );

  test.each(targeted)(
    "the header %s, which a shared cache reads instead of Cache-Control, is removed from the response",
    async (name) => {
      for (const given of ["max-age=600", "public, s-maxage=60", "private", "no-store", "0", ""]) {
        const { visit } = await (anonymous ? site() : signedIn());
        const { headers } = await visit(act, () =>
          answerWith({ [name]: [given, given], "x-cdn-cache-control-x": ["1"] }),
        );
        expect([headers.has(name), headers.get("x-cdn-cache-control-x")]).toEqual([false, "1"]);
      }
    },
  );
});

describe("cachingHeaders", () => {
  test("no combination of cache directives lets a shared cache store the response, with or without Expires and a cookie", () => {
    const some = ["", ...directives];
    const triples = some.flatMap((one) => some.flatMap((two) => some.map((three) => [one, two, three])));
    const counts = { storable: 0, judged: 0 };
    for (const [at, triple] of triples.entries()) {
      const given = triple.filter((directive) => directive !== "").join(at % 2 === 0 ? ", " : ",");
      // http-cache-semantics ignores quotes and would read these texts as ending with an empty list of fields.
      if (/"open\b.*(private=""|no-store=(,|$))/.test(given)) continue;
      for (const expires of [null, "Thu, 01 Jan 2099 00:00:00 GMT"]) {
        const answer = new Headers(expires === null ? {} : { expires });
        if (given !== "") answer.set("cache-control", given);
        if (isStorable(answer)) counts.storable++;
        for (const withCookie of [false, true]) {
          const out = withHeaders(answer, cachingHeaders(answer, withCookie));
          const cacheControl = out.get("cache-control");
          if (isStorable(out)) expect([given, cacheControl]).toEqual([given, "not storable"]);
          if (withCookie && cacheControl !== "no-store") expect([given, cacheControl]).toEqual([given, "no-store"]);
          if (cachingHeaders(out, withCookie).length > 0) expect([given, "is changed twice"]).toEqual([given, "once"]);
          counts.judged++;
        }
      }
    }
    // Many of the given headers are storable before the change, so the test is not vacuous.
    expect(counts.storable).toBeGreaterThan(counts.judged / 10);
  }, 30_000);

  test("max-age is kept for the private cache of the browser", () => {
    const answer = new Headers({ "cache-control": "public, max-age=600, must-revalidate" });
    expect(cachingHeaders(answer, false)).toEqual([
      ["Cache-Control", "private, max-age=600, must-revalidate"],
      ["Vary", "Cookie"],
    ]);
  });

  test("a header to remove is listed without a value, and the given Headers object is not modified", () => {
    const given = { "cdn-cache-control": "max-age=5", "x-accel-expires": "5", vary: "*", "cache-control": "private" };
    const answer = new Headers(given);
    expect(cachingHeaders(answer, false)).toEqual([["cdn-cache-control"], ["x-accel-expires"]]);
    expect(Object.fromEntries(answer)).toEqual(given);
  });

  test("a Cache-Control header of a million characters is processed in linear time", () => {
    for (const piece of [
      '"',
      ",",
      "a,",
      '"\\',
      "\\",
      'a="',
      "private",
      "public ",
      "s-maxage =",
      ' "" ',
      "cdn-cache-control",
    ]) {
      const answer = new Headers({ "cache-control": piece.repeat(1_000_000 / piece.length), vary: "Cookie" });
      const started = performance.now();
      cachingHeaders(answer, false);
      expect(performance.now() - started).toBeLessThan(2000);
    }
  }, 30_000);
});

describe("isPrivate", () => {
  const cases: readonly (readonly [Readonly<Record<string, string>>, boolean])[] = [
    [{}, false],
    [{ "cache-control": "private" }, true],
    [{ "cache-control": "max-age=3, PRIVATE" }, true],
    [{ "cache-control": "No-Store" }, true],
    [{ "cache-control": "no-store, must-understand" }, false],
    [{ "cache-control": 'private="x-a"' }, false],
    [{ "cache-control": "private=" }, false],
    [{ "cache-control": "no-cache" }, false],
    [{ "cache-control": "max-age=0" }, false],
    [{ "cache-control": 'ext="open, private' }, false],
    [{ "cache-control": "private", "fastly-cdn-cache-control": "max-age=9" }, false],
    [{ "cache-control": "no-store", "x-accel-expires": "9" }, false],
    [{ "surrogate-control": "no-store" }, false],
  ];

  test.each(cases)("isPrivate(%j) returns %j", (headers, expected) => {
    expect(isPrivate(new Headers(headers))).toBe(expected);
  });
});

test("R-17 a response whose handler did not use the session keeps its headers unchanged", async () => {
  for (const [cacheControl] of cacheControls) {
    for (const [vary] of varies) {
      const lines = {
        "cache-control": cacheControl,
        vary,
        "cdn-cache-control": ["max-age=600"],
        "surrogate-control": ["max-age=600"],
        "set-cookie": ["a=1; Path=/", "b=2"],
      };
      const answer = answerWith(lines);
      const { visit, calls } = await signedIn();
      expect(
        await visit(
          () => null,
          () => answer,
        ),
      ).toBe(answer);
      expect([...answer.headers]).toEqual([...answerWith(lines).headers]);
      expect(calls).toEqual([]);
    }
  }
});
