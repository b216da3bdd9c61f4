/**
 * Checks that the account may run all commands of a script before the script changes anything. Redis checks each command
 * only when a script calls it, and does not roll back: without the right to PEXPIRE, a session would be stored without
 * an expiration.
 *
 * @module
 */
import { codeOf } from "./error-codes.ts";
import { type Script, script } from "./lua.ts";

/**
 * What is known about a script on a connection. `granted`: the account may run it. `loaded`: the server has cached it as
 * well. While the check runs, a promise: it rejects if nothing may be sent, and resolves to false if it found out nothing.
 */
export type Permission = "granted" | "loaded" | Promise<boolean>;

/**
 * Lua: returns an error if the account lacks one of the commands. Redis before 7.0 cannot tell. The number of arguments
 * must fit the command, so it is tried out.
 */
const check = (commands: readonly string[]): string => /* lua */ `
if redis.acl_check_cmd then
  for command in string.gmatch('${commands.join(" ")}', '%u+') do
    local isKnown, isPermitted = false, false
    for count = 0, 3 do
      if not isKnown then
        isKnown, isPermitted = pcall(redis.acl_check_cmd, command, unpack({ KEYS[1], '1', '1' }, 1, count))
      end
    end
    if not isKnown or not isPermitted then
      return redis.error_reply("NOPERM no permission for the '" .. string.lower(command) .. "' command")
    end
  end
end
`;

const made = new Map<string, Script>();

/**
 * Returns the script with a check of the permissions before it.
 *
 * @param others Further commands that its caller needs.
 */
export function withCheck(original: Script, others: readonly string[] = []): Script {
  const name = [original.sha1, ...others].join(" ");
  const known = made.get(name);
  if (known !== undefined) return known;
  const called = [...original.text.matchAll(/redis\.p?call\('([A-Z]+)'/g)].map(([, command = ""]) => command);
  const checked = script(check([...new Set([...called, ...others])]) + original.text);
  made.set(name, checked);
  return checked;
}

/**
 * Runs a script with the check, and notes whether the account may run it.
 *
 * @param known What is known about the scripts on this connection.
 */
export async function runChecked(
  known: Map<Script, Permission>,
  original: Script,
  run: (checked: Script) => Promise<unknown>,
): Promise<unknown> {
  const running = run(withCheck(original));
  if (!known.has(original)) {
    const permission = running.then(
      () => true,
      (error) => {
        const code = codeOf(error);
        if (code === null || code === "NOPERM") throw error;
        // An error of this call alone, such as one about the type of its key.
        return false;
      },
    );
    known.set(original, permission);
    permission.then(
      (isGranted) => (isGranted ? known.set(original, "granted") : known.delete(original)),
      () => known.delete(original),
    );
  }
  return await running;
}
