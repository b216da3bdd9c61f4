import { type Duration, milliseconds } from "../base/durations.ts";
import type { Session } from "../session.ts";

/**
 * Whether the user was authenticated within the last `maxAge`. Use it to ask for the password again before a
 * sensitive action (ASVS 5.0 7.5.1 and 7.5.3). An authentication time more than a minute in the future is not fresh.
 *
 * @param now The current time in Unix milliseconds.
 * @throws {TypeError | RangeError} If `maxAge` is not a duration.
 */
export function isFresh(session: Session<unknown>, maxAge: Duration, now: number = Date.now()): boolean {
  const maxAgeMs = milliseconds("check the age of an authentication", "maxAge", maxAge, 0);
  const age = now - session.authenticatedAt.getTime();
  return age >= -60_000 && age <= maxAgeMs;
}

/**
 * Timeouts for the authentication assurance levels of NIST SP 800-63B-4 (sections 2.1.3, 2.2.3 and 2.3.3). Spread one into
 * the options of a store: `{ ...nistTimeouts.aal2 }`. Level 1 does not specify an idle timeout; here it is half of the
 * absolute timeout.
 */
export const nistTimeouts: {
  readonly [Level in "aal1" | "aal2" | "aal3"]: { readonly idleTimeout: Duration; readonly absoluteTimeout: Duration };
} = Object.freeze({
  aal1: Object.freeze({ idleTimeout: "15d", absoluteTimeout: "30d" }),
  aal2: Object.freeze({ idleTimeout: "1h", absoluteTimeout: "24h" }),
  aal3: Object.freeze({ idleTimeout: "15m", absoluteTimeout: "12h" }),
});
