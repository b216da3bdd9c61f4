import { type Data, entriesOf } from "./model-data.ts";

/** The options of the store that the model imitates. Times in seconds. */
export interface Rules {
  readonly idleTimeout: number;
  readonly absoluteTimeout: number | undefined;
  readonly touchInterval: number;
  readonly indexed: boolean;
  readonly limit: "evict-oldest" | "reject" | null;
  readonly refined: boolean;
}

/** The maximum number of sessions of one user if there is a limit. */
export const MAX_SESSIONS = 2;

/** A session as the model knows it. Times in Unix milliseconds. */
export interface ModelSession {
  readonly id: string;
  /** All tokens of the session; the last one is the current one. */
  readonly tokens: string[];
  readonly createdAt: number;
  /** The absolute timeout. */
  readonly deadline: number | null;
  /** Whether `create` was given the absolute timeout. */
  readonly ownDeadline: boolean;
  /** The stored deadline: the absolute timeout, or earlier, the time until which the indexes hold the session. */
  cutoff: number | null;
  /** How often the index entries changed; `null` as long as there were none. */
  moves: number | null;
  data: Data;
  lastAccessedAt: number;
  authenticatedAt: number | null;
  idleTimeout: number;
  /** The time of the last rotation. */
  rotatedAt: number | null;
  /** The time until which the previous token is valid, too. */
  grace: number | null;
  /** The last millisecond of the session, unless it is touched before. */
  end: number;
  ended: boolean;
}

/** How long an index member without a session may belong to a session that is being created. */
const PENDING_MS = 60_000;

export type State = ReturnType<typeof stateOf>;

/**
 * The model's state: sessions as plain objects, their tokens and the reported events.
 *
 * @param start Unix milliseconds.
 * @param aging Whether advancing the clock also ages the members of an index.
 */
export function stateOf(rules: Rules, start: number, aging: boolean) {
  let now = start;
  let events: Record<string, unknown>[] = [];
  const sessions: ModelSession[] = [];
  /** For each index entry, the times at which session IDs were entered, in order, without removed IDs. */
  const entered = new Map<string, Map<string, number>>();

  const report = (type: string, { id }: ModelSession, more: object = {}) =>
    events.push({ type, id, at: new Date(now), ...more });
  const isLive = ({ ended, end, cutoff }: ModelSession): boolean =>
    !ended && now <= end && (cutoff === null || now < cutoff);
  /** At its deadline a session has ended, but its record exists for another millisecond and may still be reported. */
  const isLingering = ({ ended, end, cutoff }: ModelSession): boolean => !ended && now === end && now === cutoff;
  const entries = ({ data }: ModelSession): string[] => (rules.indexed ? entriesOf(data) : []);
  const isUnder = (session: ModelSession, entry: string): boolean =>
    isLive(session) && entries(session).includes(entry);
  const members = (entry: string): Map<string, number> => {
    if (!entered.has(entry)) entered.set(entry, new Map());
    return entered.get(entry) as Map<string, number>;
  };
  /** The sessions of an index entry, in the order in which they were entered. */
  const under = (entry: string): ModelSession[] =>
    [...members(entry).keys()]
      .map((id) => sessions.find((session) => session.id === id))
      .filter((session) => session !== undefined)
      .filter((session) => isUnder(session, entry));

  function snapshot(session: ModelSession) {
    const { id, data, createdAt, lastAccessedAt, authenticatedAt, idleTimeout, cutoff, deadline } = session;
    const idleEnd = lastAccessedAt + idleTimeout * 1000;
    return {
      id,
      data: structuredClone(data),
      createdAt: new Date(createdAt),
      lastAccessedAt: new Date(lastAccessedAt),
      authenticatedAt: authenticatedAt === null ? null : new Date(authenticatedAt),
      idleTimeout,
      expiresAt: new Date(Math.min(idleEnd, cutoff ?? Number.POSITIVE_INFINITY)),
      deadline: deadline === null ? null : new Date(deadline),
    };
  }

  /** The session of a token, and whether the token is valid only by the grace period; `null` if it is invalid. */
  function reach(token: string): { readonly session: ModelSession; readonly graced: boolean } | null {
    const session = sessions.find(({ id }) => id === token.slice(0, 22));
    if (token.length !== 66 || session === undefined || !(isLive(session) || isLingering(session))) return null;
    const at = session.tokens.indexOf(token);
    const age = at === -1 ? 2 : session.tokens.length - 1 - at;
    if (age > 1) {
      report("wrong-secret", session, isLingering(session) ? { maybe: true } : {});
      return null;
    }
    if (isLingering(session)) {
      if (age === 1) report("reused", session, { rotatedAt: new Date(session.rotatedAt as number), maybe: true });
      return null;
    }
    if (age === 0 || (session.grace !== null && now < session.grace)) return { session, graced: age === 1 };
    report("reused", session, { rotatedAt: new Date(session.rotatedAt as number) });
    return null;
  }

  /** Until when new entries hold a session. */
  const covered = ({ idleTimeout, deadline }: ModelSession): number =>
    Math.min(now + idleTimeout * 1500, deadline ?? Number.POSITIVE_INFINITY);

  /** Whether an answer does not wait for what lengthens the session's life. */
  const isFarFromEnd = ({ lastAccessedAt, idleTimeout, cutoff }: ModelSession): boolean =>
    Math.min(lastAccessedAt + idleTimeout * 1000, cutoff ?? Number.POSITIVE_INFINITY) - now > idleTimeout * 500;

  /** Restarts the idle timeout. */
  function touch(session: ModelSession): ReturnType<typeof snapshot> {
    const idleEnd = now + session.idleTimeout * 1000;
    session.lastAccessedAt = now;
    const last = Math.min(idleEnd, session.deadline ?? Number.POSITIVE_INFINITY);
    if (session.cutoff !== null && session.cutoff < last) session.cutoff = covered(session);
    session.end = Math.min(idleEnd, session.cutoff ?? Number.POSITIVE_INFINITY);
    return snapshot(session);
  }

  function enter({ id, data }: ModelSession, next: Data): void {
    const held = entriesOf(data);
    for (const entry of entriesOf(next).filter((entry) => !held.includes(entry))) {
      members(entry).delete(id);
      members(entry).set(id, now);
    }
  }

  /** A session that a limit rejects leaves only the indexes that it was not in before. */
  function stay({ id, data }: ModelSession, next: Data): void {
    for (const entry of entriesOf(next).filter((entry) => !entriesOf(data).includes(entry))) {
      if (members(entry).delete(id)) members(entry).set(id, now);
    }
  }

  function rewrite(session: ModelSession, next: Data): void {
    const [held, entries] = [entriesOf(session.data), entriesOf(next)];
    enter(session, next);
    session.data = next;
    const isSame = held.length === entries.length && held.every((entry) => entries.includes(entry));
    if (!rules.indexed || isSame) return;
    session.moves = session.moves === null ? 1 : session.moves + 1;
    if (entries.length === 0) session.cutoff = session.deadline;
    else if (entries.some((entry) => !held.includes(entry))) {
      session.cutoff = Math.min(session.cutoff ?? Number.POSITIVE_INFINITY, covered(session));
    }
  }

  function end(session: ModelSession, entries: readonly string[]): void {
    session.ended = true;
    for (const entry of entries) members(entry).delete(session.id);
  }

  /** Whether a new session of this user must be accepted, must be rejected, or either. */
  function room(entry: string, own?: string): "free" | "full" | "unsure" {
    const live = under(entry).length;
    if (live >= MAX_SESSIONS) return "full";
    const isPending = (at: number): boolean => !aging || now - at <= PENDING_MS;
    const there = sessions.filter((one) => isUnder(one, entry)).map(({ id }) => id);
    const pending = [...members(entry)].filter(([id, at]) => id !== own && !there.includes(id) && isPending(at));
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
    isFarFromEnd,
    entries,
    snapshot,
    under,
    room,
    makeRoom,
    reach,
    report,
    touch,
    enter,
    stay,
    rewrite,
    end,
  };
}
