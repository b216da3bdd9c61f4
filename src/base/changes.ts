import { sharedState } from "./shared-state.ts";

const changes = sharedState("changes", () => ({ made: 0 }));

/** Counts one more change. Called when a store of this process may have ended sessions or changed them by index. */
export function noteChange(): void {
  changes.made++;
}

/** Returns the number of changes so far. If it grew after a read, the result of that read may be out of date. */
export function changesMade(): number {
  return changes.made;
}
