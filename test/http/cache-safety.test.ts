import { describe, expect, test } from "vitest";
import { type Handler, signedIn, site } from "../support/sites.ts";

/** Each way to use a session, and whether its answer carries the session cookie. */
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
  "read without a cookie": { act: (session) => session.get(), sets: false, anonymous: true },
  "rotate without a cookie": { act: (session) => session.rotate(), sets: false, anonymous: true },
  "destroy without a cookie": { act: (session) => session.destroy(), sets: false, anonymous: true },
  "create without a cookie": { act: (session) => session.create({}), sets: true, anonymous: true },
};

/** The lines of Cache-Control that the handler sets, and what is left of them where the session was read. */
const cacheControls: readonly (readonly [readonly string[], string])[] = [
  [[], "private"],
  [[""], "private"],
  [[" , "], "private"],
  [["public"], "private"],
  [["public, max-age=3"], "private, max-age=3"],
  [["PuBlIc , MAX-AGE=3"], "private, MAX-AGE=3"],
  [["max-age=3,public"], "max-age=3, private"],
  [["public", "max-age=3"], "private, max-age=3"],
  [["max-age=3", "public", "public"], "max-age=3, private"],
  [["public, private"], "private"],
  [["private, max-age=3"], "private, max-age=3"],
  [["private"], "private"],
  [["no-store"], "no-store"],
  [["No-Store, max-age=0"], "No-Store, max-age=0"],
  [["public, no-store"], "private, no-store"],
  [["no-cache"], "no-cache"],
  [["max-age=3"], "max-age=3"],
  [["s-maxage=60"], "private"],
  [["max-age=3, S-MaxAge=60"], "max-age=3, private"],
  [["public, s-maxage=60"], "private"],
  [["s-maxage=60, private"], "private"],
  [["s-maxage = 60"], "private"],
  [['s-maxage="60"'], "private"],
  [['public="odd"'], "private"],
  [['no-cache="a, public, b"'], 'no-cache="a, public, b"'],
  [['private="x-a, x-b", public'], 'private="x-a, x-b", private'],
  [["publicity, max-age=3"], "publicity, max-age=3"],
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

function listOf(text: string | null): string[] {
  return (text ?? "")
    .replaceAll(/"[^"]*"/g, "")
    .split(",")
    .map((one) => one.trim().toLowerCase());
}

describe.each(Object.entries(uses))("R-17 %s", (_, { act, sets, anonymous }) => {
  test.each(cacheControls)(
    "makes an answer with Cache-Control %j safe from caches, whatever its Vary",
    async (lines, read) => {
      for (const [varyLines, vary] of varies) {
        const { visit } = await (anonymous ? site() : signedIn());
        const { headers } = await visit(act, () => answerWith({ "cache-control": lines, vary: varyLines }));
        expect(headers.getSetCookie()).toHaveLength(sets ? 1 : 0);
        const cacheControl = headers.get("cache-control");
        const asGiven = listOf(read).includes("no-store") && !lines.join().includes("public") ? read : "no-store";
        expect(cacheControl).toBe(sets ? asGiven : read);
        // The promises, in words that do not depend on the table.
        expect(listOf(cacheControl)).not.toContain("public");
        expect(listOf(cacheControl).filter((one) => one.startsWith("s-maxage"))).toEqual([]);
        if (sets) expect(listOf(cacheControl)).toContain("no-store");
        expect(headers.get("vary")).toBe(vary);
        expect(listOf(headers.get("vary")).filter((name) => name === "cookie" || name === "*")).toHaveLength(1);
        expect([headers.get("expires"), headers.get("x-mine")]).toEqual(["Thu, 01 Jan 2099 00:00:00 GMT", "1"]);
      }
    },
  );

  test.each([
    "CDN-Cache-Control",
    "Surrogate-Control",
    "Cloudflare-CDN-Cache-Control",
    "Vercel-CDN-Cache-Control",
    "Netlify-CDN-Cache-Control",
  ])("lets no shared cache store by %s, which it reads in place of Cache-Control", async (name) => {
    for (const given of ["max-age=600", "public, s-maxage=60", "private", "no-store", "No-Store"]) {
      const { visit } = await (anonymous ? site() : signedIn());
      const { headers } = await visit(act, () => answerWith({ [name]: [given] }));
      expect(headers.get(name)?.toLowerCase()).toBe("no-store");
    }
    const { visit } = await (anonymous ? site() : signedIn());
    expect((await visit(act, () => answerWith({}))).headers.has(name)).toBe(false);
  });
});

test("R-17 an answer whose handler did not use the session has its headers as they were", async () => {
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
