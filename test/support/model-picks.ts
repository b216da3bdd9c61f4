import type { Model } from "./model.ts";
import type { ModelSession, Rules } from "./model-state.ts";
import type { TokenOf, Until } from "./model-steps.ts";

/** Picks a live session that has had at least `tokens` tokens, if there is one, counted from the newest. */
export function pick(
  { sessions, isLive }: Model,
  { session, any }: { readonly session: number; readonly any?: boolean },
  tokens = 1,
): ModelSession | null {
  const live = sessions.filter(isLive);
  const fitting = live.filter((one) => one.tokens.length >= tokens);
  const among = [fitting, live].find((some) => !any && some.length > 0) ?? sessions;
  return among.at(-1 - (session % among.length)) ?? null;
}

const UNKNOWN = `${"i".repeat(22)}.${"s".repeat(43)}`;

export function tokenOf(model: Model, of: TokenOf): string {
  const session = pick(model, of, { previous: 2, older: 3 }[of.token as string]);
  if (session === null || of.token === "unknown") return UNKNOWN;
  const current = session.tokens.at(-1) as string;
  const other = model.sessions.find(({ id }) => id !== session.id)?.tokens.at(-1) ?? UNKNOWN;
  switch (of.token) {
    case "current":
      return current;
    case "previous":
      return session.tokens.at(-2) ?? current;
    case "older":
      return session.tokens.at(-3) ?? session.tokens[0] ?? current;
    case "wrong secret":
      return `${session.id}.${"w".repeat(43)}`;
    case "another's secret":
      return `${session.id}.${other.slice(23)}`;
    case "malformed":
      return `${current}=`;
  }
}

/** The length of a clock step in milliseconds. */
export function timeUntil(until: Until, model: Model, { touchInterval }: Rules, blur: number): number {
  if ("seconds" in until) return keptOff(until.seconds * 1000, model, blur);
  if ("ms" in until) return keptOff(until.ms, model, blur);
  const session = pick(model, until, until.end === "grace" ? 2 : 1);
  if (session === null) return 0;
  const { end, deadline, grace, idleTimeout, lastAccessedAt } = session;
  const touch = lastAccessedAt + Math.min(touchInterval * 1000, idleTimeout * 10);
  const moment = { idle: end, deadline, grace, touch }[until.end] ?? 0;
  const beside = { before: -Math.max(1, blur), at: 0, after: 1 }[until.side];
  return keptOff(Math.max(0, moment + beside - model.now()), model, blur);
}

/** Lengthens the time so that it ends at least `blur` away from the end of any session: a server's clock may differ. */
function keptOff(milliseconds: number, { sessions, isLive, now }: Model, blur: number): number {
  const ends = sessions.filter(isLive).flatMap(({ end, deadline }) => (deadline === null ? [end] : [end, deadline]));
  const near = ends.find((end) => Math.abs(end - now() - milliseconds) < blur);
  return near === undefined ? milliseconds : keptOff(near + blur - now(), { sessions, isLive, now } as Model, blur);
}
