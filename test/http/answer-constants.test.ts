import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Application, headerOf, sessionLines, startApplication } from "../support/answer-app.ts";
import { answerServers, type ResponseClass } from "../support/answer-servers.ts";
import { tokenOf } from "../support/http.ts";

const LOGINS = 20;

type Constants = Readonly<Record<string, () => Response>>;

/** Answers that a handler makes once and returns to everybody. */
function constants(Response: ResponseClass): Constants {
  const done = new Response(null, { status: 204 });
  const moved = new Response(null, { status: 303, headers: { location: "/" } });
  const empty = new Response();
  const headers = new Headers({ "x-shared": "1" });
  const init = { headers: { "x-shared": "1" } };
  return {
    "a constant 204": () => done,
    "a constant redirect": () => moved,
    "a constant 200": () => empty,
    "a new answer with constant headers": () => new Response("shared", { headers }),
    "a new empty answer with constant headers": () => new Response(null, { headers }),
    "a new answer with a constant init": () => new Response("shared", init),
  };
}

/** With a body, which only these servers can send more than once. */
function constantTexts(Response: ResponseClass): Constants {
  const text = new Response("for everybody");
  const page = new Response("<p>", { headers: { "content-type": "text/html" } });
  const changing = new Response("changed");
  let changes = 0;
  return {
    "a constant text": () => text,
    "a constant page": () => page,
    "a changed text": () => {
      changing.headers.set("x-before", String(changes++));
      changing.headers.set("x-changed", String(changes));
      return changing;
    },
    "an empty text of status 204": () => new Response("", { status: 204 }),
  };
}

describe.each(answerServers.map((server) => [server.name, server] as const))("behind %s", (name, server) => {
  let app: Application;
  beforeAll(async () => {
    app = await startApplication(server, ({ Response }) => ({ ...constants(Response), ...constantTexts(Response) }));
  });
  afterAll(() => app.close());

  const texts = /hono/.test(name) ? ["a constant text", "a constant page"] : [];
  const names = [...Object.keys(constants(Response)), ...texts];

  test.each(names)("%s gives each of 20 users their own cookie and nobody another user's", async (constant) => {
    const users = Array.from({ length: LOGINS }, (_, user) => `user ${user}`);
    await Promise.all(
      users.map(async (user) => {
        const [login, ...others] = await Promise.all([
          app.request("created", constant, "GET", { "x-user": user }),
          app.request("read", constant),
          app.request("unused", constant),
        ]);
        const lines = sessionLines(login);
        expect(lines).toHaveLength(1);
        expect((await app.store.peek(tokenOf(lines[0])))?.data.userId).toBe(user);
        for (const other of others) expect(headerOf(other, "set-cookie")).toBeNull();
      }),
    );
    const bare = await app.request("bare", constant).catch(() => null);
    expect(bare && headerOf(bare, "set-cookie")).toBeNull();
  });

  test.runIf(/hono/.test(name))("a constant text is sent with the headers that the handler has changed", async () => {
    for (const value of ["1", "2"]) {
      const answer = await app.request("created", "a changed text", "GET", { "x-user": `user ${value}` });
      expect(headerOf(answer, "x-changed")).toBe(String(Number(headerOf(answer, "x-before")) + 1));
    }
  });

  test.runIf(/hono/.test(name))(
    "an empty text with status 204 gets the session cookie if the server accepts such a response",
    async () => {
      const answer = await app.request("created", "an empty text of status 204", "GET", { "x-user": "ann" });
      expect(answer.status).toBe("HTTP/1.1 204 No Content");
      expect(sessionLines(answer)).toHaveLength(1);
    },
  );

  test.each([
    "a text",
    "a live stream",
    "null with 204",
    "JSON by Response.json",
    "Response.redirect",
    "a fetched answer",
    "a new answer with constant headers",
    "a text whose headers are changed later",
    "several cookies",
  ])("%s keeps its cookie and caching headers if an outer middleware makes a new Response from it", async (kind) => {
    const login = await app.requestOuter("created", kind);
    expect(sessionLines(login)).toHaveLength(1);
    expect(headerOf(login, "cache-control")).toBe("no-store");
    const read = await app.requestOuter("read", kind);
    expect([headerOf(read, "cache-control"), headerOf(read, "vary")]).toEqual(["private", "Cookie"]);
    expect([login.status, login.body]).toEqual([read.status, read.body]);
  });
});
