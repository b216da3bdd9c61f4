/** The store of an application, with everything inferred. The other programs use it. */
import { createSessionStore, type DataOf, memoryBackend, type NewDataOf, type SessionBackendError } from "zession";
import { z } from "zod";

export const visit = z.object({
  userId: z.string().optional(),
  role: z.enum(["guest", "user", "admin"]).default("guest"),
  basket: z
    .array(z.object({ sku: z.string(), n: z.int() }))
    .readonly()
    .default(() => []),
  views: z.int().default(0),
  flash: z.string().optional(),
  loginAt: z
    .codec(z.iso.datetime(), z.date(), { decode: (text) => new Date(text), encode: (date) => date.toISOString() })
    .optional(),
});

export const store = createSessionStore({
  schema: visit,
  backend: memoryBackend({ capacity: 1000 }),
  idleTimeout: "30m",
  absoluteTimeout: "12h",
  touchInterval: "500ms",
  operationTimeout: 1.5,
  indexes: {
    user: { from: "userId", limit: { max: 5, whenFull: "evict-oldest" } },
    product: { from: "basket", values: (basket) => basket.map((line) => line.sku) },
  },
  onEvent(event) {
    if (event.type === "reused") event.rotatedAt?.getTime();
    if (event.type === "unavailable") event.error satisfies SessionBackendError;
  },
});

export type Visit = DataOf<typeof store>;
export type NewVisit = NewDataOf<typeof store>;
