import { describe, expect, test } from "vitest";
import { type Session, SessionBackendError, sessionMiddleware } from "../../src/index.ts";
import { request } from "./http.ts";
import { allListed } from "./members.ts";
import { hold } from "./pauses.ts";
import { type Place, processOn, signIn, type Use, uses, type Visitor, type Visits } from "./requests.ts";
import { until } from "./until.ts";

/** A place whose backend can be made to stop replying. */
export interface StallingPlace extends Place {
  /** Stops the servers of these sessions from replying, until the returned function is called. */
  stall(ids: readonly string[]): (() => void) | Promise<() => void>;
}

const TIMEOUT_MS = 300;
/** A login that replaces a session takes two operations; the rest allows for a busy machine. */
const IN_TIME_MS = 2 * TIMEOUT_MS + 1000;

const others: Readonly<Record<string, Use["act"]>> = {
  "sign-in": (session) => session.create({ userId: "42" }),
  rotation: (session) => session.rotate({ authenticated: true }),
  "rotation by a function": (session) => session.rotate({ patch: ({ pageViews }) => ({ pageViews: pageViews + 1 }) }),
  "log out": (session) => session.destroy(),
};
const acts = { ...Object.fromEntries(Object.entries(uses).map(([use, { act }]) => [use, act])), ...others };

/** Operations of several calls each. The last call is cleanup that nobody waits for. */
const sequences = ["sign-in", "rotation by a function", "patch by a function", "move to another user"];
const MIDDLES = [0, 1, 2, 3];

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

/** Handles a request and returns the errors, the result and the duration. */
async function timed(store: Visits, from: Request, act: (session: Visitor) => Promise<unknown>) {
  const errors: unknown[] = [];
  let result: unknown = "nothing";
  const since = Date.now();
  const response = await sessionMiddleware(store)(from, async (session) => {
    const attempt = act(session);
    attempt.catch((error) => errors.push(error));
    result = await attempt;
    return new Response();
  });
  return { response, errors, result, milliseconds: Date.now() - since };
}

function expectUnavailable(
  { response, errors, result, milliseconds }: Awaited<ReturnType<typeof timed>>,
  what: string,
) {
  expect(response.status, what).toBe(503);
  expect(response.headers.get("retry-after"), what).not.toBeNull();
  expect(response.headers.getSetCookie(), what).toEqual([]);
  expect(result, what).toBe("nothing");
  expect(errors, what).toEqual([expect.any(SessionBackendError)]);
  expect(errors[0], what).toMatchObject({ reason: "timeout" });
  expect(milliseconds, what).toBeLessThan(IN_TIME_MS);
}

/** Tests of a backend that neither replies nor fails. */
export function stalls(open: () => StallingPlace | Promise<StallingPlace>): void {
  const storeOn = (place: Place, backend = place.backend) =>
    processOn(backend, place.now, { operationTimeout: `${TIMEOUT_MS}ms` });

  /** Checks that a request with a cookie that was valid before works again. */
  async function expectWorks(place: Place, from: Request, id: string | null, what: string): Promise<void> {
    const look = () => timed(storeOn(place), from, (session) => session.get());
    await until("the backend answers again", async () => (await look()).response.status === 200);
    const { response, result } = await look();
    expect(response.headers.getSetCookie(), what).toEqual([]);
    if (id !== null) expect(result, what).toMatchObject({ id });
  }

  describe("while the backend does not reply", () => {
    test("every request ends in time with 503 and changes no cookie, and the sessions work again afterwards", async () => {
      const place = await open();
      const store = storeOn(place);
      const visitors = await Promise.all(
        Object.entries(acts).map(async ([use, act]) => ({ use, act, ...(await signIn(place)) })),
      );
      const resume = await place.stall(visitors.map(({ session }) => session.id));
      try {
        const answers = await Promise.all(visitors.map(({ jar, act }) => timed(store, jar.request(), act)));
        visitors.forEach(({ use }, at) => {
          expectUnavailable(answers[at] as (typeof answers)[number], use);
        });
      } finally {
        resume();
      }
      for (const { use, jar, session } of visitors) {
        await expectWorks(place, jar.request(), use in uses ? session.id : null, use);
      }
    });

    test("a request that tries again after a timeout is not anonymous, and a request without a session is served", async () => {
      const place = await open();
      const store = storeOn(place);
      const { jar, session } = await signIn(place);
      const resume = await place.stall([session.id]);
      try {
        const twice = timed(store, jar.request(), async (visitor) => {
          await visitor.get().catch(() => {});
          return await visitor.peek();
        });
        const without = timed(store, request(), (visitor) => visitor.get());
        expectUnavailable(await twice, "again");
        expect(await without).toMatchObject({ result: null, response: { status: 200 } });
      } finally {
        resume();
      }
      await expectWorks(place, jar.request(), session.id, "again");
    });

    test("concurrent updates of one session all end in time", async () => {
      const place = await open();
      const store = storeOn(place);
      const { jar, session } = await signIn(place);
      const resume = await place.stall([session.id]);
      try {
        const count = () =>
          timed(store, jar.request(), (visitor) => visitor.update(({ pageViews: n }) => ({ pageViews: n + 1 })));
        for (const answer of await Promise.all(Array.from({ length: 20 }, count))) expectUnavailable(answer, "count");
      } finally {
        resume();
      }
      await expectWorks(place, jar.request(), session.id, "count");
    });

    test("operations by ID and by index reject in time, with the outcome that is known", async () => {
      const place = await open();
      const store = storeOn(place);
      const { session } = await signIn(place);
      const { id } = session;
      const user = String(session.data.userId);
      const known = { outcome: "not-applied" };
      const collective: Readonly<Record<string, readonly [() => Promise<unknown>, object]>> = {
        list: [() => allListed(store, { user }), known],
        count: [() => store.count({ user }), known],
        scan: [() => drain(store.scan()), known],
        updateAll: [() => store.updateAll({ user }, { theme: "dark" }), {}],
        revokeAll: [() => store.revokeAll({ user }), {}],
        revoke: [() => store.revoke(id), { outcome: "unknown" }],
      };
      const resume = await place.stall([id]);
      try {
        const since = Date.now();
        const outcomes = await Promise.allSettled(Object.values(collective).map(([act]) => act()));
        expect(Date.now() - since).toBeLessThan(IN_TIME_MS);
        Object.entries(collective).forEach(([what, [, more]], at) => {
          const outcome = outcomes[at] as PromiseSettledResult<unknown>;
          expect(outcome, what).toMatchObject({ status: "rejected", reason: { reason: "timeout", ...more } });
          if (outcome.status === "rejected") expect(outcome.reason, what).toBeInstanceOf(SessionBackendError);
        });
      } finally {
        resume();
      }
      await until("the backend answers again", () =>
        store.count({ user }).then(
          () => true,
          () => false,
        ),
      );
    });

    test("a request during which the backend stops replying ends in time, either with 503 or with its work done", async () => {
      const place = await open();
      const requests = sequences.flatMap((use) =>
        MIDDLES.map((at) => ({ use, at, what: `${use}, before call ${at}` })),
      );
      const held = await Promise.all(
        requests.map(async ({ use, at, what }) => {
          const { jar, session } = await signIn(place);
          const { backend, reached, release } = hold(place.backend, at);
          const answer = timed(storeOn(place, backend), jar.request(), acts[use] as Use["act"]);
          await Promise.race([reached, answer]);
          return { use, at, what, jar, session, release, answer };
        }),
      );
      const resume = await place.stall(held.map(({ session }) => session.id));
      const ids: (string | null)[] = [];
      try {
        for (const { release } of held) release();
        for (const { use, at, what, jar, session, answer } of held) {
          const { response, result, ...rest } = await answer;
          if (response.status === 200) {
            expect(at, what).toBeGreaterThan(0);
            jar.receive(response);
            ids.push((result as Session<unknown>).id);
          } else {
            expectUnavailable({ response, result, ...rest }, what);
            // The change may have taken effect nonetheless.
            ids.push(use in uses ? session.id : null);
          }
        }
      } finally {
        resume();
      }
      for (const [at, { jar, what }] of held.entries()) await expectWorks(place, jar.request(), ids[at] ?? null, what);
    });
  });
}
