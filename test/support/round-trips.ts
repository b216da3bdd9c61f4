import { setImmediate } from "node:timers";
import type { RedisClient } from "../../src/redis/index.ts";

/** A client whose replies are held back, to count how often a caller waits for them. */
export interface RoundTrips {
  readonly client: RedisClient;
  /**
   * Returns how many times the operation waited for replies. Commands that are sent together count once. A command whose
   * reply nobody waits for does not count.
   */
  of(operation: () => Promise<unknown>): Promise<number>;
}

type Reply = Promise<unknown>;

/** Holds back the replies of all pending commands, and delivers them together in rounds. */
export function roundTrips(client: RedisClient): RoundTrips {
  let held: { readonly reply: Reply; readonly deliver: () => void }[] = [];

  function hold<A extends unknown[], R>(send: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
    return (...args) =>
      new Promise((resolve, reject) => {
        const reply = send(...args);
        reply.catch(() => {});
        held.push({ reply, deliver: () => reply.then(resolve, reject) });
      });
  }

  return {
    client: {
      evalSha: hold(client.evalSha.bind(client)),
      eval: hold(client.eval.bind(client)),
      hGetAll: hold(client.hGetAll.bind(client)),
      hmGet: hold(client.hmGet.bind(client)),
      ...(client.scan === undefined ? {} : { scan: hold(client.scan.bind(client)) }),
      on: client.on.bind(client),
      close: client.close.bind(client),
      destroy: client.destroy.bind(client),
    },
    async of(operation) {
      let over = false;
      const done = operation().finally(() => {
        over = true;
      });
      let rounds = 0;
      while (!over) {
        await ready();
        const round = held;
        held = [];
        await Promise.allSettled(round.map(({ reply }) => reply));
        if (over) break;
        if (round.length === 0) continue;
        rounds++;
        for (const { deliver } of round) deliver();
        await ready();
      }
      const late = held;
      held = [];
      for (const { deliver } of late) deliver();
      await Promise.allSettled(late.map(({ reply }) => reply));
      await done;
      return rounds;
    },
  };
}

/** Lets all code run that does not wait for a reply. */
function ready(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
}
