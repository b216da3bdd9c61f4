/**
 * Helpers for the tests of applications and of backends.
 *
 * @module
 */
export { type Clock, type ManualClock, manualClock } from "./clock.ts";
export { backendContract } from "./contract/contract.ts";
export { testSession } from "./test-session.ts";
