/** Devices, logging out everywhere, one-time links, maintenance. */
import type { RequestSessionOf, Session } from "zession";
import { store, type Visit } from "./visits.ts";

type VisitSession = RequestSessionOf<typeof store>;

export async function devices(session: VisitSession, cursor: string | null): Promise<Response> {
  const current = await session.require();
  const user = current.data.userId;
  if (user === undefined) return new Response(null, { status: 403 });
  const page = await store.list({ user }, { limit: 20, cursor });
  const rows = page.sessions.map((device: Session<Visit>) => ({
    id: device.id,
    lastSeen: device.lastAccessedAt,
    isCurrent: device.id === current.id,
  }));
  return Response.json({ rows, next: page.cursor });
}

/** The ID comes from the browser. */
export async function endDevice(user: string, id: string): Promise<Response> {
  return new Response(null, { status: (await store.revoke(id, { of: { user } })) ? 204 : 404 });
}

export async function* allDevices(user: string): AsyncGenerator<Session<Visit>> {
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof store.list>> = await store.list({ user }, { cursor });
    yield* page.sessions;
    cursor = page.cursor;
  } while (cursor !== null);
}

export async function logOutEverywhere(session: VisitSession): Promise<number> {
  const { data } = await session.require();
  return data.userId === undefined ? Number(await session.destroy()) : await session.destroyAll({ user: data.userId });
}

export async function afterPasswordReset(user: string): Promise<number> {
  return await store.revokeAll({ user }, { scan: true });
}

export async function redeem(link: string): Promise<string | null> {
  return (await store.consume(link))?.data.userId ?? null;
}

const entered = await store.reindex({
  signal: AbortSignal.timeout(3_600_000),
  onProgress: ({ seen, done }) => done / seen,
});
entered.toFixed();
for await (const { id, data, lastAccessedAt } of store.scan()) {
  if (data.role === "admin") id.concat(lastAccessedAt.toISOString());
}
(await store.count({ user: "42" })).toFixed();
