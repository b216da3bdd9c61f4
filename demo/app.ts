import {
  createSessionStore,
  type Session,
  type SessionBackend,
  sessionCookie,
  sessionMiddleware,
} from "../src/index.ts";
import { Refusal, readForm } from "./form.ts";
import { CONTENT_SECURITY_POLICY, isEnd, type Status, statusText, type View, viewPage } from "./page.ts";
import { type Visit, type VisitSession, visit } from "./visit.ts";

/** Options for `demoApp`. */
export interface DemoOptions {
  readonly backend: SessionBackend;
  readonly storage: "memory" | "Redis";
  /** Name of the storage client, as shown on the page. */
  readonly client: string;
  /** Name of the web server, as shown on the page. */
  readonly server: string;
  /** Key prefix of the backend, as shown on the page. Default: `"session:"`. */
  readonly prefix?: string | undefined;
}

const ABSOLUTE_SECONDS = 3600;
const MAX_TTL = 2_147_483_647;
const MAX_USERNAME = 40;

const READS = ["/", "/index.html", "/session"];
const ACTIONS: Readonly<Record<string, Action>> = {
  "/login": login,
  "/increment": increment,
  "/ttl": changeTtl,
  "/rotate": rotate,
  "/logout": logout,
};

/** Changes the session of a request. Returns `null` if it does not exist. */
type Action = (session: VisitSession, form: URLSearchParams) => Promise<Status | null>;

/** Creates the demo as one handler, for any server that uses web-standard requests. */
export function demoApp(options: DemoOptions): (request: Request) => Promise<Response> {
  const { backend, prefix = "session:" } = options;
  const store = createSessionStore({ schema: visit, backend, absoluteTimeout: `${ABSOLUTE_SECONDS}s` });
  const cookie = sessionCookie();
  const withSession = sessionMiddleware(store, {
    onBackendError: () => failure(503, "The session store does not answer.", { "retry-after": "5" }),
  });

  return async (request) => {
    let response: Response;
    try {
      response = await withSession(request, (session) => answer(request, session));
    } catch (error) {
      console.error(error);
      response = failure(500, "Internal Server Error");
    }
    return secured(response);
  };

  async function answer(request: Request, session: VisitSession): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    try {
      const action = actionOf(request, pathname);
      if (action !== null) return await act(request, session, action);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return failure(error.status, error.message, error.headers);
    }
    if (pathname === "/session") return await sessionJson(session);
    // The page's script asks whether the session has expired; that must not extend the session.
    const current = searchParams.has("peek") ? await session.peek() : await session.get();
    const status = searchParams.get("status");
    const said = current === null && !isEnd(status) ? null : statusText(status, options.storage);
    if (said !== null) return await pageOf(current, { text: said, ok: true });
    return await pageOf(current, current === null && presents(request) ? { text: "Session expired", ok: false } : null);
  }

  async function act(request: Request, session: VisitSession, action: Action): Promise<Response> {
    const withPage = request.headers.get("accept")?.includes("text/html") ?? false;
    try {
      const status = await action(session, await readForm(request));
      // Does not clear the cookie: this response may arrive late and would clear the cookie of a newer session.
      if (status === null) throw new Refusal(401, presents(request) ? "Session expired" : "No active session");
      if (withPage) return new Response(null, { status: 303, headers: { location: `/?status=${status}` } });
      return await sessionJson(session);
    } catch (error) {
      if (!withPage || !(error instanceof Refusal)) throw error;
      return await pageOf(await session.peek(), { text: error.message, ok: false }, error.status);
    }
  }

  /** Whether the request has a session cookie, valid or not. */
  function presents(request: Request): boolean {
    return cookie.read(request.headers.get("cookie")) !== null;
  }

  async function pageOf(session: Session<Visit> | null, status: View["status"], code = 200): Promise<Response> {
    const stored = session && (await storedOf(session.id));
    // A session that ended between the two reads is shown as ended.
    const page = viewPage({
      ...options,
      prefix,
      status,
      now: Date.now(),
      current: stored && session && { session, stored },
    });
    return new Response(page, { status: code, headers: { "content-type": "text/html; charset=utf-8" } });
  }

  /** Reads the stored fields by session ID, without the secret and without extending the session. */
  async function storedOf(id: string): Promise<Readonly<Record<string, string>> | null> {
    const access = { verifier: null, previous: true, now: Date.now() };
    const record = await backend.read(id, access, { fields: null });
    return typeof record === "string" ? null : record;
  }
}

/**
 * Returns the action of a POST request, or `null` for a path that only reads.
 *
 * @throws {Refusal} 404 for an unknown path, 405 for a wrong method.
 */
function actionOf(request: Request, pathname: string): Action | null {
  const action = Object.hasOwn(ACTIONS, pathname) ? ACTIONS[pathname] : undefined;
  if (action === undefined && !READS.includes(pathname)) throw new Refusal(404, "Not found");
  const allowed = action === undefined ? ["GET", "HEAD"] : ["POST"];
  if (!allowed.includes(request.method)) throw new Refusal(405, "Method not allowed", { allow: allowed.join(", ") });
  return action ?? null;
}

async function login(session: VisitSession, form: URLSearchParams): Promise<Status> {
  const name = (form.get("username") ?? "").trim().slice(0, MAX_USERNAME).toWellFormed();
  const ttl = ttlOf(form.get("ttl") || "60");
  await session.create(
    { username: name || "Guest", page_views: 1 },
    { authenticated: true, idleTimeout: `${ttl}s`, absoluteTimeout: `${Math.max(ttl, ABSOLUTE_SECONDS)}s` },
  );
  return "created";
}

async function increment(session: VisitSession): Promise<Status | null> {
  if ((await session.increment("page_views")) === null) return null;
  return (await session.get()) && "updated";
}

async function changeTtl(session: VisitSession, form: URLSearchParams): Promise<Status | null> {
  // Without a session, the answer is "No active session" even if the form is invalid.
  if ((await session.peek()) === null) return null;
  const ttl = ttlOf(form.get("ttl") ?? "");
  return (await session.setIdleTimeout(`${ttl}s`)) && "ttl";
}

async function rotate(session: VisitSession): Promise<Status | null> {
  return (await session.rotate()) === null ? null : "rotated";
}

/** Succeeds without a session too, so logging out twice is not an error. */
async function logout(session: VisitSession): Promise<Status> {
  return (await session.destroy()) ? "deleted" : "none";
}

function ttlOf(text: string): number {
  const ttl = /^[0-9]{1,10}$/.test(text) ? Number(text) : 0;
  if (ttl < 1 || ttl > MAX_TTL) throw new Refusal(400, "TTL must be a whole number greater than 0.");
  return ttl;
}

/**
 * Returns the same JSON as the demos in the Redis documentation, where the fields of `session` are the stored strings.
 * Here, `session_id` does not authenticate a request.
 */
async function sessionJson(request: VisitSession): Promise<Response> {
  const session = await request.get();
  if (session === null) return Response.json({ authenticated: false, session: null });
  const { id, data, createdAt, lastAccessedAt, idleTimeout, expiresAt, deadline } = session;
  const ttl = Math.max(0, Math.ceil((expiresAt.getTime() - Date.now()) / 1000));
  return Response.json({
    authenticated: true,
    session_id: id,
    session: {
      username: data.username,
      page_views: String(data.page_views),
      created_at: createdAt.toISOString(),
      last_accessed_at: lastAccessedAt.toISOString(),
      session_ttl: String(idleTimeout),
      ttl: String(ttl),
    },
    configured_ttl: idleTimeout,
    ttl,
    page_views: data.page_views,
    expires_at: expiresAt.toISOString(),
    deadline: deadline?.toISOString() ?? null,
  });
}

function failure(status: number, error: string, headers: Readonly<Record<string, string>> = {}): Response {
  return Response.json({ error }, { status, headers });
}

/**
 * Adds security headers: every response depends on a session, so it must not be cached, framed or read cross-origin.
 */
function secured(response: Response): Response {
  const { headers } = response;
  headers.set("cache-control", "no-store");
  headers.set("content-security-policy", CONTENT_SECURITY_POLICY);
  headers.set("cross-origin-opener-policy", "same-origin");
  headers.set("cross-origin-resource-policy", "same-origin");
  // With no-referrer, browsers would send `Origin: null` with the page's own forms.
  headers.set("referrer-policy", "same-origin");
  headers.set("x-content-type-options", "nosniff");
  headers.set("x-frame-options", "DENY");
  return response;
}
