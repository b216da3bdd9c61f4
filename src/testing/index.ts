/**
 * For tests of applications and of backends.
 *
 * @module
 */
export { type Clock, manualClock } from "./clock.ts";
