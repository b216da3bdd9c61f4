import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Session } from "../src/index.ts";
import type { Visit } from "./visit.ts";

/** What the page shows. */
export interface View {
  readonly storage: "memory" | "Redis";
  readonly client: string;
  readonly server: string;
  readonly prefix: string;
  readonly status: { readonly text: string; readonly ok: boolean } | null;
  readonly current: Current | null;
  /** Unix milliseconds. */
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

/** What an action did. Travels in the address, so that it holds nothing but one of these words. */
export type Status = keyof typeof STATUS;

export function statusText(status: string | null, storage: View["storage"]): string | null {
  return status !== null && Object.hasOwn(STATUS, status) ? STATUS[status as Status](storage) : null;
}

/** Is it still true when there is no session? */
export function isEnd(status: string | null): boolean {
  return status === "deleted" || status === "none";
}

// ------------------------------------------------------------------------------------------ HTML

/** Text that is HTML already; any other is escaped. */
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

/** A text beside this file, inline in the page, and the hash that lets it through the policy. */
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

/** The whole page. Its script fetches it again after each action and takes over what changed. */
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
  <p class="lede">The browser keeps an opaque cookie; ${storage} keeps the session. Start one, use it to keep it alive,
    or leave it alone and watch it end.</p>
</header>
<p id="status" role="status" class="${status === null ? "" : status.ok ? "ok" : "error"}">${status?.text ?? ""}</p>
<div class="grid">
  <section class="panel" aria-labelledby="start-title">
    <h2 id="start-title">Start a session</h2>
    <form method="post" action="/login">
      <label for="username">Username</label>
      <input id="username" name="username" value="Andrew" maxlength="40" autocomplete="off">
      <label for="login-ttl">TTL in seconds</label>
      <input id="login-ttl" name="ttl" type="number" value="15" min="1" max="2147483647" step="1" required>
      <button id="create">Create session</button>
    </form>
    <p class="note">Creating always issues a new token and ends the session that the browser had, so that nobody can
      choose it beforehand.</p>
  </section>
  <section class="panel" aria-labelledby="current-title">
    <h2 id="current-title">Current session</h2>
    <div id="current">${current === null ? viewNoSession(storage) : viewSession(current, view.now)}</div>
  </section>
  <section class="panel wide" aria-labelledby="stored-title">
    <h2 id="stored-title">As stored</h2>
    <div id="stored">${current === null ? html`<p class="note">Nothing yet.</p>` : viewStored(current, view)}</div>
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
<p class="note">Create one to keep state in ${storage} and get a cookie for it.</p>`;
}

function viewSession({ session }: Current, now: number): Html {
  const { id, data, idleTimeout, createdAt, lastAccessedAt, expiresAt, deadline } = session;
  return html`<dl>
<dt>Session ID</dt><dd><code id="session-id">${id}</code></dd>
<dt>Username</dt><dd id="session-username">${data.username}</dd>
<dt>Page views</dt><dd id="page-views">${data.page_views}</dd>
<dt>Configured TTL</dt><dd>${idleTimeout} s</dd>
<dt>Created</dt><dd>${viewTime(createdAt)}</dd>
<dt>Last accessed</dt><dd>${viewTime(lastAccessedAt)}</dd>
<dt>TTL</dt><dd>${viewLeft("ttl", expiresAt, now, idleTimeout)}</dd>
<dt>Deadline</dt><dd>${deadline === null ? "none" : viewDeadline(deadline, session, now)}</dd>
</dl>
<form method="post" action="/ttl" class="line">
  <label for="active-ttl">Update session TTL</label>
  <input id="active-ttl" name="ttl" type="number" value="${idleTimeout}" min="1" max="2147483647" step="1" required>
  <button id="apply-ttl" class="quiet">Apply TTL</button>
</form>
<div class="buttons">
  <form method="post" action="/increment"><button id="increment">Increment page views</button></form>
  <form method="post" action="/rotate"><button id="rotate" class="quiet">Rotate the token</button></form>
  <form method="post" action="/logout"><button id="logout" class="quiet">Log out</button></form>
</div>`;
}

function viewDeadline(deadline: Date, { createdAt }: Session<Visit>, now: number): Html {
  const whole = Math.round((deadline.getTime() - createdAt.getTime()) / 1000);
  return html`${viewLeft("deadline", deadline, now, whole)} <small>whatever happens: ${viewTime(deadline)}</small>`;
}

/** Counted down by the script from what is left, as the clocks of browser and server may differ. */
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
  const look = html`<p class="note">Look for yourself: <code>redis-cli HGETALL ${key}</code></p>`;
  const fields = Object.entries(stored).map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>\n`);
  return html`<p>The fields under the key <code>${key}</code>:</p>
<dl class="fields">
${fields}</dl>
<p class="note">The ID names the session and opens nothing. The secret that opens it is only in the cookie;
  <code>session_verifier</code> is its SHA-256, and <code>session_previous</code> that of the one before the last
  rotation: neither opens anything.</p>
${storage === "Redis" ? look : []}`;
}
