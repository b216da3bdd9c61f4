import { describe, expect, test } from "vitest";
import { type CrossOriginProtection, crossOriginProtection, sessionMiddleware } from "../../src/index.ts";
import { signedIn, site } from "../support/sites.ts";
import { visits } from "../support/visits.ts";

const TRUSTED = "https://accounts.example";
const safe = ["GET", "HEAD", "OPTIONS"];
const unsafe = ["POST", "PUT", "PATCH", "DELETE", "QUERY", "PROPFIND", "post", "get", ""];
const sites = [null, "", "none", "same-origin", "same-site", "cross-site", "SAME-ORIGIN", "same-origin, none", "new"];
/** Values of the Origin header, for requests to each of `urls`. */
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
  "app://app.example",
  "app.example",
  "not an origin",
  "https://app.example, https://app.example",
];
const urls = [
  "https://app.example/a?b",
  "http://app.example/",
  "https://app.example:8443/",
  "https://APP.example:443/",
  // The URLs that servers build when they ignore the Host header.
  "http://localhost:3000/",
  "/a?b",
];
const hosts = [
  null,
  "",
  "app.example",
  "APP.example:443",
  "app.example:80",
  "internal:3000",
  "app.example, evil.example",
];
const upgrades = [null, "websocket", "h2c, WebSocket", "h2c"];

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly site?: string | null;
  readonly origin?: string | null;
  readonly host?: string | null;
  readonly upgrade?: string | null;
}

function asked({ method, url, site, ...others }: Asked) {
  const headers: Readonly<Record<string, string | null>> = { "sec-fetch-site": site ?? null, ...others };
  return { method, url, header: (name: string) => headers[name] };
}

/** Host and port, parsed by hand: the URLs of this test need no more. */
function hostOf(text: string): string | undefined {
  const [, scheme, host] = /^(https?):\/\/([^/ ]+)\/?[^, ]*$/.exec(text) ?? [];
  return scheme && host && withoutPort(scheme, host);
}

function withoutPort(scheme: string, host: string): string {
  return host.toLowerCase().replace(scheme === "https" ? /:443$/ : /:80$/, "");
}

/** A second implementation of Go's net/http.CrossOriginProtection, with WebSockets and two sources of the host. */
function passes({ method, url, site, origin, host, upgrade }: Asked, trusts: boolean): boolean {
  const safeMethod = method === "GET" || method === "HEAD" || method === "OPTIONS";
  if (safeMethod && upgrade !== "websocket" && upgrade !== "h2c, WebSocket") return true;
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
  if (!origin || exempt) return true;
  const from = hostOf(origin);
  if (from === undefined) return false;
  const [scheme = ""] = origin.split(":");
  return [hostOf(url), host].some((one) => one && withoutPort(scheme, one) === from);
}

describe("crossOriginProtection", () => {
  const url = "https://app.example/";
  const foreign = { method: "POST", url, site: "cross-site" };

  test.each<[string, CrossOriginProtection | undefined, boolean]>([
    ["by default", undefined, false],
    ["set to true", true, false],
    ["with an empty list of trusted origins", { trustedOrigins: [] }, false],
    ["with trusted origins", { trustedOrigins: ["https://else.example:8443", TRUSTED] }, true],
  ])("crossOriginProtection %s decides every request like the reference rule", (_, options, trusts) => {
    const protection = crossOriginProtection(options);
    const counts = { passed: 0, refused: 0 };
    const [methodsOf, hostsOf] = [
      [...safe, ...unsafe],
      hosts.flatMap((host) => upgrades.map((upgrade) => ({ host, upgrade }))),
    ];
    for (const method of methodsOf) {
      for (const url of urls) {
        for (const site of sites) {
          for (const origin of origins) {
            for (const { host, upgrade } of hostsOf) {
              const request = { method, url, site, origin, host, upgrade };
              const expected = passes(request, trusts);
              const got = protection(asked(request));
              if (got !== expected) expect({ ...request, got }).toEqual({ ...request, got: expected });
              counts[got ? "passed" : "refused"]++;
            }
          }
        }
      }
    }
    expect(Math.min(counts.passed, counts.refused)).toBeGreaterThan(100_000);
  });

  test.each<[string, string | null, string | null, string, boolean]>([
    ["a form of the same origin is allowed", "same-origin", "https://app.example", "https://app.example/", true],
    ["a request that the user starts is allowed", "none", null, "https://app.example/", true],
    ["a client that is not a browser is allowed", null, null, "https://app.example/", true],
    ["a page behind a proxy that terminates TLS is allowed", null, "https://app.example", "http://app.example/", true],
    [
      "a page behind a TLS proxy on another port is allowed",
      null,
      "https://app.example:8443",
      "http://app.example:8443/",
      true,
    ],
    ["a page on an IPv6 host is allowed", null, "http://[::1]:3000", "http://[::1]:3000/", true],
    ["another site is rejected", "cross-site", "https://evil.example", "https://app.example/", false],
    ["another site that hides its origin is rejected", "cross-site", "null", "https://app.example/", false],
    ["a sandboxed frame in an old browser is rejected", null, "null", "https://app.example/", false],
    ["a sibling host is rejected", "same-site", "https://blog.app.example", "https://app.example/", false],
    ["another port of the same host is rejected", null, "http://localhost:8081", "http://localhost:8080/", false],
    ["an Origin is rejected if the request URL has no host", null, "https://app.example", "/relative", false],
    ["an Origin without a host is rejected if the request URL has none either", null, "file:///", "file:///x", false],
    [
      "a mobile app whose origin has the same host name is rejected",
      null,
      "capacitor://localhost",
      "http://localhost/",
      false,
    ],
    [
      "a page behind a TLS proxy that adds the port 443 is allowed",
      null,
      "https://a.example",
      "http://a.example:443/",
      true,
    ],
    [
      "a port that is the default only of another scheme is rejected",
      null,
      "https://a.example:80",
      "https://a.example/",
      false,
    ],
  ])("%s", (_, site, origin, url, expected) => {
    expect(crossOriginProtection()(asked({ method: "POST", url, site, origin }))).toBe(expected);
  });

  describe("comparison of Origin with the Host header", () => {
    const local = "http://localhost:3000/";

    test.each<[string, string, string, string, boolean]>([
      [
        "an Origin equal to Host is allowed if the URL says localhost",
        "https://app.example",
        local,
        "app.example",
        true,
      ],
      [
        "an Origin equal to Host is allowed if the URL has no host",
        "https://app.example",
        "/path",
        "app.example",
        true,
      ],
      [
        "an Origin is allowed if Host adds the default port of https",
        "https://app.example",
        local,
        "app.example:443",
        true,
      ],
      [
        "an Origin is allowed if Host adds the default port of http",
        "http://app.example",
        local,
        "app.example:80",
        true,
      ],
      ["an Origin is allowed if Host is in upper case", "https://app.example", local, "APP.Example", true],
      ["an Origin equal to Host with a port is allowed", "https://app.example:8443", local, "app.example:8443", true],
      ["an Origin equal to an IPv6 Host is allowed", "http://[::1]:8080", local, "[::1]:8080", true],
      [
        "an Origin is allowed if Host is the same IPv6 address in long form",
        "http://[::1]",
        local,
        "[0:0:0:0:0:0:0:1]:80",
        true,
      ],
      [
        "an Origin equal to the URL's host is allowed if Host is that of a proxy",
        "https://app.example",
        "https://app.example/",
        "internal",
        true,
      ],
      ["an Origin of another site is rejected", "https://evil.example", local, "app.example", false],
      ["an Origin of a sibling host is rejected", "https://blog.app.example", local, "app.example", false],
      ["an Origin with another port than Host is rejected", "https://app.example:8443", local, "app.example", false],
      [
        "an Origin is rejected if Host has the default port of the other scheme",
        "https://app.example",
        local,
        "app.example:80",
        false,
      ],
      ["the Origin null is rejected even if Host is null", "null", local, "null", false],
      [
        "an Origin of a mobile app with the same host is rejected",
        "capacitor://app.example",
        local,
        "app.example",
        false,
      ],
      ["a Host with a user name matches no Origin", "https://app.example", local, "x@app.example", false],
      ["a Host with a path matches no Origin", "https://app.example", local, "app.example/x", false],
      ["a list of two Hosts matches no Origin", "https://app.example", local, "app.example, app.example", false],
    ])("%s", (_, origin, url, host, expected) => {
      const protection = crossOriginProtection();
      expect(protection(asked({ method: "POST", url, origin, host }))).toBe(expected);
      // Sec-Fetch-Site takes precedence over Origin.
      expect(protection(asked({ method: "POST", url, origin, host, site: "cross-site" }))).toBe(false);
      expect(protection(asked({ method: "POST", url, origin, host, site: "same-origin" }))).toBe(true);
    });

    test("Forwarded and X-Forwarded-Host are ignored, as a client could set them", () => {
      const forwarded = { "x-forwarded-host": "evil.example", forwarded: "host=evil.example" };
      const headers = new Headers({ origin: "https://evil.example", host: "app.example", ...forwarded });
      expect(crossOriginProtection()({ method: "POST", url: local, header: (name) => headers.get(name) })).toBe(false);
    });
  });

  describe("WebSocket handshakes", () => {
    const url = "https://app.example/socket";
    const handshake = { method: "GET", url, upgrade: "websocket" };

    test.each<[string, Partial<Asked>, boolean]>([
      ["a handshake from a page of the same origin is allowed", { origin: "https://app.example" }, true],
      ["a handshake from a page of a sibling host is rejected", { origin: "https://blog.app.example" }, false],
      ["a handshake from another site is rejected", { origin: "https://evil.example" }, false],
      ["a handshake from a sandboxed frame is rejected", { origin: "null" }, false],
      ["a handshake from a trusted origin is allowed", { origin: TRUSTED }, true],
      [
        "a handshake with Sec-Fetch-Site same-origin is allowed",
        { origin: "https://app.example", site: "same-origin" },
        true,
      ],
      [
        "a handshake with Sec-Fetch-Site same-site is rejected",
        { origin: "https://app.example", site: "same-site" },
        false,
      ],
      ["a handshake from a client that is not a browser is allowed", {}, true],
      [
        "a foreign handshake with Upgrade in upper case is rejected",
        { origin: "https://evil.example", upgrade: "WebSocket" },
        false,
      ],
      [
        "a foreign handshake with websocket last in a list of upgrades is rejected",
        { origin: "https://evil.example", upgrade: "h2c,websocket" },
        false,
      ],
      [
        "a foreign handshake with websocket first in a list of upgrades is rejected",
        { origin: "https://evil.example", upgrade: "websocket , h2c" },
        false,
      ],
      [
        "a foreign handshake with a version after websocket is rejected",
        { origin: "https://evil.example", upgrade: "websocket/13" },
        false,
      ],
      [
        "a foreign handshake over HTTP/2 is rejected",
        { origin: "https://evil.example", upgrade: null, method: "CONNECT" },
        false,
      ],
    ])("%s", (_, changes, expected) => {
      const protection = crossOriginProtection({ trustedOrigins: [TRUSTED] });
      expect(protection(asked({ ...handshake, ...changes }))).toBe(expected);
    });

    test("a cross-origin upgrade to a protocol other than WebSocket is allowed", () => {
      expect(crossOriginProtection()(asked({ ...handshake, origin: "https://evil.example", upgrade: "h2c" }))).toBe(
        true,
      );
    });
  });

  test("the option false allows every request without reading its headers", () => {
    const protection = crossOriginProtection(false);
    const header = () => expect.fail("read");
    expect(protection({ method: "POST", url: "https://app.example/", header })).toBe(true);
  });

  test.each([
    "https://a.example",
    "http://a.example:8080",
    "https://[::1]:3000",
    "http://localhost:5173",
    "https://a.example:80",
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "app://-",
    "app://.",
    "app://localhost:8080",
    "app://localhost:80",
    "app://[::1]:8080",
    "web+app://a_b.example",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://0a1b2c3d-0000-4000-8000-abcdefabcdef",
    "safari-web-extension://0a1b2c3d-0000-4000-8000-abcdefabcdef",
  ])("the trusted origin %s is allowed, and similar origins are rejected", (origin) => {
    const protection = crossOriginProtection({ trustedOrigins: [origin] });
    for (const site of ["cross-site", null]) {
      expect(protection(asked({ method: "POST", url, site, origin }))).toBe(true);
      for (const other of [
        `${origin}/`,
        `${origin}.evil.example`,
        `${origin}:1`,
        origin.replace("://", "s://"),
        "null",
      ]) {
        expect(protection(asked({ method: "POST", url, site, origin: other }))).toBe(false);
      }
    }
  });

  test("later changes to the array of trusted origins have no effect", () => {
    const trustedOrigins = [TRUSTED];
    const protection = crossOriginProtection({ trustedOrigins });
    trustedOrigins[0] = "https://evil.example";
    expect(protection(asked({ ...foreign, origin: TRUSTED }))).toBe(true);
    expect(protection(asked({ ...foreign, origin: "https://evil.example" }))).toBe(false);
  });
});

describe("invalid crossOriginProtection options", () => {
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
    "file://localhost",
    "data:text/html,x",
    "data://x",
    "blob:https://a.example",
    "javascript://a",
    "about://blank",
    "ws://a.example",
    "wss://a.example",
    "ftp://a.example",
    "app://",
    "app:a",
    "app://a/",
    "app://a/x",
    "app://a?x",
    "app://a#x",
    "app://user@a",
    "app://a:",
    "app://a:080",
    "app://a:x",
    "app://[::1",
    "app://*",
    "app://*.a",
    "app://A",
    "APP://a",
    "app://ä",
    "app://a%41",
    "app://a b",
    " app://a",
    "app://a\n",
    "app://a,app://b",
    "chrome-extension://*",
    "capacitor://localhost/",
  ];

  test.each(malformed)("the malformed trusted origin %j is rejected with a TypeError that shows it", (origin) => {
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
  ])("the option %j is rejected with a TypeError that says what is wrong", (options, named) => {
    const make = () => sessionMiddleware(store, { crossOriginProtection: options as never });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(named);
  });
});

describe("sessionMiddleware with cross-origin protection", () => {
  const post = (headers: Record<string, string>, method = "POST") =>
    new Request("https://app.example/", { method, headers });
  const foreign = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };

  test("an unsafe cross-origin request gets 403 before the handler and the backend are called, and the session is kept", async () => {
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

  test("each rejected request gets a new 403 response with a readable body", async () => {
    const { handle } = site();
    for (let time = 0; time < 2; time++) {
      const response = await handle(post(foreign), () => new Response());
      expect(await response.text()).not.toBe("");
    }
  });

  test("requests with safe methods and same-origin requests reach the handler", async () => {
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

  test("a cross-origin request reaches the handler if the protection is off or trusts its origin", async () => {
    for (const crossOriginProtection of [false, { trustedOrigins: ["https://evil.example"] }]) {
      const { handle } = site({ crossOriginProtection });
      expect((await handle(post(foreign), () => new Response())).status).toBe(200);
    }
  });
});
