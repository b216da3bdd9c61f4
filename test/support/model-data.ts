/** The data of the model's sessions, and by hand what the schema says of it. */
export interface Data {
  userId?: string | undefined;
  tags: string[];
  theme: "light" | "dark";
  views: number;
  steps: number;
  flash?: string | undefined;
}

/** What may be wrong with it as well. */
export type Patch = Readonly<Record<string, unknown>>;

export const MIN_VIEWS = -3;
export const MAX_VIEWS = 5;
export const STEP = 5;

const FIELDS: Readonly<Record<keyof Data, (value: unknown) => boolean>> = {
  userId: (value) => value === undefined || typeof value === "string",
  tags: (value) => Array.isArray(value) && value.every((tag) => typeof tag === "string"),
  theme: (value) => value === "light" || value === "dark",
  views: (value) => Number.isSafeInteger(value) && Number(value) >= MIN_VIEWS && Number(value) <= MAX_VIEWS,
  steps: (value) => typeof value === "number" && Number.isFinite(value) && value % STEP === 0,
  flash: (value) => value === undefined || typeof value === "string",
};

/** Do these fields fit, each by itself? */
export function fieldsFit(patch: Patch): boolean {
  return Object.entries(patch).every(([name, value]) => name in FIELDS && FIELDS[name as keyof Data](value));
}

/** What a schema that checks objects as a whole asks for: nobody in the dark has seen less than nothing. */
export function isLit({ theme, views }: Pick<Data, "theme" | "views">): boolean {
  return theme === "light" || views >= 0;
}

/** New data with what the schema fills in; `null` if it does not fit. */
export function filledIn(given: Patch, refined: boolean): Data | null {
  return patched({ tags: [], theme: "light", views: 0, steps: 10 }, definedOnly(given), refined);
}

/** The data after a patch; `null` if it does not fit. */
export function patched(data: Data, patch: Patch, refined: boolean): Data | null {
  if (!fieldsFit(patch)) return null;
  const next = definedOnly({ ...data, ...structuredClone(patch) }) as unknown as Data;
  return refined && !isLit(next) ? null : next;
}

function definedOnly(fields: Patch): Patch {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** The index values of a session, sorted as they are stored. */
export function entriesOf({ userId, tags }: Data): string[] {
  const entries = [...tags.map((tag) => `tag:${tag}`), ...(userId === undefined ? [] : [`user:${userId}`])];
  return [...new Set(entries)].sort();
}

export const USERS: readonly string[] = ["a", "b", "ü:*?[x]"];
export const TAGS: readonly string[] = ["x", "y"];
export const ENTRIES: readonly string[] = [...USERS.map((user) => `user:${user}`), ...TAGS.map((tag) => `tag:${tag}`)];

/** Updates by a function, by their names. */
export const FUNCTIONS = {
  bump: ({ views }) => ({ views: views + 1 }),
  flip: ({ theme }) => ({ theme: theme === "light" ? "dark" : "light" }),
  moveOn: ({ userId }) => ({ userId: USERS[(USERS.indexOf(userId ?? "") + 1) % USERS.length] }),
  sign: ({ flash }) => ({ flash: `${flash ?? ""}!` }),
  clear: () => ({ flash: undefined, tags: [] }),
  nothing: () => ({}),
  tooMuch: () => ({ views: MAX_VIEWS + 1 }),
  foreign: () => ({ session_ttl: 1 }),
} satisfies Record<string, (data: Readonly<Data>) => Patch>;

/** A change as a step of a test has it. */
export type ChangeBy = { readonly patch: Patch } | { readonly by: keyof typeof FUNCTIONS };

export function changeOf(change: ChangeBy): Patch | ((data: Readonly<Data>) => Patch) {
  return "by" in change ? FUNCTIONS[change.by] : change.patch;
}
