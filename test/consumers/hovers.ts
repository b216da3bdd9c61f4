/** What an editor shows for the names behind the marks. */
import { createSessionStore, memoryBackend, type RequestSessionOf, sessionExchange, sessionMiddleware } from "zession";
import { z } from "zod";

const schema = z.object({
  userId: z.string().optional(),
  role: z.enum(["user", "admin"]).default("user"),
  views: z.int().default(0),
});
export const /*?*/ store = createSessionStore({ schema, backend: memoryBackend(), indexes: { user: "userId" } });
export const /*?*/ issued = await store.create({ userId: "42" });
export const /*?*/ found = await store.get(issued.token);
export const /*?*/ withSession = sessionMiddleware(store);
export const /*?*/ begin = sessionExchange(store);
export type /*?*/ VisitSession = RequestSessionOf<typeof store>;
await withSession(new Request("https://app.example/"), async (/*?*/ session) => {
  await session.update({ views: 1 });
  return new Response();
});
