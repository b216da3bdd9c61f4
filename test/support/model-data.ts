/** The data of the model's sessions. The rules of the schema are written out by hand below. */
export interface Data {
  userId?: string | undefined;
  tags: string[];
  theme: "light" | "dark";
  views: number;
  steps: number;
  flash?: string | undefined;
}

/** A patch that may be invalid. */
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

/** Whether each of these fields fits the schema by itself. */
export function fieldsFit(patch: Patch): boolean {
  return Object.entries(patch).every(([name, value]) => name in FIELDS && FIELDS[name as keyof Data](value));
}

/** The check of the whole object in the refined schema: with the dark theme, `views` is not negative. */
export function isLit({ theme, views }: Pick<Data, "theme" | "views">): boolean {
  return theme === "light" || views >= 0;
}

/** New data with defaults, or `null` if it does not fit the schema. */
export function filledIn(given: Patch, refined: boolean): Data | null {
  return patched({ tags: [], theme: "light", views: 0, steps: 10 }, definedOnly(given), refined);
}

/** The data after a patch, or `null` if it does not fit the schema. */
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

/** Functions for `update`, by name. */
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

/** A change in a test step: a patch or the name of a function. */
export type ChangeBy = { readonly patch: Patch } | { readonly by: keyof typeof FUNCTIONS };

export function changeOf(change: ChangeBy): Patch | ((data: Readonly<Data>) => Patch) {
  return "by" in change ? FUNCTIONS[change.by] : change.patch;
}
