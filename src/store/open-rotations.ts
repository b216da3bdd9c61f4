import type { ParsedToken } from "../base/token.ts";
import type { Target } from "./runner.ts";

/** A rotation that was sent and of which is not known yet whether its new token reaches anybody. */
export interface Undecided {
  /** Waits until it is known. A rotation that was given up is looked up at once. */
  decided(): Promise<unknown>;
}

/** All of those in one store, by the token that they replace. */
export interface OpenRotations {
  add(token: ParsedToken, rotation: Undecided): void;
  delete(token: ParsedToken, rotation: Undecided): void;
  /** Waits for those that replace this token. Answers whether there were none. */
  isDecided(target: Target): Promise<boolean>;
}

export function openRotations(): OpenRotations {
  const open = new Map<string, Set<Undecided>>();
  const nameOf = ({ key, verifier }: ParsedToken): string => `${key} ${verifier}`;
  return {
    add(token, rotation) {
      const name = nameOf(token);
      open.set(name, (open.get(name) ?? new Set()).add(rotation));
    },
    delete(token, rotation) {
      const name = nameOf(token);
      const all = open.get(name);
      all?.delete(rotation);
      if (all?.size === 0) open.delete(name);
    },
    async isDecided(target) {
      const rotations = [...(open.get(nameOf(target)) ?? [])];
      if (rotations.length === 0) return true;
      await target.step("reads", () => Promise.all(rotations.map((rotation) => rotation.decided())));
      return false;
    },
  };
}
