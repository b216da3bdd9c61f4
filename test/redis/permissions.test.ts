import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { canRun, missingRuntime } from "../support/availability.ts";
import { atEnd, ownServers, serve } from "../support/own-servers.ts";

const WORKS = "The session belongs to user 42\n";
const { port } = new URL(inject("redisUrl"));

ownServers();

/** Runs a program on Deno with these permissions and no others, and returns what it printed. */
async function onDeno(permissions: readonly string[], program: string, ...args: string[]): Promise<string> {
  const flags = ["run", "--no-prompt", "--no-check", ...permissions];
  const child = spawn("node_modules/.bin/deno", [...flags, program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
  await once(child, "close");
  return said;
}

const use = (permissions: readonly string[], ...args: string[]) =>
  onDeno(permissions, "test/support/permissions.ts", ...args);

describe.runIf(canRun("permissions on Deno", missingRuntime("deno")))("the permissions on Deno", () => {
  test("sessions in memory need no permission", async () => {
    expect(await use([])).toBe(WORKS);
  });

  test("sessions in Redis need --allow-net, for the host of the address, and nothing else", async () => {
    expect(await use(["--allow-net"], `redis://localhost:${port}`)).toBe(WORKS);
    expect(await use(["--allow-net=localhost"], `redis://localhost:${port}`)).toBe(WORKS);
    expect(await use(["--allow-net=127.0.0.1"], `redis://127.0.0.1:${port}`)).toBe(WORKS);
    expect(await use([`--allow-net=127.0.0.1:${port}`], `redis://127.0.0.1:${port}`)).toBe(WORKS);
  });

  test("without the permission, the first call is rejected at once and names the flag", async () => {
    for (const host of ["localhost", "127.0.0.1"]) {
      const said = await use(["--allow-net=other.example"], `redis://${host}:${port}`);
      expect(said).toMatch(/^rejected: Cannot connect to Redis at \S+ as this process has no permission.*--allow-net/);
    }
  });

  test("a Unix socket needs --allow-net, and --allow-read and --allow-write for the socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "zession-socket-"));
    atEnd(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "redis.sock");
    await serve("--unixsocket", path);
    const files = [`--allow-read=${path}`, `--allow-write=${path}`];
    expect(await use([...files, "--allow-net"], `unix://${path}`)).toBe(WORKS);
    expect(await use(["--allow-net"], `unix://${path}`)).toMatch(/^rejected: .*no permission.*--allow-read/);
  });
});
