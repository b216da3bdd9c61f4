import { setImmediate } from "node:timers";
import { type SessionBackend, SessionBackendError } from "../../src/index.ts";

/** A call of a backend that waits for its turn. */
interface Call {
  readonly actor: number;
  readonly method: string;
  readonly perform: () => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What may happen to a call besides being performed: the caller dies before or after it, its answer is lost, or it is
 * given up and performed later all the same.
 */
export type Fault = "crash-before" | "crash-after" | "lost-reply" | "late";
const FAULTS: readonly Fault[] = ["crash-before", "crash-after", "lost-reply", "late"];

/** What one actor did. */
export interface Outcome {
  /** `pending` if the actor died. */
  readonly status: "pending" | "fulfilled" | "rejected";
  readonly value?: unknown;
  readonly reason?: unknown;
}

/** A call as it was performed. */
export interface Performed {
  readonly actor: number;
  readonly method: string;
}

/** A world to try orders in: made anew for each. */
export interface World {
  readonly backend: SessionBackend;
  /** One after the other started, then interleaved; each gets a backend whose calls are scheduling points. */
  readonly actors: readonly ((backend: SessionBackend) => Promise<unknown>)[];
  /** Holds what must hold when all is over. */
  check(outcomes: readonly Outcome[], trace: readonly Performed[]): Promise<void>;
}

/** Lets everything run that can run without another call being performed. */
const idle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs one schedule. Returns how many choices there were at each point, and which were taken. */
async function runSchedule(world: World, prefix: readonly number[], faults: boolean): Promise<Point[]> {
  const waiting: Call[] = [];
  const late: Call[] = [];
  const trace: Performed[] = [];
  const crashed = new Set<number>();
  const outcomes: Outcome[] = world.actors.map(() => ({ status: "pending" }));
  let fault: Fault | null = null;
  let unsettled = world.actors.length;

  function backendOf(actor: number): SessionBackend {
    const wrap =
      (method: string) =>
      (...args: unknown[]): Promise<unknown> =>
        new Promise((resolve, reject) => {
          if (crashed.has(actor)) return;
          const perform = (): Promise<unknown> => {
            trace.push({ actor, method });
            return (world.backend as never as Methods)[method]!(...args);
          };
          waiting.push({ actor, method, perform, resolve, reject });
        });
    return new Proxy(world.backend, {
      get: (target, method) => (method === "keys" ? target.keys : wrap(String(method))),
    });
  }

  for (const [at, actor] of world.actors.entries()) {
    const settle = (outcome: Outcome): void => {
      outcomes[at] = outcome;
      unsettled--;
    };
    actor(backendOf(at)).then(
      (value) => settle({ status: "fulfilled", value }),
      (reason) => settle({ status: "rejected", reason }),
    );
  }

  const points: Point[] = [];
  for (;;) {
    await idle();
    const calls = [...waiting, ...late];
    if (calls.length === 0) {
      if (unsettled === 0) break;
      // Whoever waits for time to pass, as before a further try, will be back.
      await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    const kinds: (Fault | "perform")[] = faults && fault === null ? ["perform", ...FAULTS] : ["perform"];
    const options = calls.flatMap((call) =>
      (late.includes(call) ? ["perform" as const] : kinds).map((kind) => ({ call, kind })),
    );
    const taken = prefix[points.length] ?? 0;
    points.push({ taken, options: options.length });
    const { call, kind } = options[taken]!;
    if (late.includes(call)) {
      late.splice(late.indexOf(call), 1);
      await call.perform().catch(() => {});
      continue;
    }
    waiting.splice(waiting.indexOf(call), 1);
    if (kind === "perform") {
      await call.perform().then(call.resolve, call.reject);
      continue;
    }
    fault = kind;
    if (kind === "crash-after" || kind === "lost-reply") await call.perform().catch(() => {});
    if (kind === "late") late.push(call);
    if (kind === "crash-before" || kind === "crash-after") {
      crashed.add(call.actor);
      for (let i = waiting.length - 1; i >= 0; i--) if (waiting[i]!.actor === call.actor) waiting.splice(i, 1);
      if (outcomes[call.actor]!.status === "pending") unsettled--;
    } else {
      call.reject(new SessionBackendError("The reply was lost", { reason: "unavailable", outcome: "unknown" }));
    }
  }
  try {
    await world.check(outcomes, trace);
  } catch (error) {
    (error as Error).message += `\n(schedule ${points.map(({ taken }) => taken).join(",")}, fault ${fault})`;
    throw error;
  }
  return points;
}

interface Point {
  readonly taken: number;
  readonly options: number;
}

/**
 * Takes the time when a call is performed, as a server does, and not when it was made: between the two a packet may have
 * been on its way.
 */
export function timedOnArrival(backend: SessionBackend, now: () => number): SessionBackend {
  return {
    insert: (key, record, _, notAfter) => backend.insert(key, record, now(), notAfter),
    read: (key, access, request) => backend.read(key, { ...access, now: now() }, request),
    write: (key, access, change) => backend.write(key, { ...access, now: now() }, change),
    increment: (key, access, increment) => backend.increment(key, { ...access, now: now() }, increment),
    remove: (key, access) => backend.remove(key, { ...access, now: now() }),
    revoke: (key, entry, tombstoneMs) => backend.revoke(key, entry, tombstoneMs, now()),
    enter: (entry, key, lifeMs, count) => backend.enter(entry, key, lifeMs, count, now()),
    page: (entry, after, count) => backend.page(entry, after, count, now()),
    leave: (entry, members) => backend.leave(entry, members, now()),
    keys: () => backend.keys(),
  };
}

type Methods = Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>;

/**
 * Runs every order of the calls of some actors, and with `faults` every order with one fault at every point.
 *
 * @returns How many schedules that were.
 */
export async function explore(makeWorld: () => Promise<World>, faults: boolean): Promise<number> {
  let prefix: number[] | null = [];
  let count = 0;
  while (prefix !== null) {
    const points: Point[] = await runSchedule(await makeWorld(), prefix, faults);
    count++;
    prefix = nextPrefix(points);
  }
  return count;
}

/** The deepest point with another option left, and that option. */
function nextPrefix(points: readonly Point[]): number[] | null {
  for (let at = points.length - 1; at >= 0; at--) {
    const { taken, options } = points[at]!;
    if (taken + 1 < options) return [...points.slice(0, at).map((point) => point.taken), taken + 1];
  }
  return null;
}
