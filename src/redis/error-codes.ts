/** The error codes of a server that cannot answer at the moment, or that does not hold the key. */
export const UNAVAILABLE: readonly string[] = [
  "LOADING",
  "MASTERDOWN",
  "CLUSTERDOWN",
  "TRYAGAIN",
  "BUSY",
  "MOVED",
  "ASK",
];
/** Names and codes of errors that node-redis or the socket raises before the command is sent. */
export const UNSENT: readonly string[] = [
  "ClientOfflineError",
  "ClientClosedError",
  "ConnectionTimeoutError",
  "RootNodesUnavailableError",
  "TimeoutError",
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
];

/** The error codes with which a server rejects credentials. A retry does not fix them. */
const REFUSALS: readonly unknown[] = ["WRONGPASS", "NOAUTH", "NOPERM"];

/** Whether the server has rejected the credentials of the connection. */
export function isRefusal(error: unknown): boolean {
  return REFUSALS.includes(codeOf(error));
}

/** Cuts the arguments off an "unknown command" error: Redis quotes them, and they contain keys and session data. */
export function withoutArguments(error: unknown): unknown {
  const [said = "", quoted] = error instanceof Error ? error.message.split(", with args beginning with:") : [];
  return quoted === undefined ? error : new Error(said);
}

/** How Redis 6 wraps the error reply to a command inside a script. */
const WITHIN_SCRIPT = /^ERR Error running script .*?: -?([A-Z]{2,}) /;

/**
 * Whether a script was stopped by a command that the account may not run: its earlier commands may have taken effect. Redis 7
 * names no command.
 */
export function isStopped(error: unknown): boolean {
  const message = error instanceof Error ? error.message : "";
  if (message.startsWith("ERR The user executing the script can't run this command")) return true;
  return WITHIN_SCRIPT.exec(message)?.[1] === "NOPERM";
}

/** Returns the first word of an error reply (`WRONGTYPE Operation against...`), or `null` for a connection error. */
export function codeOf(error: unknown): string | null {
  const message = error instanceof Error ? error.message : "";
  return (WITHIN_SCRIPT.exec(message) ?? /^([A-Z]+)(?: |$)/.exec(message))?.[1] ?? null;
}
