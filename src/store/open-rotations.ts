import type { ParsedToken } from "../base/token.ts";
import type { Target } from "./runner.ts";

/** A rotation that was sent to the backend, while it is not known yet whether the caller gets the new token. */
export interface Undecided {
  /**
   * Waits until the rotation has succeeded or failed. After a failure, checks at once whether the backend applied the
   * rotation, and undoes it.
   */
  decided(): Promise<unknown>;
}

/** The undecided rotations of one store, by the token that they replace. */
export interface OpenRotations {
  add(token: ParsedToken, rotation: Undecided): void;
  delete(token: ParsedToken, rotation: Undecided): void;
  /** Waits for the rotations that replace this token. Returns whether there were none. */
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
