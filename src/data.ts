/**
 * A zod 4 object schema, from `zod` or `zod/mini`. The type is structural, so a schema from any copy of zod is accepted. A
 * transformed, piped, readonly or union schema is not, because its `def.type` is not `"object"`.
 *
 * @typeParam T The output type of the schema, which is the type of the session data.
 * @typeParam In The input type of the schema.
 */
export interface SessionSchema<T = unknown, In = unknown> {
  readonly _zod: {
    readonly def: { readonly type: "object"; readonly shape: Readonly<Record<string, unknown>> };
    readonly output: T;
    readonly input: In;
  };
}

/**
 * The data that `create` accepts, derived from the type of a schema. Fields that the schema can fill in are optional.
 * `type Visit = z.output<typeof visit>; type NewVisit = NewSession<typeof visit>;`
 */
export type NewSession<S extends SessionSchema> = {
  // Mapping over the input keeps fields optional, and `& {}` makes editors show the fields in a tooltip.
  [K in keyof S["_zod"]["input"]]: K extends keyof S["_zod"]["output"]
    ? S["_zod"]["output"][K] | Extract<S["_zod"]["input"][K], undefined>
    : never;
} & {};

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
