import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { onNode } from "../support/runtime.ts";

/** A change of a source: the text that it replaces must occur once. */
type Change = readonly [path: string, text: string, without: string];

/** The clauses of the rule by which indexes live as long as their sessions, and the changes of sources that remove them. */
const CLAUSES: Readonly<Record<string, readonly Change[]>> = {
  "no touch gives a session life beyond its deadline": [
    ["record.ts", "? idle : Math.min(idle, deadline - now)", "? idle : idle"],
    // The deadline ends the record, and is compared at each access as well.
    ["base/access.ts", "deadline <= access.now ? null", "false ? null"],
  ],
  "an extension never shortens an index": [
    ["memory/indexes.ts", "live.expires = Math.max(live.expires, expires)", "live.expires = expires"],
  ],
  "an extension enters a session that its index has lost": [
    ["memory/indexes.ts", "if (isNew) add(index, key, Math.max", "if (false) add(index, key, Math.max"],
  ],
  "a session that comes back stands behind all others": [
    ["memory/indexes.ts", "Math.max((now - MIN_PRUNE_AGE) * 1000, index.last + 1)", "(now - MIN_PRUNE_AGE) * 1000"],
  ],
  "an index lives longer than what its sessions are covered for": [
    ["indexes/members.ts", "const MARGIN_MS = 60_000", "const MARGIN_MS = 0"],
  ],
  "a session is covered until the earliest end of its indexes": [
    ["indexes/members.ts", "return Math.min(...answers", "return Math.max(...answers"],
  ],
  "indexes are extended before the session lives longer": [
    [
      "store/extension.ts",
      "await registry.extend(step, key, indexEntries(present), coverMs(present))",
      "{ covered: time() + coverMs(present) }",
    ],
  ],
  "an extension expects the index entries that were read": [
    ["store/extension.ts", "[reserved.index, reserved.absolute, reserved.deadline]", "[reserved.deadline]"],
  ],
  "an extension expects the number of moves that was read": [["store/moves.ts", "moves: moves + 1", "moves"]],
  "an extension that a move overtook is tried again": [
    ["store/extension.ts", "const MAX_ATTEMPTS = 2", "const MAX_ATTEMPTS = 1"],
  ],
  "a call that raises the idle timeout does not rely on the extension of another call": [
    ["store/extension.ts", "isOwn = !running.has(key)", "isOwn = true"],
  ],
  "a move does not lengthen what the entries that stay are known to cover": [
    [
      "store/moves.ts",
      "Math.min(end ?? Number.POSITIVE_INFINITY, covered)",
      "Math.min(absolute ?? Number.POSITIVE_INFINITY, covered)",
    ],
  ],
  "a session without session_absolute enters its indexes again": [
    ["store/moves.ts", "known === null || !held.includes(entry)", "!held.includes(entry)"],
  ],
  "a session whose entries do not fit its data is moved": [
    [
      "store/moves.ts",
      "if (!isUpgraded && hasEntries(stored, entries)) return stored",
      "if (!isUpgraded) return stored",
    ],
  ],
  "entries of indexes that the store does not declare stay": [
    [
      "indexes/declarations.ts",
      "[...entriesOf(data), ...stored.filter((entry) => !byName.has(indexName(entry)))]",
      "[...entriesOf(data)]",
    ],
  ],
};

/** The tests that must notice it. */
const NOTICING = ["store/extension.test.ts", "store/shared-extension.test.ts", "indexes/versions.test.ts"];

const root = fileURLToPath(new URL("../..", import.meta.url));

interface Results {
  readonly testResults: readonly { readonly name: string; readonly status: string; readonly message: string }[];
}

/** Copies the sources and tests, one copy for each clause without it, and runs the tests that must notice it. */
async function run(place: string): Promise<Results> {
  await symlink(join(root, "node_modules"), join(place, "node_modules"));
  await writeFile(join(place, "package.json"), '{ "type": "module" }');
  const copies = Object.values(CLAUSES).map(async (changes, at) => {
    const copy = join(place, `${at}`);
    const copied = ["src", "test/support", ...NOTICING.map((name) => `test/${name}`)];
    await Promise.all(copied.map((name) => cp(join(root, name), join(copy, name), { recursive: true })));
    for (const [path, text, without] of changes) {
      const source = await readFile(join(copy, "src", path), "utf8");
      expect(source.split(text), `${path} has the text once: ${text}`).toHaveLength(2);
      await writeFile(
        join(copy, "src", path),
        source.replace(text, () => without),
      );
    }
  });
  await Promise.all(copies);
  const report = join(place, "report.json");
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const args = ["run", "--root", place, "--pool", "threads", "--reporter", "json", "--outputFile", report];
  const running = spawn(process.execPath, [vitest, ...args], { cwd: place, stdio: "ignore" });
  await once(running, "exit");
  return JSON.parse(await readFile(report, "utf8"));
}

// The result does not depend on the runtime.
describe.skipIf(!onNode)("the rule by which indexes live as long as their sessions", () => {
  let place = "";
  let results: Results = { testResults: [] };

  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), "zession-ablations-"));
    results = await run(place);
  }, 120_000);

  afterAll(async () => {
    await rm(place, { recursive: true, force: true });
  });

  test.each(Object.keys(CLAUSES).map((clause, at) => [clause, at] as const))(
    "the tests notice if this clause is missing: %s",
    (_, at) => {
      const found = results.testResults.filter(({ name }) => name.startsWith(join(place, `${at}/`)));
      expect(found).toHaveLength(NOTICING.length);
      expect(found.map(({ status }) => status)).toContain("failed");
      // A test fails, and not the module.
      expect(found.map(({ message }) => message).join("")).toBe("");
    },
  );
});
