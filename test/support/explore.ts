import { setImmediate } from "node:timers";
import { type SessionBackend, SessionBackendError } from "../../src/index.ts";

/**
 * What can happen to a call instead of being performed normally: its caller crashes before or after it, its reply is
 * lost, or the caller gives up and the call is performed later.
 */
const FAULTS = ["crash-before", "crash-after", "lost-reply", "late"] as const;
type Kind = "perform" | (typeof FAULTS)[number];

/** A backend call that waits for its turn. */
interface Call {
  readonly actor: number;
  /** Identifies the call among the actor's calls, and is the same in every run. */
  readonly name: string;
  readonly method: string;
  readonly footprint: Footprint;
  readonly perform: () => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Whether its caller has given up on it. */
  late: boolean;
}

/** What a call reads or writes. `*` conflicts with every other place. */
interface Footprint {
  readonly place: string;
  readonly writes: boolean;
}

/** One possible next step of a run. */
interface Option {
  readonly call: Call;
  readonly kind: Kind;
  readonly name: string;
}

/** The result of one actor; `pending` if it crashed. */
export interface Outcome {
  readonly status: "pending" | "fulfilled" | "rejected";
  readonly value?: unknown;
  readonly reason?: unknown;
}

/** A call that was performed. */
export interface Performed {
  readonly actor: number;
  readonly method: string;
}

/** The actors and backend of one run; created anew for each order. */
export interface World {
  readonly backend: SessionBackend;
  /** Each gets a backend whose calls are scheduling points. Before it advances the clock, it calls `page("*", ...)`. */
  readonly actors: readonly ((backend: SessionBackend) => Promise<unknown>)[];
  /** Checks the invariants at the end of the run. */
  check(outcomes: readonly Outcome[], trace: readonly Performed[]): Promise<void>;
}

/** A point of a run with several possible next steps; kept from run to run. */
interface Point {
  taken: string;
  /** Options that were tried. */
  readonly done: string[];
  /**
   * Options that need not be tried: they were tried before an independent step, and the order of independent steps is
   * irrelevant (sleep sets, after Godefroid).
   */
  readonly sleep: ReadonlySet<string>;
  options: readonly string[];
}

/** Lets all pending callbacks run, without performing another backend call. */
const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function footprintOf(method: string, args: readonly unknown[]): Footprint {
  const [first] = args as [string];
  if (first === "*") return { place: "*", writes: true };
  if (method === "enter" || method === "extend" || method === "page" || method === "leave") {
    return { place: `index ${first}`, writes: method !== "page" };
  }
  return { place: `session ${first}`, writes: method !== "read" };
}

function independent(a: Option, b: Option): boolean {
  if (a.call.actor === b.call.actor) return false;
  if (a.kind !== "perform" && b.kind !== "perform") return false; // A run has at most one fault.
  const untouched = (one: Option): boolean => !one.call.late && (one.kind === "crash-before" || one.kind === "late");
  if (untouched(a) || untouched(b)) return true;
  const [x, y] = [a.call.footprint, b.call.footprint];
  if (x.place === "*" || y.place === "*") return false;
  return x.place !== y.place || !(x.writes || y.writes);
}

/** Runs along the given points and adds new ones. Returns false if the run is equivalent to an earlier one. */
async function run(world: World, points: Point[], faults: boolean): Promise<boolean> {
  const waiting: Call[] = [];
  const trace: Performed[] = [];
  const crashed = new Set<number>();
  const outcomes: Outcome[] = world.actors.map(() => ({ status: "pending" }));
  let faulty = false;
  let unsettled = world.actors.length;

  function backendOf(actor: number): SessionBackend {
    let calls = 0;
    const wrap =
      (method: string) =>
      (...args: unknown[]): Promise<unknown> =>
        new Promise((resolve, reject) => {
          if (crashed.has(actor)) return;
          const perform = (): Promise<unknown> => {
            trace.push({ actor, method });
            return (world.backend as never as Methods)[method]!(...args);
          };
          const name = `${actor}.${calls++} ${method}`;
          waiting.push({
            actor,
            name,
            method,
            footprint: footprintOf(method, args),
            perform,
            resolve,
            reject,
            late: false,
          });
        });
    return new Proxy(world.backend, {
      get(target, method) {
        if (method === "keys") return () => target.keys();
        return method in target ? wrap(String(method)) : undefined;
      },
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

  async function take({ call, kind }: Option): Promise<void> {
    if (kind === "late") {
      call.late = true;
    } else {
      waiting.splice(waiting.indexOf(call), 1);
    }
    if (kind === "perform") return await call.perform().then(call.resolve, call.reject);
    faulty = true;
    if (kind === "crash-after" || kind === "lost-reply") await call.perform().catch(() => {});
    if (kind === "crash-before" || kind === "crash-after") {
      crashed.add(call.actor);
      for (const other of waiting.filter(({ actor }) => actor === call.actor))
        waiting.splice(waiting.indexOf(other), 1);
      if (outcomes[call.actor]!.status === "pending") unsettled--;
    } else {
      call.reject(new SessionBackendError("The reply was lost", { reason: "unavailable", outcome: "unknown" }));
    }
  }

  for (let depth = 0, sleep: ReadonlySet<string> = new Set(); ; depth++) {
    await quiet();
    if (waiting.length === 0) {
      if (unsettled === 0) break;
      // An actor that waits for a timer, for example before a retry, continues later.
      await new Promise((resolve) => setTimeout(resolve, 1));
      depth--;
      continue;
    }
    const options = waiting.flatMap((call) => {
      const kinds: readonly Kind[] = faults && !faulty && !call.late ? ["perform", ...FAULTS] : ["perform"];
      return kinds.map((kind): Option => ({ call, kind, name: `${call.name} ${kind}${call.late ? "ed late" : ""}` }));
    });
    const names = options.map(({ name }) => name);
    const first = names.find((name) => !sleep.has(name));
    if (points[depth] === undefined) {
      if (first === undefined) return false;
      points.push({ taken: first, done: [], sleep, options: names });
    }
    const { taken, done } = points[depth]!;
    const option = options.find(({ name }) => name === taken);
    if (option === undefined) throw new Error(`The run is not repeatable: ${taken} is not among ${names.join(", ")}`);
    const asleep = options.filter(({ name }) => (sleep.has(name) || done.includes(name)) && name !== taken);
    sleep = new Set(asleep.filter((one) => independent(one, option)).map(({ name }) => name));
    await take(option);
  }
  try {
    await world.check(outcomes, trace);
  } catch (error) {
    (error as Error).message += `\n(in the order ${points.map(({ taken }) => taken).join(", ")})`;
    throw error;
  }
  return true;
}

/**
 * Runs all orders of the actors' calls, up to equivalence. With `faults`, also runs each order with one fault at every
 * point.
 *
 * @returns The number of schedules.
 */
export async function explore(makeWorld: () => Promise<World>, faults: boolean): Promise<number> {
  const points: Point[] = [];
  let count = 0;
  do {
    if (await run(await makeWorld(), points, faults)) count++;
  } while (advance(points));
  return count;
}

/** Moves to the next option of the deepest point that has one left. Returns false if there is none. */
function advance(points: Point[]): boolean {
  for (let point = points.pop(); point !== undefined; point = points.pop()) {
    point.done.push(point.taken);
    const next = point.options.find((name) => !point.sleep.has(name) && !point.done.includes(name));
    if (next === undefined) continue;
    point.taken = next;
    points.push(point);
    return true;
  }
  return false;
}

/**
 * Passes the time at which a call is performed, not the time at which it was made. A server does the same, and the call
 * may have been delayed on its way.
 */
export function timedOnArrival(backend: SessionBackend, now: () => number): SessionBackend {
  return {
    insert: (key, record, insertion) => backend.insert(key, record, insertion, now()),
    read: (key, access, request) => backend.read(key, { ...access, now: now() }, request),
    touch: (key, access) => backend.touch(key, { ...access, now: now() }),
    write: (key, access, change) => backend.write(key, { ...access, now: now() }, change),
    increment: (key, access, increment) => backend.increment(key, { ...access, now: now() }, increment),
    remove: (key, access, ...rest) => backend.remove(key, { ...access, now: now() }, ...rest),
    revoke: (key, entry, ending, tombstone) => backend.revoke(key, entry, ending, tombstone, now()),
    enter: (entry, key, life, count) => backend.enter(entry, key, life, count, now()),
    extend: (entry, key, life) => backend.extend(entry, key, life, now()),
    page: (entry, after, count) => backend.page(entry, after, count, now()),
    leave: (entry, members) => backend.leave(entry, members, now()),
    shared: (name) => backend.shared(name),
    keys: () => backend.keys(),
  };
}

type Methods = Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>;
