function NullObject(): void {}
NullObject.prototype = Object.freeze(Object.create(null));

/** An object that inherits nothing, as from `Object.create(null)`, which engines make slow and large. */
export function nullObject<V = string>(): Record<string, V> {
  return new (NullObject as unknown as { new (): Record<string, V> })();
}
