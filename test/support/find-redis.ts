import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

const NAMES = ["redis-server", "valkey-server"];
const FOLDERS = ["/usr/bin", "/usr/local/bin", "/usr/sbin", "/opt/homebrew/bin"];

function onPath(): string | null {
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), ...FOLDERS]) {
    for (const name of NAMES) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // The program is not in this folder.
      }
    }
  }
  return null;
}

/** Installs Debian's package; `RUNLEVEL=1` prevents its service from starting. */
function install(): string | null {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return null;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const apt = (...args: string[]): unknown => execFileSync("apt-get", args, { env, stdio: "ignore" });
  const packages = ["install", "-y", "--no-install-recommends", "redis-server"];
  try {
    apt(...packages);
  } catch {
    apt("update");
    apt(...packages);
  }
  return onPath();
}

/** Returns the path of a server executable. @throws An error that says how to install one. */
export function findRedis(): string {
  let failure: unknown;
  try {
    const found = onPath() ?? install();
    if (found !== null) return found;
  } catch (error) {
    failure = error;
  }
  throw new Error(
    [
      "There is no Redis to test against. Do one of these:",
      "  - set REDIS_URL to a server; the tests write only below a random prefix of their own",
      "  - install redis-server or valkey-server (Debian: apt install redis-server; macOS: brew install redis)",
      "  - run only the tests that need none: npm run test:unit",
    ].join("\n"),
    { cause: failure },
  );
}
