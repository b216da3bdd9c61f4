import { randomUUID } from "node:crypto";
import process from "node:process";
import { SessionBackendError, SessionConflictError } from "../../src/index.ts";
import { allListed } from "./members.ts";
import {
  any,
  type Deal,
  idOf,
  type News,
  ownField,
  type Place,
  type Report,
  SESSIONS,
  storeAt,
  type Tally,
  USERS,
} from "./stress-store.ts";

/** The task of a process. */
export interface Orders extends Place {
  readonly process: number;
  readonly seconds: number;
  readonly deals: readonly Deal[];
}

/** The number of concurrent calls. */
const LANES = 6;
const REMEMBERED = 20_000;

/** Uses the shared sessions, and some of its own, until the time is over. */
export async function work(orders: Orders): Promise<Report> {
  const own = ownField(orders.process);
  const { client, store } = await storeAt(orders, orders.process % 2 === 0 ? 0 : 5);
  const tokens: (string | null)[] = [];
  const tallies = new Map<string, Tally>();
  const calls: Record<string, number> = {};
  const errors: Record<string, number> = {};
  const taken: string[] = [];
  const ended: string[] = [];
  const writing = new Set<number>();
  let value = 0;

  const tell = (news: News): void => void process.send?.(news);
  const remember = (list: string[], text: string): void => {
    list.push(text);
    if (list.length > REMEMBERED) list.shift();
  };
  function deal({ slot, token }: Deal): void {
    const before = tokens[slot];
    if (before && idOf(before) !== idOf(token)) tallies.delete(idOf(before));
    if (!tallies.has(idOf(token))) {
      tallies.set(idOf(token), { hits: 0, turns: 0, unknownHits: 0, unknownTurns: 0, own: 0 });
    }
    tokens[slot] = token;
  }
  for (const one of orders.deals) deal(one);
  process.on("message", deal);
  process.once("disconnect", () => process.exit(1));

  type Act = (token: string, slot: number) => Promise<unknown>;
  /** Records the outcome of a call for the session, unless the session was replaced meanwhile. */
  async function counted<R>(
    token: string,
    call: () => Promise<R | null>,
    note: (tally: Tally, result: R | "unknown") => void,
  ): Promise<R | null> {
    const tally = tallies.get(idOf(token));
    try {
      const result = await call();
      if (tally !== undefined && result !== null) note(tally, result);
      return result;
    } catch (error) {
      const open = error instanceof SessionBackendError && error.outcome === "unknown";
      if (tally !== undefined && open) note(tally, "unknown");
      throw error;
    }
  }
  const addTurn = (tally: Tally, result: unknown): void => {
    if (result === "unknown") tally.unknownTurns++;
    else tally.turns++;
  };
  const turn = ({ turns }: { readonly turns: number }) => ({ turns: turns + 1 });
  const note = (result: boolean, token: string): boolean => {
    if (result) remember(ended, idOf(token));
    return result;
  };
  async function rotate(slot: number, token: string, rotating: ReturnType<typeof store.rotate>): Promise<unknown> {
    const issued = await rotating;
    if (issued === null) return null;
    if (tokens[slot] === token) tokens[slot] = issued.token;
    tell({ slot, from: token, to: issued.token });
    return issued;
  }

  const acts: Record<string, [weight: number, act: Act]> = {
    get: [250, (token) => store.get(token)],
    peek: [40, (token) => store.peek(token)],
    patch: [60, (token) => store.update(token, { theme: any(["light", "dark"]) })],
    ownField: [
      100,
      async (token, slot) => {
        // One write at a time, so that the last value is known.
        if (writing.has(slot)) return;
        writing.add(slot);
        const mine = ++value;
        const write = () => store.update(token, { [own]: mine });
        return await counted(token, write, (tally, result) => {
          tally.own = result === "unknown" || tally.own === null ? null : mine;
        }).finally(() => writing.delete(slot));
      },
    ],
    turn: [100, (token) => counted(token, () => store.update(token, turn), addTurn)],
    hit: [
      200,
      async (token) => {
        const by = any([1, 1, 5, 7]);
        return await counted(
          token,
          () => store.increment(token, "hits", by),
          (tally, result) => {
            if (result === "unknown") tally.unknownHits += by;
            else tally.hits += by;
          },
        );
      },
    ],
    putCode: [30, (token) => store.update(token, { code: randomUUID() })],
    takeCode: [
      60,
      async (token) => {
        const code = await store.take(token, "code");
        if (code !== null) remember(taken, code);
      },
    ],
    move: [60, (token) => store.update(token, { userId: any(USERS) })],
    setIdleTimeout: [10, (token) => store.setIdleTimeout(token, any([300, 600, 900]))],
    rotate: [30, (token, slot) => rotate(slot, token, store.rotate(token, { grace: any([0, 0, 2]) }))],
    rotateAndTurn: [10, async (token, slot) => await counted(token, async () => await turned(token, slot), addTurn)],
    visit: [
      40,
      async () => {
        const { token } = await store.create({ userId: any(USERS) }, { idleTimeout: any([5, 600]) });
        await store.increment(token, "hits");
        if (Math.random() < 0.9) note(await store.destroy(token), token);
      },
    ],
    list: [10, () => allListed(store, { user: any(USERS) }, { limit: 10 })],
    count: [10, () => store.count({ user: any(USERS) })],
    updateAll: [2, () => store.updateAll({ user: any(USERS) }, { theme: "blue" })],
    destroy: [1.5, async (token) => note(await store.destroy(token), token) || null],
    revoke: [1.5, async (token) => note(await store.revoke(idOf(token)), token) || null],
    revokeAll: [0.5, () => store.revokeAll({ user: any(USERS) })],
  };
  const turned = (token: string, slot: number) => rotate(slot, token, store.rotate(token, { patch: turn }));
  const names = Object.keys(acts);
  // Each operation occurs in proportion to its weight, which is a multiple of one half.
  const drum = names.flatMap((name) => Array.from({ length: 2 * (acts[name]?.[0] ?? 0) }, () => name));

  const end = Date.now() + orders.seconds * 1000;
  async function lane(): Promise<void> {
    while (Date.now() < end) {
      const slot = Math.floor(Math.random() * SESSIONS);
      const token = tokens[slot];
      if (!token) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      const name = any(drum);
      calls[name] = (calls[name] ?? 0) + 1;
      try {
        const result = await acts[name]?.[1](token, slot);
        if (result !== null || tokens[slot] !== token) continue;
        tokens[slot] = null;
        tell({ slot, lost: token });
      } catch (error) {
        const kind = kindOf(error);
        errors[kind] = (errors[kind] ?? 0) + 1;
      }
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane));
  await client.close();
  return { calls, errors, tallies: Object.fromEntries(tallies), taken, ended };
}

function kindOf(error: unknown): string {
  if (error instanceof SessionConflictError) return `${error.name} ${error.reason}`;
  if (!(error instanceof SessionBackendError)) return String(error);
  return `${error.name} ${error.reason}${error.cause === undefined ? "" : `: ${error.cause}`}`;
}
