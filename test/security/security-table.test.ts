import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { memoryBackend, sessionMiddleware } from "../../src/index.ts";
import { request } from "../support/http.ts";
import { visits } from "../support/visits.ts";

const folder = new URL("../../", import.meta.url);
const document = await readFile(new URL("SECURITY.md", folder), "utf8");

/** The table rows of requirements; cells: requirement, level, the library's part, the test, the application's part. */
const rows = document
  .split("\n")
  .filter((line) => /^\| \d+\.\d+\.\d+/.test(line))
  .map((line) =>
    line
      .slice(1, -1)
      .split(" |")
      .map((cell) => cell.trim()),
  );

test("the default cookie has the __Host- prefix, no Domain, Path=/, HttpOnly, Secure and SameSite=Lax", async () => {
  const { store } = visits({ backend: memoryBackend() });
  const response = await sessionMiddleware(store)(request(), async (session) => {
    await session.create({});
    return new Response();
  });
  const [pair, ...attributes] = response.headers.getSetCookie().join().split("; ");
  expect(pair).toMatch(/^__Host-Http-sid=[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}$/);
  expect(attributes).toEqual(["Path=/", "HttpOnly", "Secure", "SameSite=Lax"]);
});

describe("SECURITY.md", () => {
  test("SECURITY.md lists every requirement of chapters V3.3 and V7", () => {
    const numbers = rows.flatMap(([cell = ""]) => cell.match(/\d+\.\d+\.\d+/g) ?? []);
    const chapters: Record<string, number> = { "3.3": 5, "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2 };
    for (const [chapter, count] of Object.entries(chapters)) {
      const those = Array.from({ length: count }, (_, at) => `${chapter}.${at + 1}`);
      expect(numbers.filter((number) => number.startsWith(`${chapter}.`))).toEqual(those);
    }
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test.each(rows.map((row) => [row[0] ?? "", row] as const))(
    'the row "%s" says how the requirement is met and names an existing test',
    async (_, row) => {
      expect(row).toHaveLength(5);
      expect(row[1]).toMatch(/^[123](, [123])?$/);
      expect(row[2]).not.toBe("");
      const [, file = "", name = ""] = /^`(test\/[\w./-]+\.ts)` "(.+)"$/.exec(row[3] ?? "") ?? [];
      const source = await readFile(new URL(file, folder), "utf8");
      // The quote must be a title: it follows `test(`, `describe(` or `test.each(...)(`.
      const place = source.split(JSON.stringify(name));
      expect(place, `${file} has no test of the name ${name}`).toHaveLength(2);
      expect(place[0]).toMatch(/(\b(test|describe)|\))\(\s*$/);
    },
  );
});
