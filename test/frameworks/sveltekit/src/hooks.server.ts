import type { Handle } from "@sveltejs/kit/hooks";
import { z } from "zod";
import { createSessionStore, memoryBackend, sessionMiddleware } from "../../../../src/index.ts";

const withSession = sessionMiddleware(
  createSessionStore({ schema: z.object({ userId: z.string() }), backend: memoryBackend() }),
);

export const handle: Handle = ({ event, resolve }) =>
  withSession(event.request, async (session) => {
    event.locals.session = session;
    return await resolve(event);
  });
