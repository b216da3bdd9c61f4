/**
 * A zod 4 object schema, from `zod` or `zod/mini`. The type is structural, so a schema from any copy of zod is accepted. A
 * transformed, piped, readonly or union schema is not, because its `def.type` is not `"object"`.
 *
 * @typeParam T The output type of the schema, which is the type of the session data.
 * @typeParam In The input type of the schema.
 */
export interface SessionSchema<T = unknown, In = unknown> {
  readonly _zod: {
    readonly def: { readonly type: "object" };
    readonly output: T;
    readonly input: In;
  };
}

/**
 * The data that `create` accepts: the data `T`, in which the fields that the schema can fill in are optional.
 *
 * @typeParam In The input type of the schema.
 */
export type NewData<T, In> = In extends unknown // Always true. Editors then show the fields instead of this type.
  ? { [K in keyof In]: K extends keyof T ? T[K] | Extract<In[K], undefined> : never }
  : never;

/**
 * How data of an earlier version of the schema becomes data of the present one.
 *
 * @typeParam Old The data of the earlier version.
 * @typeParam New The data that `to` returns, as for `create`.
 */
export interface SessionMigration<Old, New> {
  /** The schema of the earlier version, by which its stored data is decoded. */
  readonly from: SessionSchema<Old>;
  /**
   * Returns the data of the present schema. Keys that only the earlier schema names are ignored. It must be synchronous, and
   * it may be called several times for a session, so avoid side effects.
   */
  readonly to: (old: Readonly<Old>) => New;
}

/**
 * The data that a migration returns: a value for each field that the earlier data does not have, also if it is optional or
 * has a default (`undefined` then), and for each that the earlier data always has. So a renamed field cannot be forgotten. A
 * literal such as `"user"` keeps its type where TypeScript infers.
 */
export type MigratedData<T, In, Old> = Shown<
  { [K in MentionedField<In, Old>]: MigratedValue<T, In, K> } & {
    [K in Exclude<keyof In, MentionedField<In, Old>>]?: MigratedValue<T, In, K> | undefined;
  }
>;

type MentionedField<In, Old> = {
  [K in keyof In]-?: K extends keyof Old ? ({} extends Pick<Old, K> ? never : K) : K;
}[keyof In];

type MigratedValue<T, In, K extends keyof In> = K extends keyof T
  ? KeepLiterals<T[K]> | Extract<In[K], undefined>
  : never;

/** The type `X` itself. Its condition tells TypeScript to keep literals and tuples while it infers. */
export type KeepLiterals<X> = X extends string | number | bigint | boolean | null | undefined | object | LiteralShape
  ? X
  : never;

/** Arrays and objects of literals, at every level. */
export type LiteralShape =
  | readonly []
  | readonly [LiteralLeaf, ...LiteralLeaf[]]
  | { readonly [field: string]: LiteralLeaf };

/** A literal, or an array or object of literals. */
export type LiteralLeaf = "" | 0 | 0n | boolean | null | undefined | LiteralShape;

/**
 * The data of a new session, or a function that returns it from the data of the session that is replaced. The function must be
 * synchronous, and it may be called again, so avoid side effects.
 */
export type CreateInput<T, New = T> = New | ((previous: Readonly<T> | null) => New);

/**
 * The data that `update` accepts: some of the fields. The value `undefined` removes a field and is allowed only for
 * optional fields. Without `exactOptionalPropertyTypes`, TypeScript accepts it for all fields, and the store rejects it at
 * run time.
 */
export type SessionPatch<T> = { readonly [K in keyof T]?: T[K] | ({} extends Pick<T, K> ? undefined : never) };

/**
 * A patch, or a function that returns one from the current data. It must be synchronous, and it may be called again, so avoid
 * side effects.
 */
export type PatchInput<T> = SessionPatch<T> | ((data: Readonly<T>) => SessionPatch<T>);

/** The names of the plain number fields, which `increment` accepts. */
export type NumberField<T> = {
  [K in keyof T & string]-?: 0 extends 1 & T[K]
    ? never
    : number extends T[K]
      ? [T[K]] extends [number | undefined]
        ? K
        : never
      : never;
}[keyof T & string];

/** The names of the optional fields, which `take` accepts. */
export type OptionalField<T> = { [K in keyof T & string]-?: {} extends Pick<T, K> ? K : never }[keyof T & string];

/** The name of one declared index and a value, for example `{ user: "42" }`. */
export type IndexQuery<Index extends string, Name extends Index = Index> = Name extends unknown
  ? Shown<{ [K in Name]: string } & { [K in Exclude<Index, Name>]?: never }>
  : never;

/** An intersection of objects as one read-only object, so that editors and error messages show its members. */
export type Shown<X> = X extends unknown ? { readonly [K in keyof X]: X[K] } : never;
