import {
  type Data,
  entriesOf,
  fieldsFit,
  filledIn,
  MAX_VIEWS,
  MIN_VIEWS,
  type Patch,
  patched,
  STEP,
} from "./model-data.ts";
import { type ModelSession, type Rules, stateOf } from "./model-state.ts";

/** The result of a call: its value, or the kind of its error. */
export type Outcome = { readonly value: unknown } | { readonly error: string };

export type Change = Patch | ((data: Readonly<Data>) => Patch);
interface Issued {
  readonly token: string;
  readonly session: { readonly id: string };
}
interface Rotation {
  readonly patch?: Change | undefined;
  readonly idleTimeout?: number | undefined;
  readonly authenticated?: true | undefined;
  readonly grace?: number | undefined;
}

const ABSENT: Outcome = { value: null };
const UNFIT: Outcome = { error: "SessionDataError given" };
const FULL = { error: "SessionConflictError limit" } as const;
const OUT_OF_RANGE: Outcome = { error: "RangeError" };
const TOKEN = /^[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/;

export type Model = ReturnType<typeof modelOf>;

/**
 * A session store on plain objects, which predicts results and events. It takes tokens and session IDs from the real
 * store.
 *
 * @param start Unix milliseconds.
 * @param aging Whether advancing the clock also ages the members of an index.
 */
export function modelOf(rules: Rules, start: number, aging: boolean) {
  const state = stateOf(rules, start, aging);
  const { sessions, now, isLive, isLingering, snapshot, under, reach, report, touch, enter, stay, rewrite, end } =
    state;

  const after = (data: Data, change: Change): Data | null =>
    patched(data, typeof change === "function" ? change(structuredClone(data)) : change, rules.refined);
  const outOfRange = (seconds: number | undefined): boolean =>
    seconds !== undefined && !(Number.isInteger(seconds) && seconds >= 1 && seconds < 2 ** 31);

  /** The index entry with a limit that the change moves the session to; `null` if there is none. */
  function limitedMove({ data }: ModelSession, next: Data): string | null {
    const isMove = next.userId !== undefined && next.userId !== data.userId;
    return rules.indexed && rules.limit !== null && isMove ? `user:${next.userId}` : null;
  }

  /** Whether a limit lets the session move. May end other sessions. */
  function admits(session: ModelSession, next: Data, actual: Outcome): boolean {
    const entry = limitedMove(session, next);
    if (entry === null || rules.limit !== "reject") return true;
    const left = state.room(entry, session.id);
    if (left === "free" || (left === "unsure" && !("error" in actual && actual.error === FULL.error))) return true;
    stay(session, next);
    report("conflict", session);
    return false;
  }

  function evict(session: ModelSession, next: Data): void {
    const entry = limitedMove(session, next);
    if (entry !== null && rules.limit === "evict-oldest") state.makeRoom(entry);
  }

  /** Changes the session of a token, as most operations do. */
  function changing(
    token: string,
    change: Change,
    actual: Outcome,
    answer: (session: ModelSession, before: Data) => unknown,
  ): Outcome {
    if (!TOKEN.test(token)) return ABSENT;
    if (typeof change !== "function" && !fieldsFit(change)) return UNFIT;
    const session = reach(token)?.session;
    if (session === undefined) return ABSENT;
    const before = session.data;
    const next = after(before, change);
    if (next === null) return UNFIT;
    if (!admits(session, next, actual)) return FULL;
    evict(session, next);
    rewrite(session, next);
    const value = answer(session, before);
    const touched = touch(session);
    return { value: value === session ? touched : value };
  }

  return {
    ...state,
    /** @param issued The result of the real store, or `null` if it failed. */
    create(
      given: Patch,
      options: {
        idleTimeout?: number | undefined;
        absoluteTimeout?: number | undefined;
        authenticated?: true | undefined;
      },
      issued: Issued | null,
    ): Outcome {
      const { idleTimeout = rules.idleTimeout } = options;
      const { absoluteTimeout = rules.absoluteTimeout } = options;
      if (outOfRange(idleTimeout) || outOfRange(absoluteTimeout)) return OUT_OF_RANGE;
      if (absoluteTimeout !== undefined && idleTimeout > absoluteTimeout) return OUT_OF_RANGE;
      const data = filledIn(given, rules.refined);
      if (data === null) return UNFIT;
      const user = rules.indexed && data.userId !== undefined && rules.limit !== null ? `user:${data.userId}` : null;
      if (user !== null && rules.limit === "reject") {
        const left = state.room(user);
        if (left === "full" || (left === "unsure" && issued === null)) return FULL;
      }
      if (issued === null) return { value: "a session" };
      if (user !== null && rules.limit === "evict-oldest") state.makeRoom(user);
      const deadline = absoluteTimeout === undefined ? null : now() + absoluteTimeout * 1000;
      const session: ModelSession = {
        id: issued.session.id,
        tokens: [issued.token],
        rotatedAt: null,
        createdAt: now(),
        deadline,
        ownDeadline: options.absoluteTimeout !== undefined,
        cutoff: deadline,
        moves: null,
        data: { ...data, userId: undefined, tags: [] },
        lastAccessedAt: now(),
        authenticatedAt: options.authenticated ? now() : null,
        idleTimeout,
        grace: null,
        end: now(),
        ended: false,
      };
      sessions.push(session);
      rewrite(session, data);
      if (session.moves !== null) session.moves = 0;
      touch(session);
      report("created", session);
      return { value: { token: issued.token, session: snapshot(session) } };
    },

    get(token: string): Outcome {
      const session = reach(token)?.session;
      if (session === undefined) return ABSENT;
      const age = now() - session.lastAccessedAt;
      if (age < Math.min(rules.touchInterval * 1000, session.idleTimeout * 10)) return { value: snapshot(session) };
      const [read, isBehind] = [snapshot(session), state.isFarFromEnd(session)];
      const touched = touch(session);
      return { value: isBehind ? read : touched };
    },

    peek(token: string): Outcome {
      const session = reach(token)?.session;
      return session === undefined ? ABSENT : { value: snapshot(session) };
    },

    update: (token: string, change: Change, actual: Outcome): Outcome =>
      changing(token, change, actual, (session) => session),

    increment(token: string, field: "views" | "steps", by: number, actual: Outcome): Outcome {
      if (!Number.isSafeInteger(by)) return OUT_OF_RANGE;
      const add = (data: Readonly<Data>): Patch => {
        const sum = data[field] + by;
        const [min, max] =
          field === "views" ? [MIN_VIEWS, MAX_VIEWS] : [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
        return { [field]: sum < min || sum > max || (field === "steps" && sum % STEP !== 0) ? null : sum };
      };
      return changing(token, add, actual, ({ data }) => data[field]);
    },

    take: (token: string, field: "flash" | "userId", actual: Outcome): Outcome =>
      changing(token, { [field]: undefined }, actual, (_, before) => before[field] ?? null),

    setIdleTimeout(token: string, seconds: number, actual: Outcome): Outcome {
      if (outOfRange(seconds)) return OUT_OF_RANGE;
      return changing(token, {}, actual, (session) => {
        session.idleTimeout = seconds;
        return session;
      });
    },

    /** @param issued The result of the real store, or `null` if it failed. */
    rotate(token: string, options: Rotation, issued: Issued | null, actual: Outcome): Outcome {
      const { patch = {}, idleTimeout, authenticated, grace = 0 } = options;
      if (outOfRange(idleTimeout) || grace >= rules.idleTimeout || grace > 60) return OUT_OF_RANGE;
      const isChange = options.patch !== undefined || idleTimeout !== undefined || authenticated === true;
      if (isChange && grace > 0) return { error: "TypeError" };
      if (!TOKEN.test(token)) return ABSENT;
      if (typeof patch !== "function" && !fieldsFit(patch)) return UNFIT;
      const reached = reach(token);
      if (reached === null) return ABSENT;
      const { session, graced } = reached;
      const next = after(session.data, patch);
      if (next === null) return UNFIT;
      if (!admits(session, next, actual)) return FULL;
      if (graced) {
        enter(session, next);
        return ABSENT;
      }
      if (issued === null) return { value: "a new token" };
      evict(session, next);
      session.idleTimeout = idleTimeout ?? session.idleTimeout;
      rewrite(session, next);
      session.tokens.push(issued.token);
      session.rotatedAt = now();
      session.grace = grace > 0 ? now() + grace * 1000 : null;
      if (authenticated) session.authenticatedAt = now();
      const touched = touch(session);
      report("rotated", session);
      return { value: { token: issued.token, session: touched } };
    },

    destroy(token: string): Outcome {
      const session = reach(token)?.session;
      if (session === undefined) return { value: false };
      end(session, entriesOf(session.data));
      report("destroyed", session);
      return { value: true };
    },

    revoke(id: string): Outcome {
      const session = sessions.find((one) => one.id === id);
      if (session === undefined || !isLive(session)) return { value: false };
      end(session, entriesOf(session.data));
      report("revoked", session, { reason: "id" });
      return { value: true };
    },

    revokeAll(entry: string, except: string | null, actual: Outcome): Outcome {
      const ended = under(entry).filter(({ id }) => id !== except);
      for (const session of ended) {
        end(session, [entry]);
        report("revoked", session, { reason: "index" });
      }
      const over = sessions.filter(
        (one) => isLingering(one) && state.entries(one).includes(entry) && one.id !== except,
      );
      for (const session of over) report("revoked", session, { reason: "index", maybe: true });
      const count = "value" in actual ? Number(actual.value) : 0;
      return { value: Math.min(Math.max(count, ended.length), ended.length + over.length) };
    },

    /**
     * Whether the change fits only some of the sessions, or a limit may apply to it. Which of them are written before the
     * error, and which are ended, is unspecified.
     */
    isMixed(entry: string, change: Change): boolean {
      const next = under(entry).map((session) => [session, after(session.data, change)] as const);
      if (next.some(([session, data]) => data !== null && limitedMove(session, data) !== null)) return true;
      const unfit = next.filter(([, data]) => data === null).length;
      return unfit > 0 && unfit < under(entry).length;
    },

    updateAll(entry: string, change: Change): Outcome {
      if (typeof change !== "function" && !fieldsFit(change)) return UNFIT;
      const there = under(entry);
      const next = there.map(({ data }) => after(data, change));
      if (next.includes(null)) return UNFIT;
      for (const [at, session] of there.entries()) rewrite(session, next[at] as Data);
      return { value: there.length };
    },
  };
}
