import type { ParsedToken } from "../base/token.ts";
import { expectation } from "../record.ts";
import { type Decoder, isDamaged } from "./decoding.ts";
import type { Runner, Target } from "./runner.ts";
import type { Settings } from "./settings.ts";
import type { Storage } from "./storage.ts";

/** Ends a session. Returns whether it existed, or `changed` if a field has another text than expected. */
export type End = (target: Target, expect?: Readonly<Record<string, string | null>>) => Promise<boolean | "changed">;

/** The session that a new one replaces, during one call of `create`. */
export interface Replacement<T> {
  /**
   * Reads the session. `end` then ends it only if its data is still the same. Returns `null` if there is no session, or if its
   * data does not fit the schema, which is reported.
   */
  previous(): Promise<T | null>;
  /** Returns the key if the token is valid, also if the data cannot be read. */
  key(): Promise<string | null>;
  /** Ends the session. Returns `changed` if its data is not the same as in the last `previous`. */
  end(): ReturnType<End>;
}

/** Creates a function that begins a replacement. */
export function createReplacement<T>(
  { backend }: Settings,
  { orReport }: Runner,
  { accessTo, fields, read }: Storage,
  { decode }: Decoder<T>,
  end: End,
): (step: Target["step"], old: ParsedToken | null) => Replacement<T> {
  return (step, old) => {
    let target: Target | null = old && { ...old, step };
    let expect: Readonly<Record<string, string | null>> | undefined;

    /** Reaches the session by its key from now on, because its token was valid: a rotation must not save it. */
    function verified(present: Target): void {
      target = { ...present, verifier: null, isInternal: true };
    }

    return {
      async previous() {
        const present = target;
        if (present === null) return null;
        const found = await orReport(present.id, async () => {
          const record = await read(present);
          return record === null ? "none" : decode(record);
        });
        expect = undefined;
        if (found === "none") {
          // If it is bound to a device, it still ends: that gives no access to it.
          target = { ...present, isInternal: true };
          return null;
        }
        verified(present);
        if (found === null) return null;
        const names = fields.filter((name) => !isDamaged(found.stored[name]));
        expect = expectation(found.stored, names);
        return found.data;
      },
      async key() {
        const present = target;
        if (present === null) return null;
        if (present.verifier === null) return present.key;
        const request = { fields: [] };
        const found = await step("reads", () =>
          backend.read(present.key, accessTo({ ...present, unproven: true }), request),
        );
        if (found !== "invalid" && (found === null || typeof found === "string")) return null;
        verified(present);
        return present.key;
      },
      end: async () => (target === null ? false : await end(target, expect)),
    };
  };
}
