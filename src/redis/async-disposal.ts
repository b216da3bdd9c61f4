/**
 * Support for `await using`. `Symbol.asyncDispose` is declared neither by every `lib` of TypeScript nor on every runtime, so
 * the type depends on the `lib` of the program that imports it, and the symbol is read by its name.
 *
 * @module
 */

/** `[Symbol.asyncDispose]`, for `await using`, if the `lib` of the program declares it. */
export type AsyncDisposing = SymbolConstructor extends { readonly asyncDispose: infer Key extends symbol }
  ? { readonly [K in Key]: () => Promise<void> }
  : {};

/**
 * Adds `[Symbol.asyncDispose]` to an object, which is returned.
 *
 * @param close Called at the end of the block with `await using`.
 */
export function asyncDisposable<T extends object>(target: T, close: () => Promise<unknown>): T & AsyncDisposing {
  const key: unknown = Reflect.get(Symbol, "asyncDispose");
  if (typeof key === "symbol") {
    Object.assign(target, {
      [key]: async () => {
        await close();
      },
    });
  }
  return target as T & AsyncDisposing;
}
