import { describe, expect, test } from "vitest";
import type { SessionHttpOptions } from "../../src/index.ts";
import { cookieJar, request, tokenOf } from "../support/http.ts";
import { type Handler, setCookies, signedIn } from "../support/sites.ts";
import type { Visit } from "../support/visits.ts";

/** What a request does: a login as another user, a rotation, a logout, or a call that sets no cookie. */
const acts = {
  login: (session) => session.create({ userId: "43" }),
  rotate: (session) => session.rotate(),
  logout: (session) => session.destroy(),
  read: (session) => session.get(),
  look: (session) => session.peek(),
  write: (session) => session.update({ theme: "dark" }),
  count: (session) => session.increment("pageViews"),
} satisfies Readonly<Record<string, Handler>>;
type Act = keyof typeof acts;

const lasting: readonly (readonly [string, SessionHttpOptions<Visit>])[] = [
  ["that ends when the browser closes", {}],
  ["that is persistent", { persistent: true }],
];

/** All n! orders of the items. */
function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((first, at) => permutations(items.toSpliced(at, 1)).map((rest) => [first, ...rest]));
}

describe.each(lasting)(
  "R-13 requests sent at the same time with a cookie %s, answered in every order",
  { timeout: 60_000 },
  (_, options) => {
    /** Handles the requests in this order, all with the same cookie. Returns the jar after every order of responses. */
    async function jarsAfter(order: readonly Act[]) {
      const place = await signedIn(options);
      const responses: Response[] = [];
      for (const act of order) {
        responses.push(
          await place.handle(request(place.cookie), async (session) => {
            await acts[act](session);
            return new Response();
          }),
        );
      }
      const jars = permutations(responses).map((answers) => {
        const jar = cookieJar("__Host-Http-sid", place.cookie);
        for (const answer of answers) jar.receive(answer);
        return jar.cookie;
      });
      return { ...place, jars, responses };
    }

    test.each<[Act, readonly Act[]]>(
      [1, 2, 3, 4, 5].flatMap((n) =>
        (["login", "rotate", "logout"] as const).map((act): [Act, readonly Act[]] => [
          act,
          (["read", "write", "count", "look"] as const).slice(0, n - 1),
        ]),
      ),
    )(
      "after %s with concurrent %j, no late response restores the old cookie, and the old token is invalid",
      async (act, beside) => {
        for (const order of permutations<Act>([act, ...beside])) {
          const { jars, store, cookie, token } = await jarsAfter(order);
          expect(new Set(jars).size).toBe(1);
          const [jar = null] = jars;
          if (act === "logout") expect(jar).toBeNull();
          else {
            expect(jar).not.toBe(cookie);
            expect((await store.peek(tokenOf(jar)))?.data.userId).toBe(act === "login" ? "43" : "42");
          }
          expect(await store.peek(token)).toBeNull();
        }
      },
    );

    test.each<[Act, Act, readonly Act[]]>([
      ["rotate", "rotate", ["read", "write", "count"]],
      ["logout", "logout", ["read", "write", "count"]],
      ["rotate", "logout", ["read", "write", "count"]],
    ])(
      "of concurrent %s and %s with %j, only the request that is handled first changes the cookie",
      async (one, two, beside) => {
        for (const order of permutations<Act>([one, two, ...beside])) {
          const { jars, store, responses } = await jarsAfter(order);
          expect(responses.flatMap(setCookies)).toHaveLength(1);
          expect(new Set(jars).size).toBe(1);
          const [jar = null] = jars;
          // The token of the second was already invalid when it was handled.
          if (order.find((act) => act === "rotate" || act === "logout") === "logout") expect(jar).toBeNull();
          else expect((await store.peek(tokenOf(jar)))?.data.userId).toBe("42");
        }
      },
    );

    test("after logins in two tabs, the browser holds the cookie that it received last, and its session exists", async () => {
      for (const order of permutations<Act>(["login", "login", "read", "write", "count"])) {
        const { jars, store, responses, token } = await jarsAfter(order);
        const issued = responses.flatMap(setCookies).map((line) => line.split(";")[0]);
        expect(issued).toHaveLength(2);
        expect(new Set(jars)).toEqual(new Set(issued));
        for (const jar of issued) expect((await store.peek(tokenOf(jar)))?.data.userId).toBe("43");
        expect(await store.peek(token)).toBeNull();
      }
    });

    test("when one tab logs out and another rotates, the request that is handled first decides the cookie, and the old token is invalid", async () => {
      for (const order of permutations<Act>(["logout", "read", "write", "rotate", "count"])) {
        const { jars, store, responses, token } = await jarsAfter(order);
        const ended = order.indexOf("logout") < order.indexOf("rotate");
        expect(responses.flatMap(setCookies)).toHaveLength(1);
        for (const jar of jars) expect(jar === null).toBe(ended);
        expect(await store.peek(token)).toBeNull();
      }
    });
  },
);

describe("R-13 three requests, sent, handled and answered in every order", { timeout: 60_000 }, () => {
  /** Every order of the three steps of three requests: 1680 orders. */
  function schedules(left: readonly number[] = [3, 3, 3]): number[][] {
    if (left.every((steps) => steps === 0)) return [[]];
    return left.flatMap((steps, at) =>
      steps === 0 ? [] : schedules(left.with(at, steps - 1)).map((rest) => [at, ...rest]),
    );
  }

  /** The cookie that the browser must hold in the end, as `<session number>/<number of rotations>`, or null. */
  function expected(order: readonly number[], does: readonly Act[]): string | null {
    const live = new Map([[0, 0]]);
    let sessions = 0;
    let jar: string | null = "0/0";
    const requests = does.map((act) => ({
      act,
      step: 0,
      cookie: null as string | null,
      sets: undefined as string | null | undefined,
    }));
    for (const at of order) {
      const asked = requests[at];
      if (asked === undefined) continue;
      if (asked.step === 0) asked.cookie = jar;
      if (asked.step === 1) {
        const [id = -1, turn = -1]: readonly number[] = asked.cookie?.split("/").map(Number) ?? [];
        const isValid = live.get(id) === turn;
        if (asked.act === "login") {
          if (isValid) live.delete(id);
          live.set(++sessions, 0);
          asked.sets = `${sessions}/0`;
        } else if (isValid && asked.act === "rotate") {
          live.set(id, turn + 1);
          asked.sets = `${id}/${turn + 1}`;
        } else if (isValid && asked.act === "logout") {
          live.delete(id);
          asked.sets = null;
        }
      }
      if (asked.step === 2 && asked.sets !== undefined) jar = asked.sets;
      asked.step++;
    }
    return jar;
  }

  const kinds = ["login", "rotate", "logout", "write"] as const;
  const pairs = kinds.flatMap((one, at) => kinds.slice(at).map((two) => [one, two] as const));

  test.each(pairs)(
    "after %s, %s and read in any order, the last Set-Cookie wins, and the browser never holds an invalid token",
    async (...two) => {
      const does: readonly Act[] = [...two, "read"];
      for (const order of schedules()) {
        const { handle, jar, store, cookie } = await signedIn();
        const names = new Map([[cookie, "0/0"]]);
        const turns = new Map<string, number>();
        const first = (await store.peek(tokenOf(cookie)))?.id ?? "";
        const numbers = new Map([[first, 0]]);
        const sent: Request[] = [];
        const answers: Response[] = [];
        for (const at of order) {
          if (sent[at] === undefined) sent[at] = jar.request();
          else if (answers[at] !== undefined) jar.receive(answers[at]);
          else {
            const answer = await handle(sent[at] as Request, async (session) => {
              await acts[does[at] as Act](session);
              return new Response();
            });
            answers[at] = answer;
            const line = setCookies(answer)[0]?.split(";")[0];
            if (line !== undefined && !line.endsWith("=")) {
              const id = (await store.peek(tokenOf(line)))?.id ?? "";
              if (!numbers.has(id)) numbers.set(id, numbers.size);
              else turns.set(id, (turns.get(id) ?? 0) + 1);
              names.set(line, `${numbers.get(id)}/${turns.get(id) ?? 0}`);
            }
          }
        }
        const held = jar.cookie;
        expect([order, held && names.get(held)]).toEqual([order, expected(order, does)]);
        // Although some responses were overwritten, the browser never holds a cookie with an invalid token.
        if (held !== null) expect(await store.peek(tokenOf(held))).not.toBeNull();
      }
    },
  );
});
