/**
 * For tests of applications and of backends.
 *
 * @module
 */
export { type Clock, manualClock } from "./clock.ts";
export { backendContract } from "./contract.ts";
export { testSession } from "./session.ts";
