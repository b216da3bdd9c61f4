/** The keys of the warnings that were already written. */
const written = new Set<string>();

/**
 * Writes a warning to the console, once per process and key. For programming mistakes that are no errors.
 *
 * @param message Contains no token and no session data.
 */
export function warnOnce(key: string, message: string): void {
  if (written.has(key)) return;
  written.add(key);
  warn(message);
}

/**
 * Writes a warning to the console.
 *
 * @param message As for `warnOnce`.
 */
export function warn(message: string): void {
  // biome-ignore lint/suspicious/noConsole: every runtime has console.warn, and there may be no listener yet.
  console.warn(`zession: ${message}`);
}
