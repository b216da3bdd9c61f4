let made = 0;

/** Notes that a store of this process changed or ended sessions by ID or by index, or ended one by its token. */
export function noteChange(): void {
  made++;
}

/** How many such changes this process has made. What was read before the latest may be out of date. */
export function changesMade(): number {
  return made;
}
