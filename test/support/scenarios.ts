import { describe, expect, test } from "vitest";
import { keysOf } from "./backends.ts";
import { type Jar, tokenOf } from "./http.ts";
import { allListed } from "./members.ts";
import { atEveryCall } from "./pauses.ts";
import { type Place, processOn, send, signIn, type Use, uses, type Visit } from "./requests.ts";
import { revocations } from "./revocations.ts";

const rotations: Readonly<Record<string, Use>> = {
  rotation: { act: (session) => session.rotate() },
  "rotation by a function": { act: (session) => session.rotate({ patch: () => ({ theme: "dark" }) }) },
};

/** Races in which session libraries lose data or logouts. Each is forced at every point of the slower request. */
export function scenarios(open: () => Place | Promise<Place>): void {
  describe("a logout during another request", () => {
    const table = Object.entries({ ...uses, ...rotations });
    test.each(table)(
      'a logout during the request "%s" is final, and no record or index entry remains',
      async (_, { act, options }) => {
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const { jar } = await signIn(place);
          const store = processOn(place.backend, place.now);
          const before = tokenOf(jar.cookie);
          const request = jar.request();
          const logOut = async (): Promise<boolean | undefined> => {
            const { response, result } = await send(store, jar.request(), (session) => session.destroy());
            jar.receive(response);
            return result;
          };
          let isOut: boolean | undefined;
          const late = await around(
            () => send(processOn(backend, place.now, options), request, act),
            async () => {
              isOut = await logOut();
            },
          );
          jar.receive(late.response);
          expect(late.response.status, where).toBe(200);
          expect(await store.peek(before), where).toBeNull();
          // If the rotation came first, the logout had an old and invalid cookie.
          if (isOut === false) expect(await logOut(), where).toBe(true);
          expect(jar.cookie, where).toBeNull();
          expect(await keysOf(place.backend), where).toEqual([]);
          for (const user of ["42", "43"]) expect(await allListed(store, { user }), where).toEqual([]);
        });
      },
    );
  });

  describe("two concurrent requests that write", () => {
    const writes = Object.entries(uses).filter(([, { effect }]) => effect !== undefined);
    const pairs = writes.flatMap(([one, first]) => writes.map(([other, second]) => ({ one, first, other, second })));
    test.each(pairs)(
      'the changes of the requests "$one" and "$other" are both stored if the second runs during the first',
      async ({ first, second }) => {
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const { jar, session } = await signIn(place);
          const store = processOn(place.backend, place.now);
          await around(
            () => send(processOn(backend, place.now), jar.request(), first.act),
            () => send(store, jar.request(), second.act),
          );
          let both: Visit = session.data;
          for (const { effect } of [first, second]) both = { ...both, ...effect?.(both) };
          expect((await store.peek(tokenOf(jar.cookie)))?.data, where).toEqual(both);
          const listed = await allListed(store, { user: String(both.userId) });
          expect(
            listed.map(({ id }) => id),
            where,
          ).toEqual([session.id]);
        });
      },
    );
  });

  describe("a login that rotates the token during other requests", () => {
    const logIn = (place: Place, jar: Jar) =>
      send(processOn(place.backend, place.now), jar.request(), (session) =>
        session.rotate({ authenticated: true, patch: { userId: "44" } }),
      );

    async function expectLoggedIn(place: Place, jar: Jar, login: Response, where: string): Promise<void> {
      expect(jar.cookie, where).toBe(login.headers.getSetCookie()[0]?.split(";")[0]);
      const { result } = await send(processOn(place.backend, place.now), jar.request(), (session) => session.get());
      expect(result?.data.userId, where).toBe("44");
    }

    const table = Object.entries(uses).flatMap(([use, { act, options }]) =>
      ["first", "last"].map((answers) => ({ use, act, options, answers })),
    );
    test.each(table)(
      'a login during the request "$use" keeps the user logged in if the login response arrives $answers',
      async (row) => {
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const { jar } = await signIn(place);
          const request = jar.request();
          let login = new Response();
          const late = await around(
            () => send(processOn(backend, place.now, row.options), request, row.act),
            async () => {
              login = (await logIn(place, jar)).response;
            },
          );
          const answers = [login, late.response];
          for (const answer of row.answers === "first" ? answers : answers.reverse()) jar.receive(answer);
          expect([late.response.status, late.response.headers.getSetCookie()], where).toEqual([200, []]);
          await expectLoggedIn(place, jar, login, where);
        });
      },
    );

    test("a login during three other requests keeps the user logged in, in every order of the responses", async () => {
      for (const order of ordersOf(4)) {
        const place = await open();
        const { jar } = await signIn(place);
        const requests = [0, 1, 2].map(() => jar.request());
        const store = processOn(place.backend, place.now);
        const early = await send(store, requests[0] as Request, (session) => session.update({ theme: "dark" }));
        const login = await logIn(place, jar);
        const late = [
          await send(store, requests[1] as Request, (session) => session.update({ theme: "late" })),
          await send(store, requests[2] as Request, (session) => session.destroy()),
        ];
        const answers = [early, login, ...late].map(({ response }) => response);
        for (const at of order) jar.receive(answers[at] as Response);
        await expectLoggedIn(place, jar, login.response, order.join());
      }
    });
  });

  revocations(open);
}

/** All orders of the numbers from 0 to `count - 1`. */
function ordersOf(count: number): number[][] {
  if (count === 0) return [[]];
  return ordersOf(count - 1).flatMap((order) =>
    Array.from({ length: count }, (_, at) => [...order.slice(0, at), count - 1, ...order.slice(at)]),
  );
}
