import { describe, expect, test } from "vitest";
import { cookieValues, setsCookie } from "../../src/http/cookie-header.ts";
import { type CookieOptions, sessionCookie } from "../../src/index.ts";
import { signedIn } from "../support/sites.ts";

const G = `${"AbCdEfGhIjKlMnOpQrStUv"}.${"0123456789-_abcdefghijklmnopqrstuvwxyzABCDE"}`;
const A = G.replace("A", "B");
const BARE = G.slice(23);

const { read } = sessionCookie();

describe("sessionCookie: write and clear", () => {
  const pair = `__Host-Http-sid=${G}`;
  const gone = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
  test.each<[CookieOptions, string, string]>([
    [
      {},
      `${pair}; Path=/; HttpOnly; Secure; SameSite=Lax`,
      `__Host-Http-sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`,
    ],
    [
      { secure: false },
      `sid=${G}; Path=/; HttpOnly; SameSite=Lax`,
      `sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; SameSite=Lax`,
    ],
    [
      { domain: "app.example" },
      `__Http-sid=${G}; Domain=app.example; Path=/; HttpOnly; Secure; SameSite=Lax`,
      `__Http-sid=; Max-Age=0; Domain=app.example; Path=/; ${gone}; HttpOnly; Secure; SameSite=Lax`,
    ],
    [
      { path: "/app" },
      `__Http-sid=${G}; Path=/app; HttpOnly; Secure; SameSite=Lax`,
      `__Http-sid=; Max-Age=0; Path=/app; ${gone}; HttpOnly; Secure; SameSite=Lax`,
    ],
    [
      { sameSite: "none", partitioned: true },
      `${pair}; Path=/; HttpOnly; Secure; Partitioned; SameSite=None`,
      `__Host-Http-sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; Partitioned; SameSite=None`,
    ],
    [
      { name: "__Host-Http-id", sameSite: "strict" },
      `__Host-Http-id=${G}; Path=/; HttpOnly; Secure; SameSite=Strict`,
      `__Host-Http-id=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; SameSite=Strict`,
    ],
  ])("write and clear follow the options %j", (options, written, cleared) => {
    const cookie = sessionCookie(options);
    expect(cookie.write(G)).toBe(written);
    expect(cookie.write(G, 3600)).toBe(written.replace("; ", "; Max-Age=3600; "));
    expect(cookie.clear()).toBe(cleared);
    expect(written.startsWith(`${cookie.name}=`)).toBe(true);
    expect(cookie.read(written.split(";")[0])).toBe(G);
  });

  test.each<[CookieOptions, object]>([
    [{}, { httpOnly: true, secure: true, sameSite: "lax", path: "/" }],
    [
      { secure: false, sameSite: "strict" },
      { httpOnly: true, secure: false, sameSite: "strict", path: "/" },
    ],
    [
      { domain: "app.example", path: "/app", sameSite: "none", partitioned: true },
      { httpOnly: true, secure: true, sameSite: "none", path: "/app", domain: "app.example", partitioned: true },
    ],
  ])("attributes of a cookie with the options %j are an object for cookie jars", (options, expected) => {
    const { attributes } = sessionCookie(options);
    expect(attributes).toStrictEqual(expected);
    expect(Object.isFrozen(attributes)).toBe(true);
  });

  test("write accepts a plain session ID as the token", () => {
    expect(sessionCookie().write(BARE)).toBe(`__Host-Http-sid=${BARE}; Path=/; HttpOnly; Secure; SameSite=Lax`);
  });

  test.each([1, 34_560_000])("write accepts a Max-Age of %d seconds", (maxAge) => {
    expect(sessionCookie().write(G, `${maxAge}s`)).toContain(`; Max-Age=${maxAge};`);
  });

  test.each([0, -1, 1.5, 34_560_001, Number.NaN, Number.POSITIVE_INFINITY])(
    "write rejects a Max-Age of %d with a RangeError",
    (maxAge) => {
      expect(() => sessionCookie().write(G, maxAge)).toThrow(RangeError);
    },
  );

  test("write rejects a Max-Age that is a string without a unit", () => {
    expect(() => sessionCookie().write(G, "3600" as never)).toThrow(RangeError);
  });

  test.each(["", "x", `${G}; Domain=evil.example`, `${G}\r\nSet-Cookie: a=b`, null, undefined])(
    "write rejects the malformed token %j, and the error does not show it",
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

  test("a name that would make name and value exceed 4096 bytes is rejected", () => {
    const name = "a".repeat(4096 - G.length);
    expect(sessionCookie({ name }).write(G).split(";")[0]).toHaveLength(4097);
    expect(() => sessionCookie({ name: `${name}a` })).toThrow(TypeError);
  });
});

describe("the Set-Cookie grammar of RFC 6265bis, section 4.1.1", () => {
  const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
  const value = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;
  const attribute = /^(Path=[\x20-\x3a\x3c-\x7e]*|Domain=[a-z0-9.-]+|Max-Age=[1-9]\d*|Secure|HttpOnly|SameSite=Lax)$/i;

  test.each(["name", "path", "domain"] as const)(
    "every %s that is accepted produces a Set-Cookie line that follows the grammar",
    (option) => {
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
    },
  );
});

describe("setsCookie", () => {
  test.each([
    "__Host-Http-sid=x",
    " __Host-Http-sid = x",
    "\t__Host-Http-sid\t=x; Path=/",
    `__Host-Http-sid=${G}; Max-Age=0`,
    "=__Host-Http-sid=x",
    " = __Host-Http-sid =x",
    '__Host-Http-sid=""; Max-Age=0',
    "__Host-Http-sid==",
    "__Host-Http-sid=\u00a0",
    // A cookie without a name, which the browser sends as `__Host-Http-sid=` and which clears nothing.
    "=__Host-Http-sid=",
    " =\t__Host-Http-sid = ; Max-Age=0",
  ])("setsCookie returns true for %j, as a browser would send the cookie back", (line) => {
    expect(setsCookie("__Host-Http-sid", line)).toBe(true);
  });

  test.each([
    "",
    "__Host-Http-sid",
    "__host-sid=x",
    "x__Host-Http-sid=x",
    "__Host-Http-sidx=x",
    "a=__Host-Http-sid=x",
    "a=b, __Host-Http-sid=x",
    "a; __Host-Http-sid=x",
    "==__Host-Http-sid=x",
    "\u00a0__Host-Http-sid=x",
    // These clear the cookie in one scope or another.
    "__Host-Http-sid=",
    "__Host-Http-sid",
    " __Host-Http-sid = \t; Path=/app; Max-Age=0",
    `__Host-Http-sid=; Domain=app.example; Comment=${G}`,
    sessionCookie().clear(),
  ])("setsCookie returns false for %j, as a browser would not send the cookie back", (line) => {
    expect(setsCookie("__Host-Http-sid", line)).toBe(false);
  });
});

describe("the option previous of sessionCookie", () => {
  const gone = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
  const flags = "HttpOnly; Secure; SameSite=Lax";

  test("clearPrevious returns no lines by default", () => {
    expect(sessionCookie().clearPrevious()).toEqual([]);
    expect(sessionCookie({ previous: [] }).clearPrevious()).toEqual([]);
    expect(sessionCookie({ previous: undefined }).clearPrevious()).toEqual([]);
  });

  test.each<[string, CookieOptions, readonly string[]]>([
    [
      "another name",
      { previous: [{ name: "sid" }, { name: "__Secure-old" }] },
      [`sid=; Max-Age=0; Path=/; ${gone}; ${flags}`, `__Secure-old=; Max-Age=0; Path=/; ${gone}; ${flags}`],
    ],
    ["another path", { name: "sid", previous: [{ path: "/app" }] }, [`sid=; Max-Age=0; Path=/app; ${gone}; ${flags}`]],
    [
      "another domain",
      { name: "sid", domain: "app.example", previous: [{ domain: "example.com" }] },
      [`sid=; Max-Age=0; Domain=example.com; Path=/; ${gone}; ${flags}`],
    ],
    [
      "no domain",
      { name: "sid", domain: "app.example", path: "/a", previous: [{ domain: null }] },
      [`sid=; Max-Age=0; Path=/a; ${gone}; ${flags}`],
    ],
    [
      "the current domain and path if previous omits them",
      { domain: "app.example", path: "/a", previous: [{ name: "old", domain: undefined, path: undefined }] },
      [`old=; Max-Age=0; Domain=app.example; Path=/a; ${gone}; ${flags}`],
    ],
    [
      "a __Host- name with Path=/ and no Domain",
      {
        domain: "app.example",
        path: "/a",
        previous: [{ name: "__Host-sid" }, { name: "__HOST-Http-x", domain: null }],
      },
      [`__Host-sid=; Max-Age=0; Path=/; ${gone}; ${flags}`, `__HOST-Http-x=; Max-Age=0; Path=/; ${gone}; ${flags}`],
    ],
    [
      "the current SameSite and Partitioned",
      { sameSite: "none", partitioned: true, previous: [{ name: "sid" }] },
      [`sid=; Max-Age=0; Path=/; ${gone}; HttpOnly; Secure; Partitioned; SameSite=None`],
    ],
    [
      "no Secure if the current cookie has none",
      { secure: false, previous: [{ path: "/app" }] },
      [`sid=; Max-Age=0; Path=/app; ${gone}; HttpOnly; SameSite=Lax`],
    ],
  ])("clearPrevious clears a cookie with %s", (_, options, cleared) => {
    const cookie = sessionCookie(options);
    expect(cookie.clearPrevious()).toEqual(cleared);
    const { previous: __, ...present } = options;
    expect([cookie.name, cookie.clear()]).toEqual([sessionCookie(present).name, sessionCookie(present).clear()]);
  });

  test("setsCookie returns false for the lines of clearPrevious", () => {
    const cookie = sessionCookie({ name: "sid", previous: [{ path: "/app" }, { name: "old" }] });
    for (const line of cookie.clearPrevious()) {
      expect([setsCookie("sid", line), setsCookie("old", line)]).toEqual([false, false]);
    }
  });

  test("read ignores a cookie that has a previous name", () => {
    expect(sessionCookie({ previous: [{ name: "sid" }] }).read(`sid=${G}`)).toBeNull();
  });
});

test("a handler can clear the session cookie in another scope but cannot set it", async () => {
  const { visit } = await signedIn();
  const clearing = sessionCookie({ name: "__Http-sid", path: "/app" }).clear().replace("__Http-", "__Host-Http-");
  const answer = new Response();
  for (const line of ["a=1", clearing, `__Host-Http-sid=${G}`, `=__Host-Http-sid=`])
    answer.headers.append("set-cookie", line);
  const { headers } = await visit(
    (session) => session.rotate(),
    () => answer,
  );
  expect(headers.getSetCookie()).toEqual(["a=1", clearing, expect.stringMatching(/^__Host-Http-sid=[^;]{66};/)]);
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
  ])("the Cookie header %j has the values %j for the name sid", (header, values) => {
    expect(cookieValues("sid", header)).toEqual(values);
  });

  test("a Cookie header longer than 32 KB has no values", () => {
    expect(cookieValues("sid", `${"a=b;".repeat(10_000)}sid=1`)).toEqual([]);
  });
});

describe("sessionCookie: read", () => {
  test.each([undefined, null, "", " ", "   ", "\t", ";", ";;;;", "; ; ;", "=", "=;=", "a", 5, {}])(
    "C-01 read returns null for the Cookie header %j, which has no session cookie",
    (header) => {
      expect(read(header as string)).toBeNull();
    },
  );

  test.each([
    "__Host-Http-sid",
    "__Host-Http-sid=",
    "__Host-Http-sid=;",
    "__Host-Http-sid= ",
    "__Host-Http-sid;x=1",
    "__Host-Http-sid==",
    `__Host-Http-sid;=${G}`,
  ])("C-02 read returns null for the Cookie header %j, where the session cookie has no value", (header) => {
    expect(read(header)).toBeNull();
  });

  test.each([
    `__Host-Http-sid=${G}`,
    `other=1; __Host-Http-sid=${G}; x=2`,
    `other=1;__Host-Http-sid=${G};x=2`,
    `other=1;\t__Host-Http-sid=${G}\t; x=2`,
    `  __Host-Http-sid=${G}  `,
    `;; __Host-Http-sid=${G};;`,
    `other; __Host-Http-sid=${G}; other`,
    `a=1; ${"b=2; ".repeat(50)}__Host-Http-sid=${G}`,
  ])("C-03 read finds the token in %j", (header) => {
    expect(read(header)).toBe(G);
  });

  test.each(["__host-sid", "__HOST-SID", "__Host-Sid", "__Host-SID"])(
    "C-04 the cookie name is case-sensitive, so %s is ignored",
    (name) => {
      expect(read(`${name}=${G}`)).toBeNull();
    },
  );

  test.each([
    `__Host-Http-sid=${A}; __Host-Http-sid=${G}`,
    `__Host-Http-sid=${G}; __Host-Http-sid=${A}`,
    `__Host-Http-sid=${G}; __Host-Http-sid=${A}; __Host-Http-sid=${G}`,
    `__Host-Http-sid=${G}; __Host-Http-sid=x`,
    `__Host-Http-sid=x; __Host-Http-sid=${G}`,
    `__Host-Http-sid=; __Host-Http-sid=${G}`,
    `__Host-Http-sid=${G}; __Host-Http-sid=`,
    `__Host-Http-sid=${G}; __Host-Http-sid=${BARE}`,
  ])("C-05 read returns null if the cookie occurs with two different values: %j", (header) => {
    expect(read(header)).toBeNull();
  });

  test("C-05 read returns the token if the cookie occurs twice with the same value", () => {
    expect(read(`__Host-Http-sid=${G}; a=b; __Host-Http-sid=${G};__Host-Http-sid = ${G}`)).toBe(G);
  });

  test.each([`%5F%5FHost-Http-sid=${G}`, `__Host%2DHttp-sid=${G}`, `__Host-Http-sid%3D${G}`])(
    "C-06 a cookie name is not percent-decoded: %j",
    (header) => {
      expect(read(header)).toBeNull();
    },
  );

  test.each(["\u00a0", "\u2003", "\ufeff", "\v", "\f", "\u0085", "\r", "\n", "\0"])(
    "C-07 only space and tab are trimmed around names and values, not %j",
    (blank) => {
      expect(read(`${blank}__Host-Http-sid=${G}`)).toBeNull();
      expect(read(`__Host-Http-sid${blank}=${G}`)).toBeNull();
      expect(read(`__Host-Http-sid=${blank}${G}`)).toBeNull();
      expect(read(`__Host-Http-sid=${G}${blank}`)).toBeNull();
      expect(read(`${blank}__Host-Http-sid=${A}; __Host-Http-sid=${G}`)).toBe(G);
      expect(read(`__Host-Http-sid=${G}; __Host-Http-sid${blank}=${A}`)).toBe(G);
    },
  );

  test.each([
    `__Host-Http-sid =${G}`,
    `__Host-Http-sid= ${G}`,
    `__Host-Http-sid\t=\t${G}`,
    ` __Host-Http-sid \t = \t ${G} \t`,
  ])("C-08 space and tab are trimmed around the equals sign: %j", (header) => {
    expect(read(header)).toBe(G);
  });

  test.each([`=__Host-Http-sid=${G}`, `=${G}`, G, `;=__Host-Http-sid=${G}`])(
    "C-09 a cookie without a name is ignored: %j",
    (header) => {
      expect(read(header)).toBeNull();
    },
  );

  test.each([
    "__Host.Http-sid",
    "__Host_Http-sid",
    "__Host[Http-sid",
    " _Host-Http-sid",
    "_Host-Http-sid",
    "-Host-Http-sid",
    "__Host-Http-sid ",
  ])("C-10 only the exact cookie name matches, apart from surrounding spaces: %j", (name) => {
    expect(read(`${name}=${G}`)).toBe(name.trim() === "__Host-Http-sid" ? G : null);
  });

  test.each([
    `x__Host-Http-sid=${G}`,
    `__Host-Http-sidx=${G}`,
    `a=b__Host-Http-sid=${G}`,
    `a=__Host-Http-sid=${G}`,
    `a="; x__Host-Http-sid=${G}`,
  ])("C-11 a cookie whose name only contains the session cookie's name is ignored: %j", (header) => {
    expect(read(header)).toBeNull();
  });

  test("C-12 cookies named like properties of Object.prototype are handled like any other cookie", () => {
    const names = ["__proto__", "constructor", "hasOwnProperty", "toString", "prototype"];
    const before = Reflect.ownKeys(Object.prototype);
    expect(read(`${names.map((name) => `${name}=x; `).join("")}__Host-Http-sid=${G}`)).toBe(G);
    expect(Reflect.ownKeys(Object.prototype)).toEqual(before);
    for (const name of names.slice(1)) expect(sessionCookie({ name }).read(`a=${G}`)).toBeNull();
  });

  test.each([`"${G}"`, `"${G}`, `${G}"`, `'${G}'`])(
    "C-13 quotes are part of the value, so %j is not a token",
    (value) => {
      expect(read(`__Host-Http-sid=${value}`)).toBeNull();
    },
  );

  test.each([
    `__Host-Http-sid=${G},`,
    `__Host-Http-sid=${G}, a=b`,
    `__Host-Http-sid=${G},__Host-Http-sid=${G}`,
    `a=b, __Host-Http-sid=${G}`,
  ])("C-14 a comma does not separate cookies: %j", (header) => {
    expect(read(header)).toBeNull();
  });

  test.each([`${G}=`, `${G}==`, `${G}=x`, `=${G}`])(
    "C-15 an equals sign is part of the value, so %j is not a token",
    (value) => {
      expect(read(`__Host-Http-sid=${value}`)).toBeNull();
    },
  );

  test.each([
    G.replace("A", "%41"),
    encodeURIComponent(`${G}=`),
    G.replace("-", "+"),
    G.replace("_", "/"),
    G.replace(".", "%2E"),
  ])("C-16 a value is not decoded, so %j is not a token", (value) => {
    expect(read(`__Host-Http-sid=${value}`)).toBeNull();
  });

  test("C-17 a value with a control character is not a token", () => {
    for (const code of [...Array.from({ length: 0x20 }, (_, at) => at), 0x7f]) {
      const character = String.fromCharCode(code);
      expect(read(`__Host-Http-sid=${G.slice(0, 30)}${character}${G.slice(30)}`)).toBeNull();
      expect(read(`__Host-Http-sid=${G.slice(0, 30)}${character}${G.slice(31)}`)).toBeNull();
    }
  });

  test.each(["é", "Ã©", "\xff", "\x80", "а", "😀", "\ud800"])(
    "C-18 a value with the non-ASCII character %j is not a token",
    (character) => {
      expect(read(`__Host-Http-sid=${G.slice(0, -1)}${character}`)).toBeNull();
      expect(read(`__Host-Http-sid=${G}${character}`)).toBeNull();
      expect(read(`x=${character}; __Host-Http-sid=${G}`)).toBe(G);
    },
  );

  describe("C-19 long headers", () => {
    const most = 32_768;
    const found = `;__Host-Http-sid=${G}`;

    test.each(["a=b; ", '"', "=;", ";", '\\"', " ", "\t;", "=", "a", "__Host-Http-sid", `__Host-Http-sid=${G};`])(
      "a Cookie header made of %j is read up to 32 KB and ignored if it is longer",
      (piece) => {
        const filler = piece.repeat(most).slice(0, most - found.length);
        const whole = piece.startsWith("__Host-Http-sid=") ? filler.slice(0, filler.lastIndexOf(";")) : filler;
        expect(read(whole + found)).toBe(G);
        expect(read(`${filler.padEnd(most - found.length, " ")}${found} `)).toBeNull();
        expect(read(piece.repeat(1_000_000 / piece.length) + found)).toBeNull();
      },
    );

    // test/http/cookie-fuzz.test.ts shows that this takes linear time.
  });

  test("C-20 read finds the token in two Cookie header lines joined with a semicolon", () => {
    for (const lines of [
      ["a=b", `__Host-Http-sid=${G}`],
      [`__Host-Http-sid=${G}`, "a=b"],
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
  ])("C-21 a session cookie of another library is not a token: %s", (value) => {
    expect(read(`__Host-Http-sid=${value}`)).toBeNull();
    expect(read(`sid=${G}`)).toBeNull();
  });

  test("C-22 the attributes of RFC 2965 are read as cookies with other names", () => {
    expect(read(`$Version=1; __Host-Http-sid=${G}; $Path=/; $Domain=app.example`)).toBe(G);
  });

  // C-23 (a token outside the Cookie header) and C-24 (a hostile request) are in test/http/http-edge.test.ts.

  test("read finds a plain session ID, for stores with plainIds", () => {
    expect(read(`__Host-Http-sid=${BARE}`)).toBe(BARE);
  });

  test("a cookie name with regular expression characters is matched literally", () => {
    const cookie = sessionCookie({ name: "a.b*c+^$|" });
    expect(cookie.read(`axb*c+^$|=${A}; a.b*c+^$|=${G}`)).toBe(G);
  });
});
