import type { Change } from "../backend.ts";
import { kindOf } from "../base/checks.ts";
import { type Duration, milliseconds } from "../base/durations.ts";
import { reserved } from "../record.ts";
import type { Session } from "../session.ts";

/**
 * Whether the user was authenticated within the last `maxAge`. Use it to ask for the password again before a
 * sensitive action (ASVS 5.0 7.5.1 and 7.5.3). `false` if `authenticatedAt` is `null` or more than a minute in the future.
 *
 * @param now The current time in Unix milliseconds.
 * @throws {TypeError | RangeError} If `maxAge` is not a duration.
 */
export function isFresh(session: Session<unknown>, maxAge: Duration, now: number = Date.now()): boolean {
  const maxAgeMs = milliseconds("check the age of an authentication", "maxAge", maxAge, 0);
  if (session.authenticatedAt === null) return false;
  const age = now - session.authenticatedAt.getTime();
  return age >= -60_000 && age <= maxAgeMs;
}

/** `new Date(auth_time)` without `* 1000` is a time in 1970. */
const EARLIEST = Date.UTC(1971);
const DAY_MS = 86_400_000;

/**
 * Returns how a write stores the time of an authentication: `true` is the time of the backend's clock, a `Date` is stored
 * as given.
 *
 * @param now The current time in Unix milliseconds.
 * @throws {TypeError} If the value is neither `true` nor a `Date`.
 * @throws {RangeError} If the date is invalid, before 1971, or more than a day in the future.
 */
export function authentication(
  action: string,
  authenticated: unknown,
  now: number,
): Pick<Change, "set"> & { readonly stamp: readonly string[] } {
  if (authenticated === undefined) return { set: {}, stamp: [] };
  if (authenticated === true) return { set: {}, stamp: [reserved.authenticatedAt] };
  if (!(authenticated instanceof Date)) {
    const received = authenticated === false ? "false" : kindOf(authenticated);
    throw new TypeError(`Cannot ${action} as authenticated must be true or a Date, or left out: received ${received}`);
  }
  const time = authenticated.getTime();
  if (!(time >= EARLIEST && time <= now + DAY_MS)) {
    const received = Number.isNaN(time) ? "an invalid date" : authenticated.toISOString();
    throw new RangeError(
      `Cannot ${action} as authenticated must be a date from 1971 to a day from now, for example new Date(auth_time * 1000): received ${received}`,
    );
  }
  return { set: { [reserved.authenticatedAt]: authenticated.toISOString() }, stamp: [] };
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
