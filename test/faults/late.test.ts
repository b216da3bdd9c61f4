/**
 * Commands that reach Redis after their caller has given up, and replies that reach the wrong caller.
 *
 * @module
 */
import { createClient } from "redis";
import { describe, expect, test } from "vitest";
import { SessionBackendError, sessionMiddleware } from "../../src/index.ts";
import { redisBackend } from "../../src/redis/index.ts";
import { expectFailure, type Grounds, holdUps, onGrounds, recovers, storeOn } from "../support/fault-grounds.ts";
import { request } from "../support/http.ts";
import { allListed } from "../support/members.ts";
import { processOn, type Visits } from "../support/requests.ts";
import { until } from "../support/until.ts";

const SHORT_MS = 100;
const PATIENT_MS = 900;
const LONG_MS = 3000;
const PREFIX = "s:";

type Act = (store: Visits, token: string) => Promise<unknown>;

const writes: Readonly<Record<string, Act>> = {
  update: (store, token) => store.update(token, { theme: "dark" }),
  "update with an empty patch": (store, token) => store.update(token, {}),
  increment: (store, token) => store.increment(token, "pageViews"),
  take: (store, token) => store.take(token, "code"),
  setIdleTimeout: (store, token) => store.setIdleTimeout(token, 3600),
  rotate: (store, token) => store.rotate(token),
  destroy: (store, token) => store.destroy(token),
  revoke: (store, token) => store.revoke(token.slice(0, 22)),
};

/** A store whose connection is not affected by the fault. */
const elsewhere = ({ admin }: Grounds): Visits =>
  processOn(redisBackend(admin, { prefix: PREFIX }), Date.now, { operationTimeout: "10s" });

async function hashesOf({ admin }: Grounds): Promise<string[]> {
  const found: string[] = [];
  for await (const keys of admin.scanIterator({ MATCH: `${PREFIX}*`, TYPE: "hash" })) found.push(...keys);
  return found;
}

describe("a write that reaches Redis after its caller has given up", () => {
  for (const [use, act] of Object.entries(writes)) {
    test.concurrent(`F-06 a late ${use} does not bring back a session that has ended meanwhile`, async () => {
      await onGrounds({}, async (grounds) => {
        const { proxy, client } = grounds;
        const store = storeOn(client, PREFIX, SHORT_MS);
        const there = elsewhere(grounds);
        const [kept, ended] = [
          await there.create({ userId: "1" }),
          await there.create({ userId: "2", code: "123456" }),
        ];
        await recovers(store, kept.token);
        const release = proxy.hold();
        const late = act(store, ended.token);
        await expect(late).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
        expect(await there.destroy(ended.token)).toBe(true);
        release();
        await recovers(store, kept.token);
        expect(await hashesOf(grounds)).toEqual([PREFIX + kept.session.id]);
      });
    });
  }

  test.concurrent("F-06 late writes with a token that was rotated meanwhile change nothing", async () => {
    await onGrounds({}, async (grounds) => {
      const { proxy, client } = grounds;
      const store = storeOn(client, PREFIX, SHORT_MS);
      const there = elsewhere(grounds);
      const { token } = await there.create({ userId: "1" });
      await recovers(store, token);
      const release = proxy.hold();
      await expect(store.update(token, { theme: "dark" })).rejects.toMatchObject({ outcome: "unknown" });
      await expect(store.update(token, ({ pageViews }) => ({ pageViews: pageViews + 10 }))).rejects.toThrow();
      await expect(store.rotate(token)).rejects.toMatchObject({ outcome: "unknown" });
      const rotated = await there.rotate(token, { patch: { pageViews: 1 } });
      release();
      await recovers(store, rotated?.token ?? "");
      // The rotation made the token of all late writes invalid.
      expect((await there.get(rotated?.token ?? ""))?.data).toMatchObject({ theme: "light", pageViews: 1 });
    });
  });

  test.concurrent("F-06 a late login does not create a session after revokeAll", async () => {
    await onGrounds({}, async (grounds) => {
      const { proxy, client } = grounds;
      const store = storeOn(client, PREFIX, SHORT_MS);
      const there = elsewhere(grounds);
      const { token } = await there.create({ userId: "other" });
      await recovers(store, token);
      const release = proxy.hold();
      await expect(store.create({ userId: "1" })).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
      expect(await there.revokeAll({ user: "1" })).toBe(0);
      release();
      await recovers(store, token);
      expect(await allListed(there, { user: "1" })).toEqual([]);
      expect(await hashesOf(grounds)).toHaveLength(1);
    });
  });

  test.concurrent("F-06 F-04 late writes to a server that was paused do not bring back sessions that have ended", async () => {
    await onGrounds({}, async (grounds) => {
      const { server, client } = grounds;
      const store = storeOn(client, PREFIX, SHORT_MS);
      const there = elsewhere(grounds);
      const kept = await there.create({ userId: "kept" });
      await recovers(store, kept.token);
      for (let round = 0; round < 5; round++) {
        const ended = await Promise.all(Object.keys(writes).map((userId) => there.create({ userId, code: "1" })));
        const resume = server.stall();
        const late = await Promise.allSettled(
          Object.values(writes).map((act, at) => act(store, ended[at]?.token as string)),
        );
        for (const outcome of late)
          expect(outcome).toMatchObject({ status: "rejected", reason: { reason: "timeout" } });
        // By ID, as a late rotation may have taken effect.
        const ending = ended.map(({ session }) => there.revoke(session.id));
        resume();
        await Promise.all(ending);
        await recovers(store, kept.token);
        const still = new Set(await hashesOf(grounds));
        for (const { session } of ended) expect(still).not.toContain(PREFIX + session.id);
      }
    });
  });
});

describe("commands without a connection", () => {
  for (const queue of ["with a queue for later", "without one"]) {
    test.concurrent(`F-07 F-08 calls without a connection reject and are never sent later, by a client ${queue}`, async () => {
      const make = (port: number) =>
        createClient({
          disableOfflineQueue: queue === "without one",
          socket: { host: "127.0.0.1", port, reconnectStrategy: 20 },
        }) as never;
      await onGrounds({ client: make }, async (grounds) => {
        const { proxy, client } = grounds;
        const store = storeOn(client, PREFIX, LONG_MS);
        await client.connect();
        const there = elsewhere(grounds);
        const kept = await there.create({ userId: "kept" });
        const sessions = await Promise.all(Object.keys(writes).map((userId) => there.create({ userId, code: "1" })));
        const restore = await proxy.cut();
        await until("the client knows", () => client.isReady === false);
        const [since, heldUp] = [performance.now(), holdUps()];
        for (const [at, act] of Object.values(writes).entries()) {
          const failed = act(store, sessions[at]?.token as string);
          await expect(failed).rejects.toMatchObject({ reason: "unavailable", outcome: "not-applied" });
        }
        expect(performance.now() - since).toBeLessThan(LONG_MS / 3 + heldUp());
        const before = await Promise.all(sessions.map(({ session }) => grounds.admin.hGetAll(PREFIX + session.id)));
        await restore();
        await recovers(store, kept.token);
        const after = await Promise.all(sessions.map(({ session }) => grounds.admin.hGetAll(PREFIX + session.id)));
        expect(after).toEqual(before);
      });
    });
  }
});

describe("replies for another caller", () => {
  const MANY = 40;

  async function people({ client }: Grounds) {
    const patient = storeOn(client, PREFIX, LONG_MS);
    const created = await Promise.all(Array.from({ length: MANY }, (_, at) => patient.create({ userId: `${at}` })));
    /** Every user reads in every way. Each must receive their own session or none. */
    async function everybodyReads(store = patient): Promise<number> {
      const attempts = await Promise.allSettled(
        created.flatMap(({ token, session }) =>
          [store.get(token), store.peek(token), store.update(token, {})].map(async (reading) => ({
            mine: session,
            session: await reading,
          })),
        ),
      );
      let answered = 0;
      for (const attempt of attempts) {
        if (attempt.status === "rejected") {
          expect(attempt.reason).toBeInstanceOf(SessionBackendError);
          continue;
        }
        const { mine, session } = attempt.value;
        if (session === null) continue;
        expect(session).toMatchObject({ id: mine.id, data: { userId: mine.data.userId } });
        answered++;
      }
      return answered;
    }
    return { store: patient, created, everybodyReads };
  }

  test.concurrent("R-27 F-24 nobody receives another user's session after thousands of reads that were given up", async () => {
    await onGrounds({}, async (grounds) => {
      const { everybodyReads } = await people(grounds);
      const hasty = storeOn(grounds.client, PREFIX, 25);
      for (let round = 0; round < 30; round++) {
        const resume = grounds.server.stall();
        const early = everybodyReads(hasty);
        if (round % 2 === 0) expect(await early).toBe(0);
        resume();
        expect(await everybodyReads()).toBe(3 * MANY);
        await early;
      }
    });
  });

  test.concurrent("R-27 F-24 nobody receives another user's session when callers abort at any time", async () => {
    await onGrounds({}, async (grounds) => {
      const { created, store, everybodyReads } = await people(grounds);
      for (let round = 0; round < 20; round++) {
        const aborted = created.map(({ token }, at) => {
          const controller = new AbortController();
          const reading = store.get(token, { signal: controller.signal });
          if (at % 3 === 0) controller.abort();
          else if (at % 3 === 1) setImmediate(() => controller.abort());
          return reading;
        });
        await Promise.allSettled(aborted);
        expect(await everybodyReads()).toBe(3 * MANY);
      }
    });
  });

  test.concurrent("F-23 F-24 nobody receives another user's session when the server sends each reply twice", async () => {
    await onGrounds({}, async (grounds) => {
      const { created, everybodyReads, store } = await people(grounds);
      const end = grounds.proxy.tamper((answer, near) => {
        near.write(answer);
        near.write(answer);
      });
      for (let round = 0; round < 10; round++) await everybodyReads();
      end();
      await recovers(store, created[0]?.token as string);
      await until("all is well", async () => (await everybodyReads()) === 3 * MANY);
    });
  });
});

describe("a reply of the wrong type", () => {
  const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`;
  const answers: Readonly<Record<string, string>> = {
    "a number": ":42\r\n",
    "a big number": "(3492890328409238509324850943850943825024385\r\n",
    "a fraction": ",3.14\r\n",
    "a text": "+OK\r\n",
    "a string of digits": "$2\r\n42\r\n",
    true: "#t\r\n",
    "an empty list": "*0\r\n",
    "a short list": "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    "a list of numbers": `*20\r\n${":1\r\n".repeat(20)}`,
    "a list of lists": `*20\r\n${"*0\r\n".repeat(20)}`,
    "the beginning of a list in JSON": bulk("["),
    "a short list in JSON": bulk('["a","b"]'),
    "a list of numbers in JSON": bulk(JSON.stringify(Array(20).fill(1))),
    "a map": "%1\r\n+a\r\n+b\r\n",
    "a set": "~1\r\n+a\r\n",
    "an error that is unknown to the library": "-WEIRD things\r\n",
    "an error without a code": "-things went wrong\r\n",
  };
  const questions: Readonly<Record<string, Act>> = {
    ...writes,
    peek: (store, token) => store.peek(token),
    "update by a function": (store, token) => store.update(token, () => ({ theme: "dark" })),
    create: (store) => store.create({ userId: "2" }),
    list: (store) => allListed(store, { user: "1" }),
    count: (store) => store.count({ user: "1" }),
    revokeAll: (store) => store.revokeAll({ user: "1" }),
  };

  /** The number of commands, as a PING may be sent along. */
  const commandsIn = (question: Buffer): number =>
    question.toString("latin1").match(/\*\d+\r\n\$\d+\r\n[A-Z]/g)?.length ?? 0;

  /** A string of digits is a valid reply to an increment. */
  const right = (what: string, use: string): boolean => what === "a string of digits" && use === "increment";

  for (const [what, text] of Object.entries(answers)) {
    test.concurrent(`F-23 a call rejects and returns no session if the reply is ${what}`, async () => {
      await onGrounds({}, async (grounds) => {
        const { client, proxy } = grounds;
        const there = elsewhere(grounds);
        const { token } = await there.create({ userId: "1" });
        await storeOn(client, PREFIX, LONG_MS).get(token);
        for (const [use, act] of Object.entries(questions)) {
          // A rotation asks again whether it took effect, until it times out.
          const [timeoutMs, gaveUp] = use === "rotate" ? [PATIENT_MS, "timeout"] : [LONG_MS, "unavailable"];
          const store = storeOn(client, PREFIX, timeoutMs as number);
          if (right(what, use)) continue;
          // The question does not reach the server, so the stored session stays as it is.
          let isAnswered = false;
          const release = proxy.replace((question) => {
            isAnswered = true;
            return text.repeat(commandsIn(question));
          });
          const error = await act(store, token).then(
            (value) => new Error(`${use} gave ${JSON.stringify(value)}`),
            (reason: unknown) => reason,
          );
          release();
          expect(isAnswered, use).toBe(true);
          expect(error, use).toBeInstanceOf(SessionBackendError);
          expectFailure(error, { reason: what.startsWith("an error that") ? "rejected" : gaveUp } as never, use);
        }
        const store = storeOn(client, PREFIX, LONG_MS);
        expect(await store.get(token)).toMatchObject({ data: { userId: "1" } });
        const answer = await sessionMiddleware(store)(request(), async () => new Response("served"));
        expect(answer.status).toBe(200);
      });
    });
  }
});
