import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { canRun, missingRuntime } from "../support/availability.ts";

const readme = await readFile("README.md", "utf8");
const [, program = ""] = /```ts\n(.*?)```/s.exec(readme) ?? [];
const [, transcript = ""] = /```console\n(.*?)```/s.exec(readme) ?? [];

/** Runs the first program of the README on Bun, in a folder below node_modules so that zod is found. */
async function start(): Promise<{ url: string; stop(): Promise<void> }> {
  const folder = resolve("node_modules/.cache/readme", crypto.randomUUID());
  await mkdir(folder, { recursive: true });
  const file = join(folder, "program.ts");
  await writeFile(file, program.replace('"zession"', JSON.stringify(resolve("src/index.ts"))).replace("3000", "0"));
  const server = spawn("node_modules/.bin/bun", [file], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(server, "exit");
  const [line] = await Promise.race([
    once(server.stdout, "data"),
    ended.then(() => Promise.reject(new Error("It ended"))),
  ]);
  const [url = ""] = /http:\S+/.exec(String(line)) ?? [];
  return {
    url,
    async stop() {
      server.kill();
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}

/** A response as the transcript shows it, with sorted headers in lower case. */
async function shown(response: Response): Promise<string[]> {
  const left = ["content-type", "date", "content-length", "connection", "keep-alive"];
  const headers = [...response.headers].filter(([name]) => !left.includes(name));
  return [
    `${response.status}`,
    ...headers.map(([name, value]) => `${name}: ${value.replace(/=[\w.-]{66}/, "=TOKEN")}`).sort(),
    await response.text(),
  ];
}

function transcribed(command: string): string[] {
  const [, answer = ""] =
    transcript
      .split(/^\$ /m)
      .map((part) => [part.split("\n", 1)[0], part] as const)
      .find(([first]) => first?.includes(command)) ?? [];
  const [, status, headers = "", body] = /\nHTTP\/1.1 (\d+).*?\n(.*?)\n\n(.*)$/s.exec(answer) ?? [];
  const lines = headers.split("\n").map((line) => line.replace(/^[\w-]+/, (name) => name.toLowerCase()));
  return [`${status}`, ...lines.map((line) => line.replace(/=[\w.-]{66}/, "=TOKEN")).sort(), `${body}`];
}

const hasBun = canRun("test of the README's first program", missingRuntime("bun"));

test.runIf(hasBun)("the README's first program begins by line 8 and responds as its transcript shows", async () => {
  expect(readme.split("\n").slice(0, 8).join("\n")).toContain("```ts");
  const { url, stop } = await start();
  try {
    expect(await shown(await fetch(url))).toEqual(transcribed("curl -i localhost:3000/ "));
    const login = await fetch(`${url}login`, { method: "POST" });
    const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
    expect(await shown(login)).toEqual(transcribed("-X POST"));
    expect(transcript).toContain("\nView 1\n");
    expect(await (await fetch(url, { headers: { cookie } })).text()).toBe("View 1\n");
  } finally {
    await stop();
  }
});
