import { describe, expect, test } from "vitest";
import { type Session, SessionConflictError } from "../../src/index.ts";
import { tokenOf } from "./http.ts";
import { allListed } from "./members.ts";
import { atEveryCall, hold } from "./pauses.ts";
import { type Options, type Place, processOn, send, signIn, type Use, type Visit, type Visits } from "./requests.ts";

const user = "42";
const limits: Readonly<Record<string, Options>> = {
  "": {},
  " with an evict-oldest limit": { indexes: { user: { from: "userId", limit: { max: 2, whenFull: "evict-oldest" } } } },
  " with a reject limit": { indexes: { user: { from: "userId", limit: { max: 3, whenFull: "reject" } } } },
};

async function living(store: Visits): Promise<Session<Visit>[]> {
  const sessions: Session<Visit>[] = [];
  for await (const session of store.scan()) if (session.data.userId === user) sessions.push(session);
  return sessions;
}

const idsOf = (sessions: readonly Session<Visit>[]): string[] => sessions.map(({ id }) => id).sort();

/** All existing sessions of the user are listed and counted, and another `revokeAll` ends them all. */
async function expectAllListed(store: Visits, where: string): Promise<void> {
  const ids = idsOf(await living(store));
  expect(idsOf(await allListed(store, { user })), where).toEqual(ids);
  expect(await store.count({ user }), where).toBe(ids.length);
  expect(await store.revokeAll({ user }), where).toBe(ids.length);
  expect(await living(store), where).toEqual([]);
}

function expectRevoked(error: unknown, where: string): void {
  expect(error, where).toBeInstanceOf(SessionConflictError);
  expect(error, where).toMatchObject({ reason: "revoked" });
}

/** Tests of "log out everywhere" during other operations. */
export function revocations(open: () => Place | Promise<Place>): void {
  describe("logging out everywhere", () => {
    for (const [condition, options] of Object.entries(limits)) {
      test(`a sign-in${condition} that overlaps with revokeAll is rejected, or its session is listed and a second revokeAll ends it`, async () => {
        const refused: string[] = [];
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const store = processOn(place.backend, place.now, options);
          const before = [await store.create({ userId: user }), await store.create({ userId: user })];
          const attempt = await around(
            () => settle(processOn(backend, place.now, options).create({ userId: user })),
            () => store.revokeAll({ user }),
          );
          for (const { token } of before) expect(await store.peek(token), where).toBeNull();
          if (attempt.status === "rejected") {
            expectRevoked(attempt.reason, where);
            refused.push(where);
          }
          await expectAllListed(store, where);
        });
        expect(refused).toContain("held up before call 1");
      });

      test(`a session that is created${condition} while revokeAll runs is listed or ended by it`, async () => {
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const store = processOn(place.backend, place.now, options);
          const before = [await store.create({ userId: user }), await store.create({ userId: user })];
          await around(
            () => processOn(backend, place.now, options).revokeAll({ user }),
            () => store.create({ userId: user }),
          );
          for (const { token } of before) expect(await store.peek(token), where).toBeNull();
          await expectAllListed(store, where);
        });
      });
    }

    test("revokeAll ends every session whose create had returned, even while many sign-ins run", async () => {
      const place = await open();
      const store = processOn(place.backend, place.now);
      const answered = await Promise.all(Array.from({ length: 6 }, () => store.create({ userId: user })));
      const signIns = Array.from({ length: 12 }, (_, at) => {
        const held = hold(place.backend, at % 3);
        const attempt = settle(processOn(held.backend, place.now).create({ userId: user }));
        return { held, attempt };
      });
      await Promise.all(signIns.map(({ held, attempt }) => Promise.race([held.reached, attempt])));
      await store.revokeAll({ user });
      for (const { token } of answered) expect(await store.peek(token)).toBeNull();
      for (const { held } of signIns) held.release();
      const attempts = await Promise.all(signIns.map(({ attempt }) => attempt));
      for (const attempt of attempts) if (attempt.status === "rejected") expectRevoked(attempt.reason, "");
      const lives = await Promise.all(
        attempts.map((attempt) => (attempt.status === "fulfilled" ? store.peek(attempt.value.token) : null)),
      );
      // A sign-in held before its index entry succeeds, as it follows the revocation. One held between the entry and
      // the record is rejected. One held after the record is ended.
      expect(lives.map((session) => session !== null)).toEqual(signIns.map((_, at) => at % 3 === 0));
      expect(attempts.map(({ status }) => status === "rejected")).toEqual(signIns.map((_, at) => at % 3 === 1));
      await expectAllListed(store, "");
    });

    const changes: Readonly<Record<string, Use & { readonly leaves?: boolean }>> = {
      "a rotation": { act: (session) => session.rotate({ authenticated: true }) },
      "a rotation by a function": { act: (session) => session.rotate({ patch: () => ({ theme: "dark" }) }) },
      "a move to another user": { act: (session) => session.update({ userId: "43" }), leaves: true },
      "a rotation that moves to another user": {
        act: (session) => session.rotate({ patch: { userId: "43" } }),
        leaves: true,
      },
    };
    for (const [change, { act, leaves = false }] of Object.entries(changes)) {
      test(`revokeAll during ${change} ends that session${leaves ? ", or it belongs to the other user" : ""}`, async () => {
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const { jar, session } = await signIn(place);
          const store = processOn(place.backend, place.now);
          const { response } = await around(
            () => send(processOn(backend, place.now), jar.request(), act),
            () => store.revokeAll({ user }),
          );
          jar.receive(response);
          const after = await store.peek(tokenOf(jar.cookie));
          if (!leaves) expect(after, where).toBeNull();
          expect(idsOf(await allListed(store, { user: "43" })), where).toEqual(after === null ? [] : [session.id]);
          expect(after?.data.userId ?? "43", where).toBe("43");
          expect(await living(store), where).toEqual([]);
        });
      });
    }

    const arrivals: Readonly<Record<string, Use["act"]>> = {
      update: (session) => session.update({ userId: user }),
      "update with a function": (session) => session.update(() => ({ userId: user })),
      rotate: (session) => session.rotate({ patch: { userId: user } }),
    };
    test.each(Object.entries(arrivals))(
      "a session that moves to the user by %s while revokeAll runs is listed or ended",
      async (_, act) => {
        await atEveryCall(open, async (place, { around, backend, where }) => {
          const { jar } = await signIn(place, { userId: "43" });
          const store = processOn(place.backend, place.now);
          const before = await store.create({ userId: user });
          const arrival = await around(
            () => settle(send(processOn(backend, place.now), jar.request(), act)),
            () => store.revokeAll({ user }),
          );
          if (arrival.status === "rejected") expectRevoked(arrival.reason, where);
          expect(await store.peek(before.token), where).toBeNull();
          await expectAllListed(store, where);
        });
      },
    );
  });
}

async function settle<R>(attempt: Promise<R>): Promise<PromiseSettledResult<R>> {
  const [outcome] = await Promise.allSettled([attempt]);
  return outcome;
}
