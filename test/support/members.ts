import { z } from "zod";
import {
  createSessionStore,
  type ListOptions,
  memoryBackend,
  type NewData,
  type Session,
  type SessionBackend,
  type SessionEvent,
  type SessionLimit,
  type SessionPage,
  type SessionStoreOptions,
} from "../../src/index.ts";
import { manualClock } from "../../src/testing/index.ts";
import { counted } from "./backends.ts";

export const member = z.object({
  userId: z.string().optional(),
  tenant: z.string().nullable().default(null),
  cart: z.array(z.object({ sku: z.string() })).default(() => []),
  level: z.int().default(0),
  code: z.string().optional(),
  flash: z.string().optional(),
  theme: z.string().default("light"),
  views: z.int().default(0),
});

export type Data = z.output<typeof member>;
export type NewMember = NewData<Data, z.input<typeof member>>;

export const indexes = {
  user: "userId",
  tenant: "tenant",
  code: "code",
  product: { from: "cart", values: (cart: Data["cart"]) => cart.map(({ sku }) => sku) },
  level: { from: "level", values: (level: number) => (level === 0 ? null : `${level}`) },
} as const;

export type Index = keyof typeof indexes;
type Limits = { readonly [Name in Index]?: SessionLimit | undefined };
export type MemberOptions = Partial<
  Omit<SessionStoreOptions<Data, z.input<typeof member>, Index>, "schema" | "indexes" | "now" | "onEvent">
> & { readonly limits?: Limits | undefined };

/** The indexes of members, with these limits. */
function limited({ user, tenant, code, product, level }: Limits) {
  return {
    user: { from: "userId", limit: user },
    tenant: { from: "tenant", limit: tenant },
    code: { from: "code", limit: code },
    product: { ...indexes.product, limit: product },
    level: { ...indexes.level, limit: level },
  } as const;
}

/** A store of members on this backend and clock, and its events. */
export function memberStore(backend: SessionBackend, now: () => number, { limits, ...options }: MemberOptions = {}) {
  const events: SessionEvent[] = [];
  const store = createSessionStore({
    schema: member,
    indexes: limits === undefined ? indexes : limited(limits),
    ...options,
    backend,
    now,
    onEvent: (event) => events.push(event),
  });
  return { store, events };
}

/** A store of members in memory with a manual clock, and the calls of its backend. */
export function members(options: MemberOptions = {}) {
  const clock = manualClock();
  const { backend, calls } = counted(options.backend ?? memoryBackend());
  return {
    ...memberStore(backend, clock.now, options),
    backend,
    calls,
    clock,
    at: () => new Date(clock.now()),
    advance: (seconds: number) => clock.advance(seconds),
    entered: (entry: string) => entered(backend, entry, clock.now()),
  };
}

export type MemberStore = ReturnType<typeof memberStore>["store"];

/** The keys in an index entry in the order in which they were added, including those of ended sessions. */
export async function entered(backend: SessionBackend, entry: string, now: number): Promise<string[]> {
  const page = await backend.page(entry, 0, 1_000_000, now);
  return page.members.map(({ key }) => key);
}

/** A method that lists sessions by an index value. */
interface Lists<By, T> {
  list(by: By, options?: ListOptions): Promise<SessionPage<T>>;
}

/** All sessions with an index value, page by page. */
export async function allListed<By, T>(
  store: Lists<By, T>,
  by: NoInfer<By>,
  options?: ListOptions,
): Promise<Session<T>[]> {
  const sessions: Session<T>[] = [];
  for (let cursor = options?.cursor; cursor !== null; ) {
    const page: SessionPage<T> = await store.list(by, { limit: 1000, ...options, cursor });
    sessions.push(...page.sessions);
    cursor = page.cursor;
  }
  return sessions;
}

/** The sorted IDs of sessions. */
export function idsOf(sessions: readonly { readonly id: string }[]): string[] {
  return sessions.map(({ id }) => id).sort();
}
