import { z } from "zod";
import { createSessionStore, memoryBackend, SessionBackendError, sessionMiddleware } from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { intercept } from "./backends.ts";

// The module that the README's samples import as ./sessions.ts. Their tests use it too.

const schema = z.object({ userId: z.string() });
export type Visit = z.output<typeof schema>;

export const IDLE_SECONDS = 1800;
export const clock = manualClock();
/** The number of reads by sockets and streams, and whether the backend fails. */
export const backendState = { reads: 0, isDown: false };

const memory = memoryBackend();
const faulty = intercept(memory, (method) => {
  if (method === "read") backendState.reads++;
  if (backendState.isDown) {
    throw new SessionBackendError("The server is gone", { reason: "unavailable", outcome: "not-applied" });
  }
});

function storeOn(backend: typeof memory) {
  return createSessionStore({
    schema,
    backend,
    indexes: { user: "userId" },
    idleTimeout: IDLE_SECONDS,
    now: clock.now,
  });
}

export const withSession = sessionMiddleware(storeOn(faulty));
/** The store of another process. */
export const elsewhere = storeOn(memory);
