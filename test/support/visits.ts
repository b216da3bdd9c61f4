import { z } from "zod";
import {
  createSessionStore,
  memoryBackend,
  type NewData,
  type SessionEvent,
  type SessionStore,
  type SessionStoreOptions,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { counted } from "./backends.ts";

export const visit = z.object({
  userId: z.string().optional(),
  theme: z.enum(["light", "dark"]).default("light"),
  pageViews: z.number().int().default(0),
  cart: z.array(z.object({ sku: z.string(), n: z.number() })).default(() => []),
  flash: z.string().optional(),
});

export type Visit = z.output<typeof visit>;
export type NewVisit = NewData<Visit, z.input<typeof visit>>;
export type VisitStore = SessionStore<Visit, NewVisit>;
export type VisitOptions = Partial<
  Omit<SessionStoreOptions<Visit, z.input<typeof visit>>, "schema" | "now" | "onEvent">
>;

/** A store of visits with a manual clock, the calls to its backend and its events. */
export function visits(options: VisitOptions = {}) {
  const clock = manualClock();
  const { backend, calls } = counted(options.backend ?? memoryBackend());
  const events: SessionEvent[] = [];
  const store: VisitStore = createSessionStore({
    schema: visit,
    ...options,
    backend,
    now: clock.now,
    onEvent: (event) => events.push(event),
  });
  return {
    store,
    clock,
    backend,
    calls,
    events,
    at: () => new Date(clock.now()),
    advance: (seconds: number) => clock.advance(seconds),
  };
}
