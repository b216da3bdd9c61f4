import { describe, expect, test } from "vitest";
import { cookieValues, setsCookie } from "../../src/http/cookie.ts";
import { type CookieOptions, sessionCookie } from "../../src/index.ts";
import { signedIn } from "../support/sites.ts";

const G = `${"AbCdEfGhIjKlMnOpQrStUv"}.${"0123456789-_abcdefghijklmnopqrstuvwxyzABCDE"}`;
const A = G.replace("A", "B");
const BARE = G.slice(23);

const { read } = sessionCookie();

describe("write and clear", () => {
  const pair = `__Host-sid=${G}`;
  const gone = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
  test.each<[CookieOptions, string, string]>([
    [
      {},
      `${pair}; Path=/; HttpOnly; Secure; SameSite=Lax`,
      `__Host-sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`,
    ],
    [
      { secure: false },
      `sid=${G}; Path=/; HttpOnly; SameSite=Lax`,
      `sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; SameSite=Lax`,
    ],
    [
      { domain: "app.example" },
      `__Secure-sid=${G}; Domain=app.example; Path=/; HttpOnly; Secure; SameSite=Lax`,
      `__Secure-sid=; Max-Age=0; Domain=app.example; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`,
    ],
    [
      { path: "/app" },
      `__Secure-sid=${G}; Path=/app; HttpOnly; Secure; SameSite=Lax`,
      `__Secure-sid=; Max-Age=0; Path=/app; ${gone}; HttpOnly; Secure; SameSite=Lax`,
    ],
    [
      { sameSite: "none", partitioned: true },
      `${pair}; Path=/; HttpOnly; Secure; Partitioned; SameSite=None`,
      `__Host-sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; Partitioned; SameSite=None`,
    ],
    [
      { name: "__Host-Http-id", sameSite: "strict" },
      `__Host-Http-id=${G}; Path=/; HttpOnly; Secure; SameSite=Strict`,
      `__Host-Http-id=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; SameSite=Strict`,
    ],
  ])("with %j", (options, written, cleared) => {
    const cookie = sessionCookie(options);
    expect(cookie.write(G)).toBe(written);
    expect(cookie.write(G, 3600)).toBe(written.replace("; ", "; Max-Age=3600; "));
    expect(cookie.clear()).toBe(cleared);
    expect(written.startsWith(`${cookie.name}=`)).toBe(true);
    expect(cookie.read(written.split(";")[0])).toBe(G);
  });

  test("a token without a secret can be written, too", () => {
    expect(sessionCookie().write(BARE)).toBe(`__Host-sid=${BARE}; Path=/; HttpOnly; Secure; SameSite=Lax`);
  });

  test.each([1, 34_560_000])("Max-Age may be %d", (maxAge) => {
    expect(sessionCookie().write(G, maxAge)).toContain(`; Max-Age=${maxAge};`);
  });

  test.each([0, -1, 1.5, 34_560_001, Number.NaN, Number.POSITIVE_INFINITY])("Max-Age may not be %d", (maxAge) => {
    expect(() => sessionCookie().write(G, maxAge)).toThrow(RangeError);
  });

  test("Max-Age is a number", () => {
    expect(() => sessionCookie().write(G, "3600" as never)).toThrow(TypeError);
  });

  test.each(["", "x", `${G}; Domain=evil.example`, `${G}\r\nSet-Cookie: a=b`, null, undefined])(
    "no other value is written: %j",
    (token) => {
      expect(() => sessionCookie().write(token as string)).toThrow(TypeError);
      const error: unknown = (() => {
        try {
          return sessionCookie().write(token as string);
        } catch (thrown) {
          return thrown;
        }
      })();
      expect(String(error)).not.toContain(G);
    },
  );

  test("fits a browser's 4096 bytes of name and value with the longest name", () => {
    const name = "a".repeat(4096 - G.length);
    expect(sessionCookie({ name }).write(G).split(";")[0]).toHaveLength(4097);
    expect(() => sessionCookie({ name: `${name}a` })).toThrow(TypeError);
  });
});

describe("the grammar of RFC 6265bis, section 4.1.1, whatever the platform's Headers let through", () => {
  const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
  const value = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;
  const attribute = /^(Path=[\x20-\x3a\x3c-\x7e]*|Domain=[a-z0-9.-]+|Max-Age=[1-9]\d*|Secure|HttpOnly|SameSite=Lax)$/i;

  test.each(["name", "path", "domain"] as const)("is kept by any %s that is taken", (option) => {
    const taken = new Set<string>();
    for (let code = 0; code < 0x180; code++) {
      const character = String.fromCharCode(code);
      for (const text of [character, `a${character}`, `${character}a`, `a${character}a`]) {
        const given = option === "path" ? `/${text}` : text;
        let cookie: ReturnType<typeof sessionCookie>;
        try {
          cookie = sessionCookie({ [option]: given });
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          continue;
        }
        taken.add(character);
        const [pair = "", ...attributes] = cookie.write(G, 60).split("; ");
        const [name = "", written] = [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)];
        expect([name, written]).toEqual([expect.stringMatching(token), expect.stringMatching(value)]);
        for (const one of attributes) expect(one).toMatch(attribute);
        expect(new Set(attributes.map((one) => one.split("=")[0])).size).toBe(attributes.length);
      }
    }
    const ascii = [...taken].every((character) => character > " " && character < "\x7f" && !";,".includes(character));
    expect([taken.size > 30, ascii]).toEqual([true, true]);
  });
});

describe("setsCookie says what a browser would send back under the name", () => {
  test.each([
    "__Host-sid=x",
    " __Host-sid = x",
    "\t__Host-sid\t=x; Path=/",
    `__Host-sid=${G}; Max-Age=0`,
    "=__Host-sid=x",
    " = __Host-sid =x",
    '__Host-sid=""; Max-Age=0',
    "__Host-sid==",
    "__Host-sid=\u00a0",
    // A cookie without a name, which the browser sends as `__Host-sid=` and which clears nothing.
    "=__Host-sid=",
    " =\t__Host-sid = ; Max-Age=0",
  ])("and does of %j", (line) => {
    expect(setsCookie("__Host-sid", line)).toBe(true);
  });

  test.each([
    "",
    "__Host-sid",
    "__host-sid=x",
    "x__Host-sid=x",
    "__Host-sidx=x",
    "a=__Host-sid=x",
    "a=b, __Host-sid=x",
    "a; __Host-sid=x",
    "==__Host-sid=x",
    "\u00a0__Host-sid=x",
    // These clear the cookie, in whichever scope.
    "__Host-sid=",
    "__Host-sid",
    " __Host-sid = \t; Path=/app; Max-Age=0",
    `__Host-sid=; Domain=app.example; Comment=${G}`,
    sessionCookie().clear(),
  ])("but not of %j", (line) => {
    expect(setsCookie("__Host-sid", line)).toBe(false);
  });
});

describe("the previous scopes of a cookie", () => {
  const gone = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
  const flags = "HttpOnly; Secure; SameSite=Lax";

  test("are none by default", () => {
    expect(sessionCookie().clearPrevious()).toEqual([]);
    expect(sessionCookie({ previous: [] }).clearPrevious()).toEqual([]);
    expect(sessionCookie({ previous: undefined }).clearPrevious()).toEqual([]);
  });

  test.each<[string, CookieOptions, readonly string[]]>([
    [
      "a name",
      { previous: [{ name: "sid" }, { name: "__Secure-old" }] },
      [`sid=; Max-Age=0; Path=/; ${gone}; ${flags}`, `__Secure-old=; Max-Age=0; Path=/; ${gone}; ${flags}`],
    ],
    ["a path", { name: "sid", previous: [{ path: "/app" }] }, [`sid=; Max-Age=0; Path=/app; ${gone}; ${flags}`]],
    [
      "a domain",
      { name: "sid", domain: "app.example", previous: [{ domain: "example.com" }] },
      [`sid=; Max-Age=0; Domain=example.com; Path=/; ${gone}; ${flags}`],
    ],
    [
      "no domain",
      { name: "sid", domain: "app.example", path: "/a", previous: [{ domain: null }] },
      [`sid=; Max-Age=0; Path=/a; ${gone}; ${flags}`],
    ],
    [
      "what is left out from the present options",
      { domain: "app.example", path: "/a", previous: [{ name: "old", domain: undefined, path: undefined }] },
      [`old=; Max-Age=0; Domain=app.example; Path=/a; ${gone}; ${flags}`],
    ],
    [
      "the path and domain that a name with __Host- must have",
      {
        domain: "app.example",
        path: "/a",
        previous: [{ name: "__Host-sid" }, { name: "__HOST-Http-x", domain: null }],
      },
      [`__Host-sid=; Max-Age=0; Path=/; ${gone}; ${flags}`, `__HOST-Http-x=; Max-Age=0; Path=/; ${gone}; ${flags}`],
    ],
    [
      "the present SameSite and Partitioned",
      { sameSite: "none", partitioned: true, previous: [{ name: "sid" }] },
      [`sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; Partitioned; SameSite=None`],
    ],
    [
      "no Secure where the present cookie has none",
      { secure: false, previous: [{ path: "/app" }] },
      [`sid=; Max-Age=0; Path=/app; ${gone}; HttpOnly; SameSite=Lax`],
    ],
  ])("are cleared with %s", (_, options, cleared) => {
    const cookie = sessionCookie(options);
    expect(cookie.clearPrevious()).toEqual(cleared);
    const { previous: __, ...present } = options;
    expect([cookie.name, cookie.clear()]).toEqual([sessionCookie(present).name, sessionCookie(present).clear()]);
  });

  test("are cleared by lines that set no cookie", () => {
    const cookie = sessionCookie({ name: "sid", previous: [{ path: "/app" }, { name: "old" }] });
    for (const line of cookie.clearPrevious()) {
      expect([setsCookie("sid", line), setsCookie("old", line)]).toEqual([false, false]);
    }
  });

  test("are not read", () => {
    expect(sessionCookie({ previous: [{ name: "sid" }] }).read(`sid=${G}`)).toBeNull();
  });
});

test("a handler may clear the session cookie in another scope, and may not set it", async () => {
  const { visit } = await signedIn();
  const clearing = sessionCookie({ name: "__Secure-sid", path: "/app" }).clear().replace("__Secure-", "__Host-");
  const answer = new Response();
  for (const line of ["a=1", clearing, `__Host-sid=${G}`, `=__Host-sid=`]) answer.headers.append("set-cookie", line);
  const { headers } = await visit(
    (session) => session.rotate(),
    () => answer,
  );
  expect(headers.getSetCookie()).toEqual(["a=1", clearing, expect.stringMatching(/^__Host-sid=[^;]{66};/)]);
});

describe("cookieValues", () => {
  test.each<[string | null | undefined, readonly string[]]>([
    [null, []],
    [undefined, []],
    ["", []],
    ["sid", []],
    ["other=1", []],
    ["sid=1", ["1"]],
    ["sid=", [""]],
    ["sid=1; sid=1; sid = 1 ", ["1"]],
    ["sid=1; sid=2", ["1", "2"]],
    ["sid=; sid=2", ["", "2"]],
    ["sid=1; sid=1; sid=2; sid=3", ["1", "2"]],
    [`${"a=b;".repeat(10_000)}sid=1`, []],
  ])("of %j are %j", (header, values) => {
    expect(cookieValues("sid", header)).toEqual(values);
  });
});

describe("read", () => {
  test.each([undefined, null, "", " ", "   ", "\t", ";", ";;;;", "; ; ;", "=", "=;=", "a", 5, {}])(
    "C-01 nothing is in %j",
    (header) => {
      expect(read(header as string)).toBeNull();
    },
  );

  test.each([
    "__Host-sid",
    "__Host-sid=",
    "__Host-sid=;",
    "__Host-sid= ",
    "__Host-sid;x=1",
    "__Host-sid==",
    `__Host-sid;=${G}`,
  ])("C-02 no value is in %j", (header) => {
    expect(read(header)).toBeNull();
  });

  test.each([
    `__Host-sid=${G}`,
    `other=1; __Host-sid=${G}; x=2`,
    `other=1;__Host-sid=${G};x=2`,
    `other=1;\t__Host-sid=${G}\t; x=2`,
    `  __Host-sid=${G}  `,
    `;; __Host-sid=${G};;`,
    `other; __Host-sid=${G}; other`,
    `a=1; ${"b=2; ".repeat(50)}__Host-sid=${G}`,
  ])("C-03 the token is found in %j", (header) => {
    expect(read(header)).toBe(G);
  });

  test.each(["__host-sid", "__HOST-SID", "__Host-Sid", "__Host-SID"])("C-04 the name has its case: not %s", (name) => {
    expect(read(`${name}=${G}`)).toBeNull();
  });

  test.each([
    `__Host-sid=${A}; __Host-sid=${G}`,
    `__Host-sid=${G}; __Host-sid=${A}`,
    `__Host-sid=${G}; __Host-sid=${A}; __Host-sid=${G}`,
    `__Host-sid=${G}; __Host-sid=x`,
    `__Host-sid=x; __Host-sid=${G}`,
    `__Host-sid=; __Host-sid=${G}`,
    `__Host-sid=${G}; __Host-sid=`,
    `__Host-sid=${G}; __Host-sid=${BARE}`,
  ])("C-05 of two different values there is none: %j", (header) => {
    expect(read(header)).toBeNull();
  });

  test("C-05 the same value twice is one", () => {
    expect(read(`__Host-sid=${G}; a=b; __Host-sid=${G};__Host-sid = ${G}`)).toBe(G);
  });

  test.each([`%5F%5FHost-sid=${G}`, `__Host%2Dsid=${G}`, `__Host-sid%3D${G}`])(
    "C-06 a name is not decoded: %j",
    (header) => {
      expect(read(header)).toBeNull();
    },
  );

  test.each(["\u00a0", "\u2003", "\ufeff", "\v", "\f", "\u0085", "\r", "\n", "\0"])(
    "C-07 nothing but space and tab is trimmed: %j",
    (blank) => {
      expect(read(`${blank}__Host-sid=${G}`)).toBeNull();
      expect(read(`__Host-sid${blank}=${G}`)).toBeNull();
      expect(read(`__Host-sid=${blank}${G}`)).toBeNull();
      expect(read(`__Host-sid=${G}${blank}`)).toBeNull();
      expect(read(`${blank}__Host-sid=${A}; __Host-sid=${G}`)).toBe(G);
      expect(read(`__Host-sid=${G}; __Host-sid${blank}=${A}`)).toBe(G);
    },
  );

  test.each([`__Host-sid =${G}`, `__Host-sid= ${G}`, `__Host-sid\t=\t${G}`, ` __Host-sid \t = \t ${G} \t`])(
    "C-08 around the equals sign they are: %j",
    (header) => {
      expect(read(header)).toBe(G);
    },
  );

  test.each([`=__Host-sid=${G}`, `=${G}`, G, `;=__Host-sid=${G}`])(
    "C-09 a cookie without a name is another: %j",
    (header) => {
      expect(read(header)).toBeNull();
    },
  );

  test.each(["__Host.sid", "__Host_sid", "__Host[sid", " _Host-sid", "_Host-sid", "-Host-sid", "__Host-sid "])(
    "C-10 no other spelling is the name: %j",
    (name) => {
      expect(read(`${name}=${G}`)).toBe(name.trim() === "__Host-sid" ? G : null);
    },
  );

  test.each([
    `x__Host-sid=${G}`,
    `__Host-sidx=${G}`,
    `a=b__Host-sid=${G}`,
    `a=__Host-sid=${G}`,
    `a="; x__Host-sid=${G}`,
  ])("C-11 nor is one that holds it: %j", (header) => {
    expect(read(header)).toBeNull();
  });

  test("C-12 names that objects inherit are names like any other", () => {
    const names = ["__proto__", "constructor", "hasOwnProperty", "toString", "prototype"];
    const before = Reflect.ownKeys(Object.prototype);
    expect(read(`${names.map((name) => `${name}=x; `).join("")}__Host-sid=${G}`)).toBe(G);
    expect(Reflect.ownKeys(Object.prototype)).toEqual(before);
    for (const name of names.slice(1)) expect(sessionCookie({ name }).read(`a=${G}`)).toBeNull();
  });

  test.each([`"${G}"`, `"${G}`, `${G}"`, `'${G}'`])("C-13 quotes belong to the value: %j", (value) => {
    expect(read(`__Host-sid=${value}`)).toBeNull();
  });

  test.each([`__Host-sid=${G},`, `__Host-sid=${G}, a=b`, `__Host-sid=${G},__Host-sid=${G}`, `a=b, __Host-sid=${G}`])(
    "C-14 a comma separates nothing: %j",
    (header) => {
      expect(read(header)).toBeNull();
    },
  );

  test.each([`${G}=`, `${G}==`, `${G}=x`, `=${G}`])("C-15 an equals sign belongs to the value: %j", (value) => {
    expect(read(`__Host-sid=${value}`)).toBeNull();
  });

  test.each([
    G.replace("A", "%41"),
    encodeURIComponent(`${G}=`),
    G.replace("-", "+"),
    G.replace("_", "/"),
    G.replace(".", "%2E"),
  ])("C-16 a value is not decoded: %j", (value) => {
    expect(read(`__Host-sid=${value}`)).toBeNull();
  });

  test("C-17 a control character is in no token", () => {
    for (const code of [...Array.from({ length: 0x20 }, (_, at) => at), 0x7f]) {
      const character = String.fromCharCode(code);
      expect(read(`__Host-sid=${G.slice(0, 30)}${character}${G.slice(30)}`)).toBeNull();
      expect(read(`__Host-sid=${G.slice(0, 30)}${character}${G.slice(31)}`)).toBeNull();
    }
  });

  test.each(["é", "Ã©", "\xff", "\x80", "а", "😀", "\ud800"])(
    "C-18 nor is a character beyond ASCII: %j",
    (character) => {
      expect(read(`__Host-sid=${G.slice(0, -1)}${character}`)).toBeNull();
      expect(read(`__Host-sid=${G}${character}`)).toBeNull();
      expect(read(`x=${character}; __Host-sid=${G}`)).toBe(G);
    },
  );

  describe("C-19 a long header", () => {
    const most = 32_768;
    const found = `;__Host-sid=${G}`;

    test.each(["a=b; ", '"', "=;", ";", '\\"', " ", "\t;", "=", "a", "__Host-sid", `__Host-sid=${G};`])(
      "of %j is read up to 32 KB and no further",
      (piece) => {
        const filler = piece.repeat(most).slice(0, most - found.length);
        const whole = piece.startsWith("__Host-sid=") ? filler.slice(0, filler.lastIndexOf(";")) : filler;
        expect(read(whole + found)).toBe(G);
        expect(read(`${filler.padEnd(most - found.length, " ")}${found} `)).toBeNull();
        expect(read(piece.repeat(1_000_000 / piece.length) + found)).toBeNull();
      },
    );

    // In linear time: test/http/cookie-fuzz.test.ts.
  });

  test("C-20 two header lines are found, as platforms join them", () => {
    for (const lines of [
      ["a=b", `__Host-sid=${G}`],
      [`__Host-sid=${G}`, "a=b"],
    ]) {
      expect(read(lines.join("; "))).toBe(G);
    }
  });

  test.each([
    "s:AbCdEfGhIjKlMnOpQrStUv.0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
    "s%3AAbCdEfGhIjKlMnOpQrStUv.0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "eyJ1c2VySWQiOiI0MiJ9",
    "c56a4180-65aa-42ec-a945-5fd21dec0538",
    "0".repeat(64),
    "0".repeat(32),
  ])("C-21 another program's value is none: %s", (value) => {
    expect(read(`__Host-sid=${value}`)).toBeNull();
    expect(read(`sid=${G}`)).toBeNull();
  });

  test("C-22 the attributes of RFC 2965 are cookies of other names", () => {
    expect(read(`$Version=1; __Host-sid=${G}; $Path=/; $Domain=app.example`)).toBe(G);
  });

  // C-23, a token that is anywhere but in the Cookie header, and C-24, a request that is hostile:
  // test/http/http-edge.test.ts.

  test("a token without a secret is found, for stores of bare ids", () => {
    expect(read(`__Host-sid=${BARE}`)).toBe(BARE);
  });

  test("a name with characters that mean something in patterns is taken as it is", () => {
    const cookie = sessionCookie({ name: "a.b*c+^$|" });
    expect(cookie.read(`axb*c+^$|=${A}; a.b*c+^$|=${G}`)).toBe(G);
  });
});
