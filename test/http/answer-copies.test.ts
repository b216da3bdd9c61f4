import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withHeaders } from "../../src/http/answer.ts";
import { type Application, headerOf, sessionLines, startApplication } from "../support/answer-app.ts";
import { answerServers } from "../support/answer-servers.ts";
import { onNode } from "../support/runtime.ts";
import { startOddUpstream, UPSTREAM_TEXT } from "../support/upstream.ts";

const CACHING = [["Vary", "Cookie"]] as const;
const COOKIE = [["Set-Cookie", "a=1"]] as const;
const onBun = "Bun" in globalThis;

let odd: Awaited<ReturnType<typeof startOddUpstream>>;
beforeAll(async () => {
  odd = await startOddUpstream("999 Odd");
});
afterAll(() => odd.close());

describe.each(answerServers.map((server) => [server.name, server] as const))("behind %s", (_, server) => {
  let app: Application;
  beforeAll(async () => {
    app = await startApplication(server);
  });
  afterAll(() => app.close());

  // Bun's answers do not say whether fetch decoded them: they are sent on as without a session.
  describe.skipIf(onBun).each(["gzip", "br"])("a fetched response with the encoding %s", (coding) => {
    test.each(["read", "created"] as const)(
      "the client can read a fetched, encoded response if the session is %s",
      async (use) => {
        const answer = await app.request(use, `a fetched answer with ${coding}`);
        expect([answer.status, answer.body]).toEqual(["HTTP/1.1 200 OK", UPSTREAM_TEXT]);
        expect(headerOf(answer, "content-encoding")).toBeNull();
        expect(headerOf(answer, "x-upstream")).toBe("1");
        expect(sessionLines(answer)).toHaveLength(use === "created" ? 1 : 0);
      },
    );
  });

  test.runIf(onBun)("a slice of a file is sent with the right bytes after headers were added", async () => {
    for (const use of ["read", "created"] as const) {
      const answer = await app.request(use, "a slice of a Bun.file");
      expect([answer.status, answer.body]).toEqual(["HTTP/1.1 200 OK", "01234"]);
    }
  });
});

describe("withHeaders", () => {
  test("withHeaders returns the same object if there is nothing to add", () => {
    const answer = new Response("text");
    expect(withHeaders(answer, [])).toBe(answer);
  });

  test.each([
    ["caching headers", CACHING],
    ["a cookie", COOKIE],
  ])("adding %s does not change the handler's Response or its headers", async (_, changes) => {
    class Page extends Response {}
    for (const Class of [Response, Page]) {
      const headers = new Headers({ "content-type": "text/plain" });
      const answer = new Class("text", { headers });
      const copy = await withHeaders(answer, changes);
      expect(copy).not.toBe(answer);
      expect([...answer.headers]).toEqual([["content-type", "text/plain"]]);
      expect([...headers]).toEqual([["content-type", "text/plain"]]);
      expect(await copy.text()).toBe("text");
    }
  });

  const wrappers = answerServers.filter((server) => server.Response !== Response);

  test.each(wrappers.map((server) => [server.name, server] as const))(
    "a Response of %s is changed in place for caching headers and copied for a cookie",
    async (_, server) => {
      const answer = new server.Response("text", { headers: { "x-a": "1" } });
      expect(withHeaders(answer, CACHING)).toBe(answer);
      const copy = await withHeaders(answer, COOKIE);
      expect(copy.headers.getSetCookie()).toEqual(["a=1"]);
      expect(answer.headers.getSetCookie()).toEqual([]);
    },
  );

  test("a header without values is removed, and each value becomes a line", async () => {
    const answer = new Response(null, { headers: { "x-a": "1", "set-cookie": "old=1" } });
    const copy = await withHeaders(answer, [["X-A"], ["Set-Cookie", "a=1", "b=2"]]);
    expect(copy.headers.get("x-a")).toBeNull();
    expect(copy.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  });

  test("a network error without a cookie is returned unchanged, as no cache stores it", () => {
    const answer = Response.error();
    expect(withHeaders(answer, CACHING)).toBe(answer);
  });

  test("adding a cookie to a network error throws a TypeError that names the reason", () => {
    expect(() => withHeaders(Response.error(), COOKIE)).toThrow(
      new TypeError("Cannot add headers to a response as it is a network error"),
    );
  });

  test.runIf(onNode)(
    "the copy of a fetched response lacks the characters of its status text that no constructor accepts",
    async () => {
      const upstream = await startOddUpstream("200 Gr\u00fcn");
      const copy = await withHeaders(await fetch(upstream.url), COOKIE);
      expect([copy.status, copy.statusText, await copy.text()]).toEqual([200, "Grn", "hi"]);
      await upstream.close();
    },
  );

  test("adding a cookie to a response whose body was used throws a TypeError that names the reason", async () => {
    const answer = new Response("text");
    await answer.text();
    expect(() => withHeaders(answer, COOKIE)).toThrow(
      new TypeError("Cannot add headers to a response as its body was used before: create a response for each request"),
    );
  });

  describe.each([
    ["caching headers", CACHING],
    ["a cookie", COOKIE],
  ])("%s on a fetched response with status 999", (_, changes) => {
    test.runIf(onBun)("headers are added to a response with status 999", async () => {
      const copy = await withHeaders(await fetch(odd.url), changes);
      expect([copy.status, copy.headers.get(changes[0][0]), await copy.text()]).toEqual([999, changes[0][1], "hi"]);
    });

    test.skipIf(onBun)("headers are added to a response with status 999, whose status becomes 502", async () => {
      const copy = await withHeaders(await fetch(odd.url), changes);
      expect([copy.status, copy.headers.get(changes[0][0]), await copy.text()]).toEqual([502, changes[0][1], "hi"]);
    });
  });
});
