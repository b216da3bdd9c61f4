import { afterAll, beforeAll, expect, test } from "vitest";
import { SessionBackendError } from "../../src/index.ts";
import { connectRedis } from "../../src/redis/index.ts";
import { holdUps, recovers, storeOn } from "../support/fault-grounds.ts";
import type { Server } from "../support/redis-server.ts";
import { failOver, isInStep, isReplaced, type SentinelGroup, startSentinels, TILT_MS } from "../support/topologies.ts";
import { until } from "../support/until.ts";

const TIMEOUT_MS = 500;
const LATE_MS = 500;
const MANY = 20;

let group: SentinelGroup;
let client: Awaited<ReturnType<typeof connectRedis>>;

beforeAll(async () => {
  group = await startSentinels();
  client = await connectRedis({ sentinel: { name: group.name, nodes: group.sentinels.map(({ url }) => url) } });
});
afterAll(async () => {
  client?.destroy();
  await group?.stop();
});

/** Whether the client considers this server the master. */
function isMaster({ port }: Server): boolean {
  return (client.getMasterNode?.() as { port: number } | undefined)?.port === port;
}

test("F-12 F-18 F-25 during a failover, no session seems absent, no increment counts twice, and calls recover by themselves", {
  timeout: 2 * TILT_MS,
}, async () => {
  const store = storeOn(client, "failover:", TIMEOUT_MS);
  const created = await Promise.all(Array.from({ length: MANY }, (_, at) => store.create({ userId: `${at}` })));
  const [master, ...replicas] = group.servers as [Server, ...Server[]];
  await until("the replicas have all writes", async () =>
    (await Promise.all(replicas.map((replica) => isInStep(master, replica)))).every(Boolean),
  );
  const done = created.map(() => ({ sure: 0, open: 0 }));
  let [isOver, longestMs] = [false, 0];

  /** Reads and increments until the end of the test. */
  async function visit(at: number): Promise<void> {
    const { token } = created[at] as (typeof created)[number];
    const count = done[at] as (typeof done)[number];
    while (!isOver) {
      const since = performance.now();
      const [read, sum] = await Promise.allSettled([store.get(token), store.increment(token, "pageViews")]);
      longestMs = Math.max(longestMs, performance.now() - since);
      for (const outcome of [read, sum]) {
        if (outcome.status === "fulfilled") expect(outcome.value).not.toBeNull();
        else expect(outcome.reason).toBeInstanceOf(SessionBackendError);
      }
      if (sum.status === "fulfilled") count.sure++;
      else if (sum.reason.outcome === "unknown") count.open++;
      await new Promise((next) => setTimeout(next, 5));
    }
  }
  const heldUp = holdUps();
  const visits = Promise.all(created.map((_, at) => visit(at)));
  try {
    await failOver(group, master);
    await until("the failover is over", () => isReplaced(master, group));
    await until("the client knows", () => !isMaster(master));
    for (const { token } of created) await recovers(store, token);
  } finally {
    isOver = true;
    await visits;
  }
  expect(longestMs).toBeLessThan(TIMEOUT_MS + LATE_MS + heldUp());
  await recovers(store, created[0]?.token as string);
  for (const [at, { token }] of created.entries()) {
    const { sure, open } = done[at] as (typeof done)[number];
    // The count may be lower: replication is asynchronous, so writes that the old master acknowledged may be lost.
    const session = await store.get(token);
    expect(session).not.toBeNull();
    expect(session?.data.pageViews).toBeLessThanOrEqual(sure + open);
    expect(await store.update(token, { theme: "dark" })).toMatchObject({ data: { theme: "dark" } });
  }
});
