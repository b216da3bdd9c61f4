import { z } from "zod";
import type { SessionBackend } from "../../src/backend.ts";
import {
  createSessionStore,
  type NewData,
  type RequestSession,
  type Session,
  type SessionStore,
  type SessionStoreOptions,
  sessionMiddleware,
} from "../../src/index.ts";
import { cookieJar, type Jar } from "./http.ts";
import type { Ground } from "./races.ts";

const visit = z.object({
  userId: z.string().optional(),
  theme: z.string().default("light"),
  pageViews: z.number().int().default(0),
  code: z.string().optional(),
});

/** An empty backend and its clock. */
export type Place = Pick<Ground, "backend" | "now">;

const TOUCH_SECONDS = 60;
const visitor = { userId: "42", code: "123456" };

export type Visit = z.output<typeof visit>;
export type Visits = SessionStore<Visit, NewData<Visit, z.input<typeof visit>>, "user">;
export type Visitor = RequestSession<Visit, NewData<Visit, z.input<typeof visit>>>;
export type Options = Partial<SessionStoreOptions<Visit, z.input<typeof visit>, "user">>;

/** The store of one of several processes that share only the backend. */
export function processOn(backend: SessionBackend, now: () => number, options: Options = {}): Visits {
  return createSessionStore({ schema: visit, indexes: { user: "userId" }, now, ...options, backend });
}

/** Handles a request with the middleware and returns the response and the result of `act`. */
export async function send<R>(
  store: Visits,
  request: Request,
  act: (session: Visitor) => Promise<R>,
): Promise<{ readonly response: Response; readonly result: R | undefined }> {
  let result: R | undefined;
  const response = await sessionMiddleware(store)(request, async (session) => {
    result = await act(session);
    return new Response();
  });
  return { response, result };
}

/** Signs in a browser long enough ago that a `get` with a `touchInterval` touches the session. */
export async function signIn(
  place: Place,
  data: Partial<Visit> = visitor,
): Promise<{ readonly jar: Jar; readonly session: Session<Visit> }> {
  const jar = cookieJar();
  const store = processOn(place.backend, place.now);
  const { response, result } = await send(store, jar.request(), (session) => session.create(data));
  jar.receive(response);
  if (result === undefined) throw new Error("Nobody signed in");
  const lastAccessedAt = new Date(result.lastAccessedAt.getTime() - 2 * TOUCH_SECONDS * 1000);
  const set = { last_accessed_at: lastAccessedAt.toISOString() };
  const access = { verifier: null, previous: false, now: place.now() };
  await place.backend.write(result.id, access, { set, remove: [], fields: [], touch: false });
  return { jar, session: { ...result, lastAccessedAt } };
}

/** One way in which a request uses its session. */
export interface Use {
  readonly act: (session: Visitor) => Promise<unknown>;
  /** The fields of the visit that the use changes. */
  readonly effect?: (visit: Visit) => Partial<Visit>;
  /** Options for the store of the process that handles the request. */
  readonly options?: Options;
}

/** All uses that keep the session and its token. */
export const uses: Readonly<Record<string, Use>> = {
  get: { act: (session) => session.get() },
  peek: { act: (session) => session.peek() },
  "get with a touch": { act: (session) => session.get(), options: { touchInterval: TOUCH_SECONDS } },
  patch: { act: (session) => session.update({ theme: "dark" }), effect: () => ({ theme: "dark" }) },
  "patch by a function": {
    act: (session) => session.update(({ pageViews }) => ({ pageViews: pageViews + 1 })),
    effect: ({ pageViews }) => ({ pageViews: pageViews + 1 }),
  },
  increment: {
    act: (session) => session.increment("pageViews"),
    effect: ({ pageViews }) => ({ pageViews: pageViews + 1 }),
  },
  take: { act: (session) => session.take("code"), effect: () => ({ code: undefined }) },
  "move to another user": { act: (session) => session.update({ userId: "43" }), effect: () => ({ userId: "43" }) },
  setIdleTimeout: { act: (session) => session.setIdleTimeout(3600) },
};
