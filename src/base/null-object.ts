function NullObject(): void {}
NullObject.prototype = Object.freeze(Object.create(null));

/** Creates an object without a prototype. Faster and smaller than `Object.create(null)`. */
export function nullObject<V = string>(): Record<string, V> {
  return new (NullObject as unknown as { new (): Record<string, V> })();
}
