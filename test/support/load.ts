import { randomUUID } from "node:crypto";
import { type Session, SessionBackendError, type SessionStore } from "../../src/index.ts";
import { persevering } from "./until.ts";

/** The data of the sessions of a load. */
export interface Loaded {
  readonly userId: string;
  readonly views: number;
  readonly theme: string;
}

type LoadedStore = SessionStore<Loaded, { userId: string; views?: number | undefined; theme?: string | undefined }>;

/** What is known of one session from the results of its operations. */
interface Ledger {
  readonly id: string;
  readonly user: string;
  token: string;
  views: number;
  /** Increments with an unknown outcome. */
  perhaps: number;
  /** The values that it may have now, and those that it may have had at any time. */
  themes: string[];
  readonly given: string[];
  state: "lives" | "ended" | "perhaps ended" | "perhaps rotated";
  /** Tokens that were replaced by rotations. */
  readonly former: string[];
  /** Whether the session, or an acknowledged theme, was missing while the session should have existed. */
  missed: boolean;
}

/** The findings at the end of a load. */
export interface LoadReport {
  readonly acknowledged: number;
  readonly notApplied: number;
  readonly unknown: number;
  /** Sessions and acknowledged writes that are missing, and logouts and rotations that were undone. */
  readonly lost: number;
  /** Results that a lost write does not explain, such as another user's data or a count that is too high. */
  readonly wrong: readonly string[];
  /** The duration of the slowest operation, in milliseconds. */
  readonly slowest: number;
}

export interface Load {
  ids(): string[];
  readonly errors: readonly unknown[];
  /** Whether every session that should exist can be read. */
  isWell(): Promise<boolean>;
  stop(): Promise<void>;
  check(): Promise<LoadReport>;
}

const PAUSE_MS = 2;
const ROTATE_EVERY = 17;
const END_EVERY = 59;

/** Runs operations in several parallel lines until it is stopped, and records which were acknowledged. */
export async function startLoad(store: LoadedStore, lines: number): Promise<Load> {
  const ledgers: Ledger[] = [];
  const current: Ledger[] = [];
  const errors: unknown[] = [];
  const wrong: string[] = [];
  const told = { acknowledged: 0, notApplied: 0, unknown: 0 };
  let slowest = 0;
  let running = true;

  /** Returns the result of a call, or the outcome of its error. */
  async function tell<R>(call: () => Promise<R>): Promise<{ readonly answer: R } | SessionBackendError["outcome"]> {
    const since = performance.now();
    try {
      const answer = await call();
      told.acknowledged++;
      return { answer };
    } catch (error) {
      errors.push(error);
      if (!(error instanceof SessionBackendError)) return "unknown";
      told[error.outcome === "unknown" ? "unknown" : "notApplied"]++;
      return error.outcome;
    } finally {
      slowest = Math.max(slowest, performance.now() - since);
    }
  }

  async function create(line: number): Promise<void> {
    const user = randomUUID();
    const told = await tell(() => store.create({ userId: user }));
    if (typeof told === "string") return;
    const { token, session } = told.answer;
    const known = { views: 0, perhaps: 0, state: "lives", missed: false } as const;
    const ledger: Ledger = { id: session.id, user, token, ...known, themes: ["light"], given: ["light"], former: [] };
    ledgers.push(ledger);
    current[line] = ledger;
  }

  function look(ledger: Ledger, session: Session<Loaded>): void {
    const { userId, views, theme } = session.data;
    if (session.id !== ledger.id || userId !== ledger.user) wrong.push("somebody else's session");
    if (!Number.isInteger(views) || views > ledger.views + ledger.perhaps) wrong.push(`${views} views`);
    if (!ledger.given.includes(theme)) wrong.push(`the theme ${theme}`);
    if (!ledger.themes.includes(theme)) ledger.missed = true;
  }

  async function use(line: number, round: number): Promise<void> {
    const ledger = current[line];
    if (ledger === undefined || ledger.state !== "lives") {
      await create(line);
      return;
    }
    const { token } = ledger;
    if (round % END_EVERY === END_EVERY - 1) {
      const told = await tell(() => store.destroy(token));
      if (told === "unknown") ledger.state = "perhaps ended";
      else if (told !== "not-applied") ledger.state = "ended";
      return;
    }
    if (round % ROTATE_EVERY === ROTATE_EVERY - 1) {
      const told = await tell(() => store.rotate(token));
      if (told === "unknown") ledger.state = "perhaps rotated";
      else if (told !== "not-applied" && told.answer !== null) {
        ledger.former.push(token);
        ledger.token = told.answer.token;
      } else if (told !== "not-applied") ledger.missed = true;
      return;
    }
    if (round % 3 === 0) {
      const theme = randomUUID();
      ledger.themes.push(theme);
      ledger.given.push(theme);
      const told = await tell(() => store.update(token, { theme }));
      if (typeof told === "string") return;
      if (told.answer === null) ledger.missed = true;
      else {
        look(ledger, told.answer);
        ledger.themes = [theme];
      }
    } else if (round % 3 === 1) {
      ledger.perhaps++;
      const told = await tell(() => store.increment(token, "views"));
      if (told !== "unknown") ledger.perhaps--;
      if (typeof told === "string") return;
      if (told.answer === null) ledger.missed = true;
      else ledger.views++;
    } else {
      const told = await tell(() => store.get(token));
      if (typeof told === "string") return;
      if (told.answer === null) ledger.missed = true;
      else look(ledger, told.answer);
    }
  }

  await Promise.all(Array.from({ length: lines }, (_, line) => create(line)));
  const working = Array.from({ length: lines }, async (_, line) => {
    // Each line begins with another operation.
    for (let round = line; running; round++) {
      await use(line, round);
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  });

  return {
    ids: () => current.map(({ id }) => id),
    errors,
    async isWell() {
      const living = current.filter(({ state }) => state === "lives");
      const outcomes = await Promise.allSettled(living.map(({ token }) => store.peek(token)));
      return outcomes.every(({ status }) => status === "fulfilled");
    },
    async stop() {
      running = false;
      await Promise.all(working);
    },
    async check() {
      let lost = 0;
      for (const ledger of ledgers) {
        const session = await persevering(() => store.peek(ledger.token));
        if (session !== null) {
          look(ledger, session);
          lost += Math.max(0, ledger.views - session.data.views);
          if (ledger.state === "ended") lost++;
        }
        if (ledger.missed || (session === null && ledger.state === "lives")) lost++;
        for (const token of ledger.former) if ((await persevering(() => store.peek(token))) !== null) lost++;
      }
      return { ...told, lost, wrong, slowest: Math.round(slowest) };
    },
  };
}
