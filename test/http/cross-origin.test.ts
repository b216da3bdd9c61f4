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
  // What servers say that do not look at the Host header.
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
  return { method, url, headers: { get: (name: string) => headers[name] ?? null } };
}

/** Host and port, by hand: no URL of these has any more. */
function hostOf(text: string): string | undefined {
  const [, scheme, host] = /^(https?):\/\/([^/ ]+)\/?[^, ]*$/.exec(text) ?? [];
  return scheme && host && withoutPort(scheme, host);
}

function withoutPort(scheme: string, host: string): string {
  return host.toLowerCase().replace(scheme === "https" ? /:443$/ : /:80$/, "");
}

/** The rule of Go's net/http.CrossOriginProtection, once more, with WebSockets and two sources of the host. */
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
    ["when it is true", true, false],
    ["that trusts no origin", { trustedOrigins: [] }, false],
    ["that trusts an origin", { trustedOrigins: ["https://else.example:8443", TRUSTED] }, true],
  ])("%s lets pass what it should, of every method, Sec-Fetch-Site, Origin and URL", (_, options, trusts) => {
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
    ["an app on a host of the same name", null, "capacitor://localhost", "http://localhost/", false],
    [
      "a browser behind a proxy that ends TLS and names the port",
      null,
      "https://a.example",
      "http://a.example:443/",
      true,
    ],
    ["a port that is the default of another scheme", null, "https://a.example:80", "https://a.example/", false],
  ])("%s", (_, site, origin, url, expected) => {
    expect(crossOriginProtection()(asked({ method: "POST", url, site, origin }))).toBe(expected);
  });

  describe("compares Origin with the Host header, too", () => {
    const local = "http://localhost:3000/";

    test.each<[string, string, string, string, boolean]>([
      ["where the URL says localhost", "https://app.example", local, "app.example", true],
      ["where the URL says no host", "https://app.example", "/path", "app.example", true],
      ["with a default port", "https://app.example", local, "app.example:443", true],
      ["with the default port of plain http", "http://app.example", local, "app.example:80", true],
      ["in upper case", "https://app.example", local, "APP.Example", true],
      ["with another port", "https://app.example:8443", local, "app.example:8443", true],
      ["as IPv6", "http://[::1]:8080", local, "[::1]:8080", true],
      ["as IPv6 that is spelt at length", "http://[::1]", local, "[0:0:0:0:0:0:0:1]:80", true],
      [
        "where Host is that of a proxy and the URL is not",
        "https://app.example",
        "https://app.example/",
        "internal",
        true,
      ],
      ["of another site", "https://evil.example", local, "app.example", false],
      ["of a sibling host", "https://blog.app.example", local, "app.example", false],
      ["of another port", "https://app.example:8443", local, "app.example", false],
      ["of the default port of the other scheme", "https://app.example", local, "app.example:80", false],
      ["that is opaque", "null", local, "null", false],
      ["of an app", "capacitor://app.example", local, "app.example", false],
      ["of a Host with a user", "https://app.example", local, "x@app.example", false],
      ["of a Host with a path", "https://app.example", local, "app.example/x", false],
      ["of two Hosts", "https://app.example", local, "app.example, app.example", false],
    ])("%s", (_, origin, url, host, expected) => {
      const protection = crossOriginProtection();
      expect(protection(asked({ method: "POST", url, origin, host }))).toBe(expected);
      // What the browser says of the site comes first.
      expect(protection(asked({ method: "POST", url, origin, host, site: "cross-site" }))).toBe(false);
      expect(protection(asked({ method: "POST", url, origin, host, site: "same-origin" }))).toBe(true);
    });

    test("and trusts no header that a client could set", () => {
      const forwarded = { "x-forwarded-host": "evil.example", forwarded: "host=evil.example" };
      const headers = new Headers({ origin: "https://evil.example", host: "app.example", ...forwarded });
      expect(crossOriginProtection()({ method: "POST", url: local, headers })).toBe(false);
    });
  });

  describe("checks a WebSocket handshake like a POST", () => {
    const url = "https://app.example/socket";
    const handshake = { method: "GET", url, upgrade: "websocket" };

    test.each<[string, Partial<Asked>, boolean]>([
      ["from a page of the site", { origin: "https://app.example" }, true],
      ["from a page of a sibling host", { origin: "https://blog.app.example" }, false],
      ["from another site", { origin: "https://evil.example" }, false],
      ["from a sandboxed frame", { origin: "null" }, false],
      ["from a trusted origin", { origin: TRUSTED }, true],
      ["from a browser that says the site", { origin: "https://app.example", site: "same-origin" }, true],
      ["from a browser that says another site", { origin: "https://app.example", site: "same-site" }, false],
      ["from a program that is no browser", {}, true],
      ["in upper case", { origin: "https://evil.example", upgrade: "WebSocket" }, false],
      ["in a list", { origin: "https://evil.example", upgrade: "h2c,websocket" }, false],
      ["first in a list", { origin: "https://evil.example", upgrade: "websocket , h2c" }, false],
      ["with a version", { origin: "https://evil.example", upgrade: "websocket/13" }, false],
      ["over HTTP/2", { origin: "https://evil.example", upgrade: null, method: "CONNECT" }, false],
    ])("%s", (_, changes, expected) => {
      const protection = crossOriginProtection({ trustedOrigins: [TRUSTED] });
      expect(protection(asked({ ...handshake, ...changes }))).toBe(expected);
    });

    test("and lets the upgrade to another protocol pass", () => {
      expect(crossOriginProtection()(asked({ ...handshake, origin: "https://evil.example", upgrade: "h2c" }))).toBe(
        true,
      );
    });
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
  ])("trusts %s", (origin) => {
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

  test("takes its list as it was when it was made", () => {
    const trustedOrigins = [TRUSTED];
    const protection = crossOriginProtection({ trustedOrigins });
    trustedOrigins[0] = "https://evil.example";
    expect(protection(asked({ ...foreign, origin: TRUSTED }))).toBe(true);
    expect(protection(asked({ ...foreign, origin: "https://evil.example" }))).toBe(false);
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
