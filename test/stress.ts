import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import { SessionConflictError } from "../src/index.ts";
import { startServer } from "./support/redis-server.ts";
import { CHECKS, clear } from "./support/stress-checks.ts";
import {
  any,
  idOf,
  type News,
  type Place,
  PROCESSES,
  type Report,
  SESSIONS,
  storeAt,
  USERS,
} from "./support/stress-store.ts";
import { type Orders, work } from "./support/stress-worker.ts";

const WORKER = "--worker";
/** Another process may use a rotated token before it is told of the rotation. */
const NEWS_MS = 200;

if (process.argv.includes(WORKER)) {
  process.once("message", async (orders: Orders) => {
    const report = await work(orders);
    process.send?.(report, () => process.exit(0));
  });
} else {
  await lead();
}

/** Hands out the shared sessions, replaces those that end, and checks the result at the end. */
async function lead(): Promise<void> {
  const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" } } });
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new RangeError(`Cannot stress as --seconds must be positive: received ${values.seconds}`);
  const server = process.env["REDIS_URL"] ? null : await startServer();
  const url = server?.url ?? process.env["REDIS_URL"] ?? "";
  const place: Place = { url, prefix: `zession-stress:${randomUUID()}:` };
  const { client, store } = await storeAt(place);
  const create = async (): Promise<string> => {
    try {
      return (await store.create({ userId: any(USERS) })).token;
    } catch (error) {
      if (error instanceof SessionConflictError) return await create();
      throw error;
    }
  };
  const tokens = await Promise.all(Array.from({ length: SESSIONS }, create));
  const reports: Report[] = [];
  const following = new Map<string, string>();
  const replacing = new Map<number, Promise<void>>();
  let children: ChildProcess[] = [];

  const deal = (slot: number, to = children): void => {
    for (const child of to) if (child.connected) child.send({ slot, token: tokens[slot] }, () => {});
  };
  function follow(slot: number): void {
    let token = tokens[slot] as string;
    for (let next = following.get(token); next !== undefined; next = following.get(token)) {
      following.delete(token);
      token = next;
    }
    tokens[slot] = token;
    deal(slot);
  }
  async function replace(slot: number, lost: string): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, NEWS_MS));
    if (tokens[slot] === lost && (await store.peek(lost)) === null) {
      for (const token of following.keys()) if (idOf(token) === idOf(lost)) following.delete(token);
      tokens[slot] = await create();
    }
    replacing.delete(slot);
    deal(slot);
  }
  function hear(child: ChildProcess, at: number, news: News | Report): void {
    if ("calls" in news) {
      reports[at] = news;
    } else if ("lost" in news) {
      if (tokens[news.slot] !== news.lost) deal(news.slot, [child]);
      else if (!replacing.has(news.slot)) replacing.set(news.slot, replace(news.slot, news.lost));
    } else if (idOf(tokens[news.slot] ?? "") === idOf(news.from)) {
      following.set(news.from, news.to);
      follow(news.slot);
    }
  }

  children = Array.from({ length: PROCESSES }, () => fork(import.meta.filename, [WORKER]));
  const exits = await Promise.all(
    children.map(async (child, at) => {
      child.on("message", (news: News | Report) => hear(child, at, news));
      const deals = tokens.map((token, slot) => ({ slot, token }));
      child.send({ ...place, process: at, seconds, deals } satisfies Orders);
      return await new Promise<number | null>((resolve) => child.once("exit", resolve));
    }),
  );

  await Promise.all(replacing.values());

  for (const what of ["calls", "errors"] as const) console.log(`${what}: ${summary(reports.map((one) => one[what]))}`);
  let failed = 0;
  for (const [name, check] of Object.entries(CHECKS)) {
    const wrong = await check({ place, store, tokens, reports, exits });
    if (wrong.length > 0) failed++;
    const some = wrong.slice(0, 10).join("; ");
    console.log(`${wrong.length === 0 ? "ok" : "FAILED"}: ${name}${some && `: ${wrong.length}: ${some}`}`);
  }
  await client.close();
  if (server === null) await clear(place);
  await server?.stop();
  console.log(`${Object.keys(CHECKS).length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function summary(counts: readonly Readonly<Record<string, number>>[]): string {
  const all: Record<string, number> = {};
  for (const each of counts) for (const [name, count] of Object.entries(each)) all[name] = (all[name] ?? 0) + count;
  const total = Object.values(all).reduce((sum, count) => sum + count, 0);
  return `${total} (${Object.entries(all)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ")})`;
}
