let made = 0;

/** Notes that a store of this process may have ended a session, or changed sessions by index. */
export function noteChange(): void {
  made++;
}

/** How many such changes this process has made. What was read before the latest may be out of date. */
export function changesMade(): number {
  return made;
}
