import type { Runtime } from "./runtimes.ts";

/** The applications in `apps.ts`. */
export const APPS = ["no sessions", "connect-redis", "zession 0.1.0", "zession, every read due", "zession"] as const;
export const DISTANT = "1 ms away";

/** A situation in which the applications are compared. */
export interface Situation {
  readonly runtime: Runtime;
  readonly connections: number;
  /** Arrivals per second; `null` for a closed loop. */
  readonly arrivals: number | null;
  readonly where: "" | typeof DISTANT;
}

/** One turn of an application. Times are in microseconds, and processor times are per request. */
export interface Turn {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  readonly server: number;
  readonly redis: number;
  readonly commands: number;
}

/** The medians of an application in a situation, as the charts use them. */
export interface Result extends Situation, Turn {
  readonly app: string;
}
