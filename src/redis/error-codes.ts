/** How Redis 6 wraps the error reply to a command inside a script. */
const WITHIN_SCRIPT = /^ERR Error running script .*?: -?([A-Z]{2,}) /;

/** Returns the first word of an error reply (`WRONGTYPE Operation against...`), or `null` for a connection error. */
export function codeOf(error: unknown): string | null {
  const message = error instanceof Error ? error.message : "";
  return (WITHIN_SCRIPT.exec(message) ?? /^([A-Z]+)(?: |$)/.exec(message))?.[1] ?? null;
}
