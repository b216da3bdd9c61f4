import { expect, test } from "vitest";
import * as z from "zod";
import {
  createSessionStore,
  memoryBackend,
  type RequestSession,
  type SessionBackend,
  sessionMiddleware,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { explore, timedOnArrival, type World } from "../support/explore.ts";
import { cookieJar, tokenOf } from "../support/http.ts";

function storeOn(backend: SessionBackend, now: () => number) {
  const schema = z.object({ userId: z.string() });
  return createSessionStore({ schema, backend, now, indexes: { user: "userId" } });
}
type Requested = RequestSession<{ userId: string }>;

/** What a request does that sets the cookie. */
const acts = {
  login: (session: Requested) => session.create({ userId: "42" }),
  "login with old data": (session: Requested) => session.create(() => ({ userId: "42" })),
  rotation: (session: Requested) => session.rotate(),
  "rotation with grace": (session: Requested) => session.rotate({ grace: "30s" }),
  logout: (session: Requested) => session.destroy(),
} as const;
type Act = keyof typeof acts;

/** Both acts of two processes on the session of one browser; notes the number of sessions and the state of the cookie. */
async function worldOf(pair: readonly Act[], ends: Set<string>): Promise<World> {
  const clock = manualClock();
  const backend = timedOnArrival(memoryBackend(), clock.now);
  const store = storeOn(backend, clock.now);
  const { token } = await store.create({ userId: "42" });
  const browser = () => cookieJar("__Host-Http-sid", `__Host-Http-sid=${token}`);
  return {
    backend,
    actors: pair.map((act) => (own) => {
      const handle = sessionMiddleware(storeOn(own, clock.now));
      return handle(browser().request(), async (session) => {
        await acts[act](session);
        return new Response();
      });
    }),
    async check(outcomes) {
      const { sessions } = await store.list({ user: "42" });
      const ids = sessions.map(({ id }) => id);
      for await (const { id } of store.scan()) expect(ids).toContain(id);
      const answers = outcomes.map(({ value }) => value as Response);
      for (const order of [answers, answers.toReversed()]) {
        const jar = browser();
        for (const answer of order) jar.receive(answer);
        const session = jar.cookie === null ? null : await store.peek(tokenOf(jar.cookie));
        if (session !== null) expect(ids).toContain(session.id);
        ends.add(`${ids.length} ${jar.cookie === null ? "none" : session === null ? "invalid" : "valid"}`);
      }
      expect(await store.revokeAll({ user: "42" })).toBe(ids.length);
    },
  };
}

test.each<[Act, Act, readonly string[]]>([
  ["login", "login", ["2 valid"]],
  ["login", "login with old data", ["2 valid"]],
  ["login with old data", "login with old data", ["2 valid"]],
  ["login", "rotation", ["1 valid", "2 valid"]],
  ["login", "rotation with grace", ["1 invalid", "1 valid"]],
  ["login with old data", "rotation", ["1 invalid", "1 valid", "2 valid"]],
  ["login with old data", "rotation with grace", ["1 invalid", "1 valid"]],
  ["login", "logout", ["1 none", "1 valid"]],
  ["login with old data", "logout", ["1 none", "1 valid"]],
  ["rotation", "rotation", ["1 valid"]],
  ["rotation", "rotation with grace", ["1 valid"]],
  ["rotation with grace", "rotation with grace", ["1 valid"]],
  ["rotation", "logout", ["0 none", "1 valid"]],
  ["rotation with grace", "logout", ["0 invalid", "0 none"]],
  ["logout", "logout", ["0 none"]],
])(
  "after a %s and a %s at the same time, every session is listed and can be revoked: the sessions and the cookie are %j",
  async (one, two, expected) => {
    const ends = new Set<string>();
    await explore(() => worldOf([one, two], ends), false);
    expect([...ends].sort()).toEqual(expected);
  },
);
