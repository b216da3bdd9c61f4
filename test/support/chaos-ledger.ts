/** The rules that must hold during every fault. */
export const CHECKS = {
  time: "every response arrives within 2000 ms for each store operation, plus 500 ms",
  answers: "every response is one that the demo can send",
  crash: "the server does not crash, exits cleanly when asked, and writes no stack trace",
  user: "nobody sees another user's session",
  counter: "counters contain each acknowledged increment once, and any other at most once",
  logout: "nobody is logged out of a session that Redis holds",
  lost: "no acknowledged session is missing unless it was ended",
  ended: "a session that has ended does not come back",
  cookie: "cookies are set on logins, rotations and logouts, and never on a failure",
  recovery: "requests work again within 3 s after the end of each fault",
  memory: "the memory of the server does not grow without limit",
} as const;

export type Check = keyof typeof CHECKS;

/** A completed request. Times are milliseconds of `performance.now()`. */
export interface Done {
  readonly route: string;
  /** 0 if there was no response. */
  readonly status: number;
  readonly from: number;
  readonly to: number;
}

/** A fault that was caused. */
export interface Disturbance {
  readonly kind: string;
  readonly from: number;
  /** Infinity while it lasts. */
  to: number;
  /** The end of the pause after it. */
  quietUntil: number;
  /** Whether acknowledged writes may be lost with a master. */
  readonly loses: boolean;
}

/** The record of a run. */
export interface Ledger {
  readonly requests: Done[];
  readonly disturbances: Disturbance[];
  readonly violations: Record<Check, string[]>;
  /** Events that are not violations but are reported, by kind. */
  readonly notes: Record<string, number>;
  violate(check: Check, what: string): void;
  note(what: string): void;
  /** Whether a write that was acknowledged at this time may have been lost with a master. */
  mayBeLost(since: number): boolean;
}

/** Replication lag, plus the time for which some node still reports the old master. */
const LOSS_MS = 3000;

export function openLedger(start: number): Ledger {
  const violations = Object.fromEntries(
    Object.keys(CHECKS).map((check) => [check, []]),
  ) as unknown as Ledger["violations"];
  const disturbances: Disturbance[] = [];
  const notes: Record<string, number> = {};
  return {
    requests: [],
    disturbances,
    violations,
    notes,
    violate(check, what) {
      const now = performance.now();
      const { kind, to } = disturbances.at(-1) ?? { kind: "nothing", to: 0 };
      const when = to > now ? `in ${kind}` : `${Math.round(now - to)} ms after ${kind}`;
      violations[check].push(`${((now - start) / 1000).toFixed(1)} s, ${when}: ${what}`);
      if (violations[check].length <= 5) console.log(`  violation (${check}) at ${violations[check].at(-1)}`);
    },
    note(what) {
      notes[what] = (notes[what] ?? 0) + 1;
    },
    mayBeLost: (since) => disturbances.some(({ loses, to }) => loses && since <= to + LOSS_MS),
  };
}

/** Measures how slow the machine is, to separate this from the slowness of the store. */
export interface LagMeter {
  /** Returns the worst lag in milliseconds. */
  between(from: number, to: number): number;
  stop(): void;
}

const PROBE_MS = 100;
const BUCKET_MS = 500;

/** @param probe A request that the server answers without the store. */
export function measureLag(probe: () => Promise<unknown>): LagMeter {
  const buckets = new Map<number, number>();
  const note = (from: number, lag: number): void => {
    for (let at = Math.floor(from / BUCKET_MS); at <= Math.floor((from + lag) / BUCKET_MS); at++) {
      buckets.set(at, Math.max(buckets.get(at) ?? 0, lag));
    }
  };
  const under = new Set<number>();
  let due = performance.now() + PROBE_MS;
  const timer = setInterval(async () => {
    const [from, now] = [Math.min(due, performance.now()), performance.now()];
    due = now + PROBE_MS;
    under.add(from);
    await probe();
    under.delete(from);
    note(from, performance.now() - from);
  }, PROBE_MS);
  return {
    between(from, to) {
      const present = Math.max(0, ...[...under].map((since) => performance.now() - since));
      let worst = present;
      for (let at = Math.floor(from / BUCKET_MS); at <= Math.floor(to / BUCKET_MS); at++) {
        worst = Math.max(worst, buckets.get(at) ?? 0);
      }
      return worst;
    },
    stop: () => clearInterval(timer),
  };
}

/** The environment of a simulated user. */
export interface World {
  readonly origin: string;
  readonly ledger: Ledger;
  readonly lag: LagMeter;
  /** Returns a random number from 0 to below 1. */
  random(): number;
  /** Returns the milliseconds between two steps. */
  think(): number;
  /** Returns fields of a session's hash, and waits until Redis replies. */
  lookUp(id: string, ...fields: string[]): Promise<(string | null)[]>;
  /** Whether the run is over. */
  isOver(): boolean;
}
