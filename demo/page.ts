import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Session } from "../src/index.ts";
import type { Visit } from "./visit.ts";

/** The content of the page. */
export interface View {
  readonly storage: "memory" | "Redis";
  readonly client: string;
  readonly server: string;
  readonly prefix: string;
  readonly status: { readonly text: string; readonly ok: boolean } | null;
  readonly current: Current | null;
  /** Current time in Unix milliseconds. */
  readonly now: number;
}

interface Current {
  readonly session: Session<Visit>;
  readonly stored: Readonly<Record<string, string>>;
}

// ------------------------------------------------------------------------------------------ status

const STATUS = {
  created: (storage: string) => `Session created in ${storage} and cookie issued.`,
  updated: (storage: string) => `Session updated in ${storage} and TTL refreshed.`,
  ttl: (storage: string) => `Session TTL updated in ${storage}.`,
  rotated: (storage: string) => `Token rotated in ${storage} and cookie reissued.`,
  deleted: (storage: string) => `Session deleted from ${storage} and cookie cleared.`,
  none: () => "No active session",
} as const;

/** The result of an action. It is passed in the URL, so only these words are accepted. */
export type Status = keyof typeof STATUS;

/** Returns the message for a result, or `null` if the URL has none or an unknown one. */
export function statusText(status: string | null, storage: View["storage"]): string | null {
  return status !== null && Object.hasOwn(STATUS, status) ? STATUS[status as Status](storage) : null;
}

/** Whether the message also applies without a session. */
export function isEnd(status: string | null): boolean {
  return status === "deleted" || status === "none";
}

// ------------------------------------------------------------------------------------------ HTML

/** Text that is already HTML. All other values are escaped. */
interface Html {
  readonly html: string;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function html(texts: TemplateStringsArray, ...values: readonly (string | number | Html | readonly Html[])[]): Html {
  return { html: texts.reduce((all, text, at) => all + htmlOf(values[at - 1] as (typeof values)[number]) + text) };
}

function htmlOf(value: string | number | Html | readonly Html[]): string {
  if (typeof value === "object") return "html" in value ? value.html : value.map(htmlOf).join("");
  return String(value).replace(/[&<>"']/g, (character) => ESCAPES[character] as string);
}

/** Reads a file to be inlined in the page, and computes the hash that lets the content security policy permit it. */
function inline(name: string): { readonly text: Html; readonly source: string } {
  const text = readFileSync(new URL(name, import.meta.url), "utf8");
  return { text: { html: text }, source: `'sha256-${createHash("sha256").update(text).digest("base64")}'` };
}

const style = inline("page.css");
const script = inline("page.js");

export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src ${style.source}`,
  `script-src ${script.source}`,
  "img-src data:",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join("; ");

const ICON = encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M4 3h8L4 13h8" fill="none" stroke="#4f5bd5" stroke-width="2.5" stroke-linecap="round" stroke-linejoin="round"/></svg>',
);

/** Returns the whole page as HTML. After each action, its script fetches the page again and replaces what changed. */
export function viewPage(view: View): string {
  const { storage, client, server, status, current } = view;
  const title = storage === "Redis" ? "Redis Session Store Demo" : "Session Store Demo";
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:image/svg+xml,${ICON}">
<style>${style.text}</style>
</head>
<body>
<main>
<header>
  <p class="pill">${client} + ${server}</p>
  <h1>${title}</h1>
  <p class="lede">Your browser stores only a cookie with a random token. The session data is stored in ${storage}. Create
    a session and use it to keep it alive, or wait and watch it expire.</p>
</header>
<p id="status" role="status" class="${status === null ? "" : status.ok ? "ok" : "error"}">${status?.text ?? ""}</p>
<div class="grid">
  <section class="panel" aria-labelledby="start-title">
    <h2 id="start-title">Start a session</h2>
    <form method="post" action="/login">
      <label for="username">Username</label>
      <input id="username" name="username" value="Andrew" maxlength="40" autocomplete="off">
      <label for="login-ttl">Idle timeout (TTL) in seconds</label>
      <input id="login-ttl" name="ttl" type="number" value="15" min="1" max="2147483647" step="1" required>
      <button id="create">Create session</button>
    </form>
    <p class="note">A session expires after this time without use. Creating a session always issues a new token
      and ends the previous session of this browser, so a token that an attacker planted here is never used.</p>
  </section>
  <section class="panel" aria-labelledby="current-title">
    <h2 id="current-title">Current session</h2>
    <div id="current">${current === null ? viewNoSession(storage) : viewSession(current, view.now)}</div>
  </section>
  <section class="panel wide" aria-labelledby="stored-title">
    <h2 id="stored-title">Stored fields</h2>
    <div id="stored">${current === null ? html`<p class="note">Nothing is stored.</p>` : viewStored(current, view)}</div>
  </section>
</div>
</main>
<script>${script.text}</script>
</body>
</html>
`.html;
}

function viewNoSession(storage: string): Html {
  return html`<p><strong>No active session</strong></p>
<p class="note">Create a session to store data in ${storage}. Your browser then gets a cookie with its token.</p>`;
}

function viewSession({ session }: Current, now: number): Html {
  const { id, data, idleTimeout, createdAt, lastAccessedAt, expiresAt, deadline } = session;
  return html`<dl>
<dt>Session ID</dt><dd><code id="session-id">${id}</code></dd>
<dt>Username</dt><dd id="session-username">${data.username}</dd>
<dt>Page views</dt><dd id="page-views">${data.page_views}</dd>
<dt>Idle timeout (TTL)</dt><dd>${idleTimeout} s</dd>
<dt>Created</dt><dd>${viewTime(createdAt)}</dd>
<dt>Last accessed</dt><dd>${viewTime(lastAccessedAt)}</dd>
<dt>Expires if not used in</dt><dd>${viewLeft("ttl", expiresAt, now, idleTimeout)}</dd>
<dt>Expires at the latest in</dt><dd>${deadline === null ? "none" : viewDeadline(deadline, session, now)}</dd>
</dl>
<form method="post" action="/ttl" class="line">
  <label for="active-ttl">Change the idle timeout (seconds)</label>
  <input id="active-ttl" name="ttl" type="number" value="${idleTimeout}" min="1" max="2147483647" step="1" required>
  <button id="apply-ttl" class="quiet">Apply</button>
</form>
<div class="buttons">
  <form method="post" action="/increment"><button id="increment">Increment page views</button></form>
  <form method="post" action="/rotate"><button id="rotate" class="quiet">Rotate the token</button></form>
  <form method="post" action="/logout"><button id="logout" class="quiet">Log out</button></form>
</div>
<p class="note">Rotating puts a new token into the cookie and keeps the session. The old token becomes invalid.</p>`;
}

function viewDeadline(deadline: Date, { createdAt }: Session<Visit>, now: number): Html {
  const whole = Math.round((deadline.getTime() - createdAt.getTime()) / 1000);
  return html`${viewLeft("deadline", deadline, now, whole)} <small>even if it is used, on ${viewTime(deadline)}</small>`;
}

/** Shows the remaining time. The script counts it down from `data-left`, as browser and server clocks may differ. */
function viewLeft(id: string, end: Date, now: number, whole: number): Html {
  const left = Math.max(0, end.getTime() - now);
  const seconds = Math.ceil(left / 1000);
  return html`<span id="${id}" data-left="${left}">${seconds} s</span>
<progress max="${whole}" value="${seconds}" aria-hidden="true"></progress>`;
}

function viewTime(time: Date): Html {
  const text = time.toISOString();
  return html`<time datetime="${text}">${text.slice(0, 19).replace("T", " ")} UTC</time>`;
}

function viewStored({ session, stored }: Current, { storage, prefix }: View): Html {
  const key = prefix + session.id;
  const look = html`<p class="note">To see them in Redis: <code>redis-cli HGETALL ${key}</code></p>`;
  const fields = Object.entries(stored).map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>\n`);
  return html`<p>The session is stored under the key <code>${key}</code> with these fields:</p>
<dl class="fields">
${fields}</dl>
<p class="note">The session ID at the end of the key may be shown and logged: it does not authenticate a request. That
  takes the secret, which only the cookie contains. <code>session_verifier</code> is the SHA-256 hash of the secret.
  <code>session_previous</code>, after a rotation, is the hash of the secret before it.</p>
${storage === "Redis" ? look : []}`;
}
