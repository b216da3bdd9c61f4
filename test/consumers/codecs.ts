/** A schema with codecs, in zod and in zod/mini. */
import { createSessionStore, type DataOf, memoryBackend, type NewDataOf } from "zession";
import { bigint, bytes, date, map, set, url } from "zession/codecs";
import * as z from "zod";
import * as mini from "zod/mini";

const store = createSessionStore({
  schema: z.object({
    userId: z.string(),
    since: date(),
    seen: z.optional(date()),
    balance: z._default(bigint(), () => 0n),
    roles: set(z.enum(["admin", "editor"])),
    carts: map(z.string(), z.array(z.object({ sku: z.string(), at: date() }))),
    key: z.nullable(bytes()),
    home: z.optional(url()),
  }),
  backend: memoryBackend(),
  indexes: { user: "userId" },
});
type Visit = DataOf<typeof store>;

export const roles: Set<"admin" | "editor"> = ({} as Visit).roles;
export const seen: Date | undefined = ({} as Visit).seen;
export const at: Date | undefined = ({} as Visit).carts.get("a")?.[0]?.at;
export const key: Uint8Array | null = ({} as Visit).key;
export const balance: bigint | undefined = ({} as NewDataOf<typeof store>).balance;

// @ts-expect-error The data is a Date, not its text.
export const text: string = ({} as Visit).since;
// @ts-expect-error A set takes the values of its items.
export const role: NewDataOf<typeof store>["roles"] = new Set(["owner"]);
// @ts-expect-error A bigint is no counter.
export const sum = store.increment("", "balance");

const small = createSessionStore({
  schema: mini.object({ since: mini.optional(date()), tags: set(mini.string()) }),
  backend: memoryBackend(),
});
export const tags: Set<string> = ({} as DataOf<typeof small>).tags;
