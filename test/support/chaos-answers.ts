import type { Answer } from "./chaos-client.ts";

export type Route = "/" | "/session" | "/login" | "/increment" | "/ttl" | "/rotate" | "/logout";

const OPERATION_MS = 2000;
const MARGIN_MS = 500;
export const ISSUED =
  /^__Host-Http-sid=([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}); Path=\/; HttpOnly; Secure; SameSite=Lax$/;
export const CLEARED = /^__Host-Http-sid=; Max-Age=0;/;

/** The maximum number of consecutive store operations in a request. */
function operations(route: Route, cookie: string | null, { status }: Answer, navigates: boolean): number {
  // A rejection is shown on the page, which reads the session and its record.
  const shown = navigates && status === 401 ? 2 : 0;
  // A login ends the former session, and the new one if that fails.
  if (route === "/login") return (cookie === null ? 1 : 3) + shown;
  return (["/", "/increment", "/ttl"].includes(route) ? 2 : 1) + shown;
}

/** The milliseconds within which a response is due. */
export function dueMs(route: Route, cookie: string | null, answer: Answer, navigates: boolean): number {
  return operations(route, cookie, answer, navigates) * OPERATION_MS + MARGIN_MS;
}

export interface Shown {
  readonly id: string | null;
  readonly name: string;
  readonly views: number;
}

/** The session that a response shows, `"elsewhere"` for a redirect, or `null` if it is not a response of the demo. */
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
