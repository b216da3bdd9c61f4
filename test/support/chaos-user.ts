import { createHash } from "node:crypto";
import { CLEARED, dueMs, ISSUED, type Route, shownIn } from "./chaos-answers.ts";
import { type Answer, type Sending, send } from "./chaos-client.ts";
import type { World } from "./chaos-ledger.ts";

/** A session of the user, and what is known about it. */
interface Held {
  readonly id: string;
  readonly name: string;
  token: string;
  acknowledged: number;
  /** Increments that were sent, with or without a response. */
  attempted: number;
  seen: number;
  /** The shortest idle timeout that was ever requested, in seconds. */
  idle: number;
  /** When the last request that found the session began, and when the last one without a result ended. */
  good: number;
  bad: number;
  /** Operations that failed and may have taken effect. */
  readonly open: Set<"rotate" | "end">;
}

const SHORT_SECONDS = 2;
const FROZEN_MS = 1000;
const pause = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

/** A browser and its user, who checks what the browser shows until the run is over. */
export async function live(world: World, at: number): Promise<void> {
  const { ledger, random } = world;
  const { violate, note } = ledger;
  let cookie: string | null = null;
  let held: Held | null = null;
  let logins = 0;

  async function ask(route: Route, sending: Partial<Sending> = {}): Promise<Answer> {
    const sent = { path: route, cookie, navigates: false, ...sending };
    const answer = await send(world.origin, sent);
    const { status, from, to } = answer;
    ledger.requests.push({ route, status, from, to });
    const most = dueMs(route, sent.cookie, answer, sent.navigates);
    const lag = world.lag.between(from, to);
    if (to - from > most + lag) {
      violate("time", `${route} ${status} took ${Math.round(to - from)} of ${most} ms (lag ${Math.round(lag)} ms)`);
    }
    // The server had closed the idle connection meanwhile.
    if (status === 0 && lag > FROZEN_MS) note("no answer, as the machine stood still");
    else if (![200, 303, 401, 503].includes(status))
      violate("answers", `${route}: ${status} ${answer.body.slice(0, 200)}`);
    const mayIssue = ["/login", "/rotate", "/logout"].includes(route) && (status === 200 || status === 303);
    const wellFormed = answer.setCookie.every(
      (line) => ISSUED.test(line) || (route === "/logout" && CLEARED.test(line)),
    );
    if (answer.setCookie.length > (mayIssue ? 1 : 0) || !wellFormed) violate("cookie", `${route} ${status}`);
    return answer;
  }

  /** Stores cookies as a browser does. */
  function receive({ setCookie }: Answer): string | null {
    const [line = ""] = setCookie;
    const [, token] = ISSUED.exec(line) ?? [];
    if (token !== undefined) cookie = `__Host-Http-sid=${token}`;
    if (CLEARED.test(line)) cookie = null;
    return token ?? null;
  }

  /** Sends a request with the session and compares the response with what is known. */
  async function use(route: Route, sending: Partial<Sending> = {}): Promise<Answer> {
    const mine = held;
    if (mine === null) return await ask(route, sending);
    const { acknowledged, seen, good } = mine;
    if (route === "/increment") mine.attempted++;
    const answer = await ask(route, sending);
    const { status, from: began } = answer;
    if (status === 503 || status === 0) {
      mine.bad = performance.now();
      if (route === "/rotate") mine.open.add("rotate");
      if (route === "/logout" || route === "/login") mine.open.add("end");
      return answer;
    }
    if (route === "/logout" || route === "/login") return answer;
    const shown = shownIn(answer);
    if (shown === null || (status === 401 && shown !== "nothing")) {
      violate("answers", `${route} ${status}: ${answer.body.slice(0, 100)}`);
      return answer;
    }
    if (shown === "nothing") {
      if (held === mine) await wonder(mine, began);
      return answer;
    }
    mine.good = Math.max(mine.good, began);
    if (route === "/increment") mine.acknowledged++;
    if (shown === "elsewhere") return answer;
    if (shown.name !== mine.name || (shown.id !== null && shown.id !== mine.id))
      violate("user", `${route}: ${shown.name} for ${mine.name}`);
    const atLeast = Math.max(1 + acknowledged + (route === "/increment" ? 1 : 0), seen);
    if (shown.views > 1 + mine.attempted) violate("counter", `${shown.views} of at most ${1 + mine.attempted}`);
    if (shown.views < atLeast) {
      if (ledger.mayBeLost(good)) {
        note("increments lost with a master");
        mine.acknowledged = Math.max(0, shown.views - 1);
        mine.seen = shown.views;
      } else violate("counter", `${route}: ${shown.views} of at least ${atLeast}`);
    }
    mine.seen = Math.max(mine.seen, shown.views);
    return answer;
  }

  /** Finds out why the session no longer exists. */
  async function wonder(mine: Held, began: number): Promise<void> {
    const isOver = began - mine.good >= mine.idle * 1000 - 300;
    if (held === mine) held = null;
    const fields = ["session_verifier", "session_previous"];
    const [verifier = null, previous] = await world.lookUp(mine.id, ...fields);
    const own = createHash("sha256")
      .update(mine.token.split(".")[1] ?? "")
      .digest("base64url");
    if (verifier === own) {
      // The failed master had applied it, and its replicas had not received it.
      if ((mine.open.size > 0 || isOver) && ledger.mayBeLost(mine.good)) {
        return note("anonymous: for a reason that was then lost with a master");
      }
      const when = `asked ${ago(began)}, found ${ago(mine.good)}`;
      return violate("logout", `the session is there, and the secret fits; ${when}`);
    }
    if (verifier === null) {
      if (mine.open.has("end")) return note("anonymous: ended by what was answered 503");
      if (isOver) return note("anonymous: the idle timeout was over");
      if (ledger.mayBeLost(mine.good)) return note("anonymous: the session was lost with a master");
      return violate("lost", `it was there ${Math.round(began - mine.good)} ms before (idle timeout ${mine.idle} s)`);
    }
    if (previous === own && mine.open.has("rotate")) return note("anonymous: rotated by what was answered 503");
    if (ledger.mayBeLost(mine.good)) return note("anonymous: the rotation was lost with a master");
    violate("logout", `the session is there, with ${previous === own ? "the next" : "another"} secret`);
  }

  /** Checks that an ended session stays invalid for its cookie. */
  async function haunt(ended: string | null): Promise<void> {
    const answer = await ask("/session", { cookie: ended });
    if (answer.status !== 503 && shownIn(answer) !== "nothing")
      violate("ended", `${answer.status}: a session lives on`);
  }

  async function login(): Promise<void> {
    const [before, last] = [cookie, held];
    const name = `user ${at}, login ${++logins}`;
    const idle = 30 + Math.floor(random() * 90);
    const navigates = random() < 0.3;
    const answer = await use("/login", { form: { username: name, ttl: String(idle) }, navigates });
    const token = receive(answer);
    if (answer.status === 503 || answer.status === 0) return;
    if (token === null) return violate("answers", `a login without a cookie: ${answer.status}`);
    const id = token.slice(0, 22);
    const fresh = { acknowledged: 0, attempted: 0, seen: 1, good: answer.from, bad: last?.bad ?? 0 };
    held = { id, name, token, idle, ...fresh, open: new Set() };
    const shown = shownIn(answer);
    if (shown !== "elsewhere" && (shown === null || shown === "nothing" || shown.name !== name || shown.id !== id)) {
      violate("user", "a login shows another session");
    }
    if (answer.location !== null) await use("/", { path: answer.location, navigates: true });
    if (before !== null && last !== null) await haunt(before);
  }

  async function rotate(): Promise<void> {
    const mine = held;
    const before = cookie;
    const answer = await use("/rotate", { form: {}, navigates: random() < 0.3 });
    const token = receive(answer);
    if (token === null || mine === null) return;
    if (token.slice(0, 22) !== mine.id) violate("user", "a rotation gave another session");
    mine.token = token;
    await haunt(before);
    await use("/session");
  }

  async function logout(): Promise<void> {
    const mine = held;
    const before = cookie;
    // A request that is in progress must not bring the session back.
    const meanwhile = random() < 0.5 ? ask("/increment", { form: {} }) : null;
    if (meanwhile !== null && mine !== null) mine.attempted++;
    const answer = await use("/logout", { form: {}, navigates: random() < 0.3 });
    await meanwhile;
    if (answer.status === 503 || answer.status === 0) return;
    receive(answer);
    held = null;
    if (cookie !== null && mine !== null) await wonder(mine, answer.from);
    cookie = null;
    await haunt(before);
  }

  async function changeTtl(seconds: number): Promise<number> {
    if (held !== null) held.idle = Math.min(held.idle, seconds);
    const { status } = await use("/ttl", { form: { ttl: String(seconds) }, navigates: random() < 0.3 });
    return status;
  }

  async function expire(): Promise<void> {
    const status = await changeTtl(SHORT_SECONDS);
    const mine = held;
    // A request that got 503 may still change the session later.
    const isCertain = mine !== null && status < 400 && performance.now() - mine.bad > 20_000;
    const changed = performance.now();
    await pause(SHORT_SECONDS * 1000 + 600);
    const answer = await use("/session");
    if (isCertain && answer.status === 200 && shownIn(answer) !== "nothing") {
      if (ledger.mayBeLost(changed)) note("idle timeouts lost with a master");
      else violate("ended", "a session outlives its idle timeout");
    }
  }

  async function burst(): Promise<void> {
    const increment = () => use("/increment", { form: {}, navigates: random() < 0.3 });
    await Promise.all([use("/session"), increment(), use("/", { navigates: true }), increment(), use("/session")]);
  }

  const steps: readonly (readonly [number, () => Promise<unknown>])[] = [
    [34, () => use("/session")],
    [14, () => use("/", { navigates: true })],
    [4, () => use("/", { path: "/?peek", navigates: true })],
    [26, () => use("/increment", { form: {}, navigates: random() < 0.3 })],
    [5, burst],
    [5, () => changeTtl(30 + Math.floor(random() * 90))],
    [6, rotate],
    [2, login],
    [3, logout],
    [1, expire],
  ];
  const all = steps.reduce((sum, [weight]) => sum + weight, 0);

  const any = (): (() => Promise<unknown>) => {
    let left = random() * all;
    for (const [weight, step] of steps) {
      left -= weight;
      if (left < 0) return step;
    }
    return login;
  };

  while (!world.isOver()) {
    await pause(world.think());
    await (held === null ? login : any())();
  }
  // At the end, every acknowledged write is checked once more.
  if (held !== null) await use("/session");
}

function ago(moment: number): string {
  return `${Math.round(performance.now() - moment)} ms ago`;
}
