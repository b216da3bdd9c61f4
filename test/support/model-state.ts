import { type Data, entriesOf } from "./model-data.ts";

/** How the store is set up that the model stands for. Times in seconds. */
export interface Rules {
  readonly idleTimeout: number;
  readonly absoluteTimeout: number | undefined;
  readonly touchInterval: number;
  readonly indexed: boolean;
  readonly limit: "evict-oldest" | "reject" | null;
  readonly refined: boolean;
}

/** Of sessions of one user, where there is a limit. */
export const MAX_SESSIONS = 2;

/** A session as the model knows it. Times in Unix milliseconds. */
export interface ModelSession {
  readonly id: string;
  /** All it ever had; the last one opens. */
  readonly tokens: string[];
  readonly createdAt: number;
  readonly deadline: number | null;
  data: Data;
  lastAccessedAt: number;
  authenticatedAt: number | null;
  idleTimeout: number;
  /** When it last got another token. */
  rotatedAt: number | null;
  /** Until when the token before the last one opens, too. */
  grace: number | null;
  /** Its last millisecond, unless it is touched before. */
  end: number;
  ended: boolean;
}

/** For so long a member of an index may be one whose session is yet to come. */
const PENDING_MS = 60_000;

export type State = ReturnType<typeof stateOf>;

/**
 * Sessions on plain objects, who reaches them, and what is reported of them.
 *
 * @param start Unix milliseconds.
 * @param aging Do members of an index get older as the clock is moved?
 */
export function stateOf(rules: Rules, start: number, aging: boolean) {
  let now = start;
  let events: Record<string, unknown>[] = [];
  const sessions: ModelSession[] = [];
  /** When which id was entered, in order; ids that were taken out are missing. */
  const entered = new Map<string, Map<string, number>>();

  const report = (type: string, { id }: ModelSession, more: object = {}) =>
    events.push({ type, id, at: new Date(now), ...more });
  const isLive = ({ ended, end, deadline }: ModelSession): boolean =>
    !ended && now <= end && (deadline === null || now < deadline);
  /** At its deadline a session has ended, but its record is there for another millisecond: it may still be reported. */
  const isLingering = ({ ended, end, deadline }: ModelSession): boolean => !ended && now === end && now === deadline;
  const entries = ({ data }: ModelSession): string[] => (rules.indexed ? entriesOf(data) : []);
  const isUnder = (session: ModelSession, entry: string): boolean =>
    isLive(session) && entries(session).includes(entry);
  const members = (entry: string): Map<string, number> => {
    if (!entered.has(entry)) entered.set(entry, new Map());
    return entered.get(entry) as Map<string, number>;
  };
  /** In the order in which they were entered. */
  const under = (entry: string): ModelSession[] =>
    [...members(entry).keys()]
      .map((id) => sessions.find((session) => session.id === id))
      .filter((session) => session !== undefined)
      .filter((session) => isUnder(session, entry));

  function snapshot(session: ModelSession) {
    const { id, data, createdAt, lastAccessedAt, authenticatedAt, idleTimeout, end, deadline } = session;
    return {
      id,
      data: structuredClone(data),
      createdAt: new Date(createdAt),
      lastAccessedAt: new Date(lastAccessedAt),
      authenticatedAt: new Date(authenticatedAt ?? createdAt),
      idleTimeout,
      expiresAt: new Date(end),
      deadline: deadline === null ? null : new Date(deadline),
    };
  }

  /** What a token reaches: with `now` its own session, and whether it is only let in by the grace. */
  function reach(token: string): { readonly session: ModelSession; readonly graced: boolean } | null {
    const session = sessions.find(({ tokens }) => tokens.includes(token));
    const age = session ? session.tokens.length - 1 - session.tokens.indexOf(token) : 2;
    if (session === undefined || age > 1 || !(isLive(session) || isLingering(session))) return null;
    if (isLingering(session)) {
      if (age === 1) report("reused", session, { rotatedAt: new Date(session.rotatedAt as number), maybe: true });
      return null;
    }
    if (age === 0 || (session.grace !== null && now < session.grace)) return { session, graced: age === 1 };
    report("reused", session, { rotatedAt: new Date(session.rotatedAt as number) });
    return null;
  }

  function touch(session: ModelSession): void {
    session.lastAccessedAt = now;
    session.end = Math.min(now + session.idleTimeout * 1000, session.deadline ?? Number.POSITIVE_INFINITY);
  }

  function enter({ id, data }: ModelSession, next: Data): void {
    const held = entriesOf(data);
    for (const entry of entriesOf(next).filter((entry) => !held.includes(entry))) {
      members(entry).delete(id);
      members(entry).set(id, now);
    }
  }

  function rewrite(session: ModelSession, next: Data): void {
    enter(session, next);
    session.data = next;
  }

  function end(session: ModelSession, entries: readonly string[]): void {
    session.ended = true;
    for (const entry of entries) members(entry).delete(session.id);
  }

  /** May a session of this user be refused, and must it? */
  function room(entry: string): "free" | "full" | "unsure" {
    const live = under(entry).length;
    if (live >= MAX_SESSIONS) return "full";
    const isPending = (at: number): boolean => !aging || now - at <= PENDING_MS;
    const there = sessions.filter((one) => isUnder(one, entry)).map(({ id }) => id);
    const pending = [...members(entry)].filter(([id, at]) => !there.includes(id) && isPending(at));
    return live + pending.length < MAX_SESSIONS ? "free" : "unsure";
  }

  function makeRoom(entry: string): void {
    for (const session of under(entry).slice(0, Math.max(0, under(entry).length + 1 - MAX_SESSIONS))) {
      end(session, [entry]);
      report("revoked", session, { reason: "limit" });
    }
  }

  return {
    sessions,
    now: () => now,
    advance(milliseconds: number) {
      now += milliseconds;
    },
    takeEvents() {
      const taken = events;
      events = [];
      return taken;
    },
    isLive,
    isLingering,
    entries,
    snapshot,
    under,
    room,
    makeRoom,
    reach,
    report,
    touch,
    enter,
    rewrite,
    end,
  };
}
