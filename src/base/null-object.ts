function NullObject(): void {}
NullObject.prototype = Object.freeze(Object.create(null));

/** Creates an object without a prototype. Faster and smaller than `Object.create(null)`. */
export function nullObject<V = string>(): Record<string, V> {
  return new (NullObject as unknown as { new (): Record<string, V> })();
}

/** Returns a property of the object itself; `undefined` for one that it only inherits, such as `constructor`. */
export function ownProperty(object: unknown, name: string): unknown {
  return Object.hasOwn(object as object, name) ? (object as Record<string, unknown>)[name] : undefined;
}
