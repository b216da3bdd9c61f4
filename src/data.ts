/**
 * A zod 4 object schema, classic or mini, told by its structure, so that a schema from any copy of zod fits.
 * A transformed, piped, readonly or union schema does not: its `def.type` is not `"object"`.
 *
 * @typeParam T What the schema puts out: the data of a session.
 * @typeParam In What the schema takes in.
 */
export interface SessionSchema<T = unknown, In = unknown> {
  readonly _zod: {
    readonly def: { readonly type: "object"; readonly shape: Readonly<Record<string, unknown>> };
    readonly output: T;
    readonly input: In;
  };
}

/**
 * What `create` takes, from the type of a schema: the data, where everything that the schema can fill in may be left
 * out. `type Visit = z.output<typeof visit>; type NewVisit = NewSession<typeof visit>;`
 */
export type NewSession<S extends SessionSchema> = {
  // Mapping over the input keeps its question marks; `& {}` makes hovers show the members.
  [K in keyof S["_zod"]["input"]]: K extends keyof S["_zod"]["output"]
    ? S["_zod"]["output"][K] | Extract<S["_zod"]["input"][K], undefined>
    : never;
} & {};

/**
 * What `update` takes: some fields of the data. `undefined` removes a field and is allowed only where the field is
 * optional in the data. Without `exactOptionalPropertyTypes` TypeScript lets it through everywhere; it is then refused
 * at run time.
 */
export type SessionPatch<T> = { readonly [K in keyof T]?: T[K] | ({} extends Pick<T, K> ? undefined : never) };

/** A patch, or a function from the present data to one. The function may run more than once and has no side effects. */
export type PatchInput<T> = SessionPatch<T> | ((data: Readonly<T>) => SessionPatch<T>);

/** Names of the fields that are plain numbers, the ones `increment` takes. */
export type NumberField<T> = {
  [K in keyof T & string]-?: 0 extends 1 & T[K]
    ? never
    : number extends T[K]
      ? [T[K]] extends [number | undefined]
        ? K
        : never
      : never;
}[keyof T & string];

/** Names of the fields that may be absent, the ones `take` takes. */
export type OptionalField<T> = { [K in keyof T & string]-?: {} extends Pick<T, K> ? K : never }[keyof T & string];
