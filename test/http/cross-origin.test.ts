import { describe, expect, test } from "vitest";
import { type CrossOriginProtection, crossOriginProtection, sessionMiddleware } from "../../src/index.ts";
import { signedIn, site } from "../support/sites.ts";
import { visits } from "../support/visits.ts";

const TRUSTED = "https://accounts.example";
const safe = ["GET", "HEAD", "OPTIONS"];
const unsafe = ["POST", "PUT", "PATCH", "DELETE", "QUERY", "PROPFIND", "post", "get", ""];
const sites = [null, "", "none", "same-origin", "same-site", "cross-site", "SAME-ORIGIN", "same-origin, none", "new"];
/** Of what a page of this origin sends to each of `urls`. */
const origins = [
  null,
  "",
  "null",
  "https://app.example",
  "http://app.example",
  "https://app.example:8443",
  "https://app.example.evil.example",
  "https://evil-app.example",
  "https://evil.example",
  "https://sub.app.example",
  TRUSTED,
  "http://accounts.example",
  "https://accounts.example:8443",
  "https://accounts.example.evil.example",
  "file://",
  "app.example",
  "not an origin",
];
const urls = [
  "https://app.example/a?b",
  "http://app.example/",
  "https://app.example:8443/",
  "https://APP.example:443/",
];

function asked(method: string, url: string, site: string | null, origin: string | null) {
  const headers: Readonly<Record<string, string | null>> = { "sec-fetch-site": site, origin };
  return { method, url, headers: { get: (name: string) => headers[name] ?? null } };
}

/** Host and port, by hand: no URL of these has any more. */
function hostOf(text: string): string | undefined {
  return /^https?:\/\/([^/]+)/.exec(text)?.[1]?.toLowerCase().replace(/:443$/, "");
}

/** The rule of Go's net/http.CrossOriginProtection, once more. */
function passes(method: string, url: string, site: string | null, origin: string | null, trusts: boolean): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "OPTIONS":
      return true;
  }
  const exempt = trusts && origin === TRUSTED;
  switch (site ?? "") {
    case "":
      break;
    case "same-origin":
    case "none":
      return true;
    default:
      return exempt;
  }
  return (origin ?? "") === "" || hostOf(origin ?? "") === hostOf(url) || exempt;
}

describe("crossOriginProtection", () => {
  test.each<[string, CrossOriginProtection | undefined, boolean]>([
    ["by default", undefined, false],
    ["when it is true", true, false],
    ["that trusts no origin", { trustedOrigins: [] }, false],
    ["that trusts an origin", { trustedOrigins: ["https://else.example:8443", TRUSTED] }, true],
  ])("%s lets pass what it should, of every method, Sec-Fetch-Site, Origin and URL", (_, options, trusts) => {
    const protection = crossOriginProtection(options);
    const counts = { passed: 0, refused: 0 };
    for (const method of [...safe, ...unsafe]) {
      for (const url of urls) {
        for (const site of sites) {
          for (const origin of origins) {
            const expected = passes(method, url, site, origin, trusts);
            const got = protection(asked(method, url, site, origin));
            expect([method, url, site, origin, got]).toEqual([method, url, site, origin, expected]);
            counts[got ? "passed" : "refused"]++;
          }
        }
      }
    }
    expect(Math.min(counts.passed, counts.refused)).toBeGreaterThan(1000);
  });

  test.each<[string, string | null, string | null, string, boolean]>([
    ["a browser's own form", "same-origin", "https://app.example", "https://app.example/", true],
    ["what the user starts", "none", null, "https://app.example/", true],
    ["a program that is no browser", null, null, "https://app.example/", true],
    ["a browser behind a proxy that ends TLS", null, "https://app.example", "http://app.example/", true],
    ["a browser behind such a proxy on a port", null, "https://app.example:8443", "http://app.example:8443/", true],
    ["an IPv6 host", null, "http://[::1]:3000", "http://[::1]:3000/", true],
    ["another site", "cross-site", "https://evil.example", "https://app.example/", false],
    ["another site that hides its origin", "cross-site", "null", "https://app.example/", false],
    ["a sandboxed frame in an old browser", null, "null", "https://app.example/", false],
    ["a sibling host", "same-site", "https://blog.app.example", "https://app.example/", false],
    ["another port of the same host", null, "http://localhost:8081", "http://localhost:8080/", false],
    ["a URL that says no host", null, "https://app.example", "/relative", false],
    ["no host on either side", null, "file:///", "file:///x", false],
  ])("%s", (_, site, origin, url, expected) => {
    expect(crossOriginProtection()(asked("POST", url, site, origin))).toBe(expected);
  });

  test("that is false lets everything pass and reads nothing", () => {
    const protection = crossOriginProtection(false);
    const headers = { get: () => expect.fail("read") };
    expect(protection({ method: "POST", url: "https://app.example/", headers })).toBe(true);
  });

  test.each([
    "https://a.example",
    "http://a.example:8080",
    "https://[::1]:3000",
    "http://localhost:5173",
    "https://a.example:80",
  ])("trusts %s", (origin) => {
    const protection = crossOriginProtection({ trustedOrigins: [origin] });
    expect(protection(asked("POST", urls[0] ?? "", "cross-site", origin))).toBe(true);
    expect(protection(asked("POST", urls[0] ?? "", null, origin))).toBe(true);
  });

  test("takes its list as it was when it was made", () => {
    const trustedOrigins = [TRUSTED];
    const protection = crossOriginProtection({ trustedOrigins });
    trustedOrigins[0] = "https://evil.example";
    expect(protection(asked("POST", urls[0] ?? "", "cross-site", TRUSTED))).toBe(true);
    expect(protection(asked("POST", urls[0] ?? "", "cross-site", "https://evil.example"))).toBe(false);
  });
});

describe("an option that cannot be meant so", () => {
  const { store } = visits();
  const malformed = [
    "",
    "null",
    "*",
    "a.example",
    "//a.example",
    "https://",
    "https://a.example/",
    "https://a.example/path",
    "https://a.example?x",
    "https://a.example#x",
    "https://user@a.example",
    "https://*.a.example",
    "https://A.example",
    "HTTPS://a.example",
    "https://a.example:443",
    "http://a.example:80",
    "https://a.example:",
    " https://a.example",
    "https://a.example ",
    "https://ä.example",
    "https://a.example, https://b.example",
    "file://",
  ];

  test.each(malformed)("the trusted origin %j, and it is named", (origin) => {
    const options = { trustedOrigins: [TRUSTED, origin] };
    for (const make of [
      () => crossOriginProtection(options),
      () => sessionMiddleware(store, { crossOriginProtection: options }),
    ]) {
      expect(make).toThrow(TypeError);
      expect(make).toThrow(JSON.stringify(origin));
    }
  });

  test.each([
    [{}, "trustedOrigins"],
    [{ trustedOrigins: TRUSTED }, "string"],
    [{ trustedOrigins: null }, "null"],
    [{ trustedOrigins: [5] }, "number"],
    [{ trustedOrigins: [new URL(TRUSTED)] }, "object"],
    [{ trustedOrigins: [], bypass: [] }, "bypass"],
    [{ origins: [] }, "origins"],
    [[TRUSTED], "an array"],
    ["yes", "string"],
    [null, "null"],
    [0, "number"],
  ])("%j", (options, named) => {
    const make = () => sessionMiddleware(store, { crossOriginProtection: options as never });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(named);
  });
});

describe("sessionMiddleware", () => {
  const post = (headers: Record<string, string>, method = "POST") =>
    new Request("https://app.example/", { method, headers });
  const foreign = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };

  test("refuses before the handler and the backend, and leaves the session alone", async () => {
    const { handle, jar, calls, cookie, store, token } = await signedIn();
    const response = await handle(post({ ...foreign, cookie: cookie ?? "" }), () => expect.fail("called"));
    expect([response.status, await response.text()]).toEqual([403, "Cross-origin request refused"]);
    expect(Object.fromEntries(response.headers)).toEqual({
      "cache-control": "no-store",
      "content-type": expect.stringMatching(/^text\/plain/i),
    });
    expect(calls).toEqual([]);
    jar.receive(response);
    expect(jar.cookie).toBe(cookie);
    expect(await store.get(token)).not.toBeNull();
  });

  test("refuses each time with an answer of its own", async () => {
    const { handle } = site();
    for (let time = 0; time < 2; time++) {
      const response = await handle(post(foreign), () => new Response());
      expect(await response.text()).not.toBe("");
    }
  });

  test("lets safe methods, and the site itself, pass", async () => {
    const { handle } = site();
    for (const asking of [
      ...safe.map((method) => post(foreign, method)),
      post({ "sec-fetch-site": "same-origin" }),
      post({ origin: "https://app.example" }),
      post({}),
    ]) {
      expect((await handle(asking, () => new Response())).status).toBe(200);
    }
  });

  test("can be told not to, or whom to trust", async () => {
    for (const crossOriginProtection of [false, { trustedOrigins: ["https://evil.example"] }]) {
      const { handle } = site({ crossOriginProtection });
      expect((await handle(post(foreign), () => new Response())).status).toBe(200);
    }
  });
});
