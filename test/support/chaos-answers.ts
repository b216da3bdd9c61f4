import type { Answer } from "./chaos-client.ts";

export type Route = "/" | "/session" | "/login" | "/increment" | "/ttl" | "/rotate" | "/logout";

const OPERATION_MS = 2000;
const MARGIN_MS = 500;
export const ISSUED = /^__Host-sid=([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}); Path=\/; HttpOnly; Secure; SameSite=Lax$/;
export const CLEARED = /^__Host-sid=; Max-Age=0;/;

/** Operations on the store that a request makes at most, one after the other. */
function operations(route: Route, cookie: string | null, { status }: Answer, navigates: boolean): number {
  // A refusal is shown on the page: a look at the session, and one at its record.
  const shown = navigates && status === 401 ? 2 : 0;
  // What came in is ended, and if that fails what was created.
  if (route === "/login") return (cookie === null ? 1 : 3) + shown;
  return (["/", "/increment", "/ttl"].includes(route) ? 2 : 1) + shown;
}

/** Milliseconds within which an answer is due. */
export function dueMs(route: Route, cookie: string | null, answer: Answer, navigates: boolean): number {
  return operations(route, cookie, answer, navigates) * OPERATION_MS + MARGIN_MS;
}

export interface Shown {
  readonly id: string | null;
  readonly name: string;
  readonly views: number;
}

/** The session that an answer shows; `"elsewhere"` for a redirect; `null` for what is no answer of the demo. */
export function shownIn({ status, body }: Answer): Shown | "nothing" | "elsewhere" | null {
  if (status === 303) return "elsewhere";
  if (body.startsWith("<!doctype html>")) {
    const [, name] = /<dd id="session-username">([^<]*)<\/dd>/.exec(body) ?? [];
    const [, views] = /<dd id="page-views">([0-9]+)<\/dd>/.exec(body) ?? [];
    const [, id = null] = /<code id="session-id">([^<]*)<\/code>/.exec(body) ?? [];
    if (name !== undefined && views !== undefined) return { id, name, views: Number(views) };
    return body.includes("No active session") ? "nothing" : null;
  }
  if (status === 401) return "nothing";
  try {
    const { authenticated, session_id, session, page_views } = JSON.parse(body);
    if (authenticated === false) return "nothing";
    return { id: session_id, name: session.username, views: page_views };
  } catch {
    return null;
  }
}
