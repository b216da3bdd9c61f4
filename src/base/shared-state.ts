const STATE = Symbol.for("zession.state.1");

/**
 * Returns a state that all copies of this package in the process share: an application and a library that it uses may each
 * have their own copy. The number in the symbol changes when the form of a state does.
 */
export function sharedState<S extends object>(name: string, make: () => S): S {
  const holder = globalThis as { [STATE]?: Map<string, object> };
  holder[STATE] ??= new Map();
  const state = holder[STATE].get(name) ?? make();
  holder[STATE].set(name, state);
  return state as S;
}
