import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Application,
  headerOf,
  SESSION_LINE,
  sessionLines,
  startApplication,
  type Use,
} from "../support/answer-app.ts";
import { type Difference, differencesOf } from "../support/answer-differences.ts";
import { answerKinds } from "../support/answer-kinds.ts";
import { answerServers } from "../support/answer-servers.ts";
import { IncompleteAnswer, type RawAnswer } from "../support/raw-http.ts";

const REQUESTS = [
  ["GET", {}],
  ["HEAD", {}],
  ["GET", { range: "bytes=2-4" }],
] as const;

const USES = ["unused", "read", "created"] as const satisfies readonly Use[];

/** The headers that the middleware adds, and the time. */
const ADDED = ["cache-control", "vary", "date"];

/** What a client sees of an answer apart from the headers that the middleware adds. */
function seen(answer: RawAnswer | string, differences: readonly Difference[], adds = false) {
  if (typeof answer === "string") return answer;
  const ignored = [...ADDED, ...differences.flatMap(({ ignores = [] }) => ignores)];
  // The boundary of a form is random.
  const boundary = /boundary=([^";]+)/.exec(headerOf(answer, "content-type") ?? "")?.[1];
  const settled = (text: string) => (boundary === undefined ? text : text.replaceAll(boundary, "boundary"));
  const headers = answer.headers
    .filter(([name, value]) => !(ignored.includes(name) || (name === "set-cookie" && SESSION_LINE.test(value))))
    .map(([name, value]) => `${name}: ${settled(value).replace(/;charset=/i, "; charset=")}`);
  return {
    status: answer.status,
    framing: ignored.includes("content-length") ? null : answer.framing,
    headers: [...headers, ...(adds ? differences.flatMap(({ adds = [] }) => adds) : [])].sort(),
    body: settled(answer.body),
  };
}

/** The answer, or why there is none. */
async function attempt(answer: Promise<RawAnswer>): Promise<RawAnswer | string> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof IncompleteAnswer) return error.message;
    throw error;
  }
}

function expectAdded(answer: RawAnswer | string, bare: RawAnswer | string, use: Use): void {
  if (typeof answer === "string" || typeof bare === "string") return;
  const cacheControl = headerOf(answer, "cache-control");
  expect(sessionLines(answer)).toHaveLength(use === "created" ? 1 : 0);
  if (use === "unused") {
    expect([cacheControl, headerOf(answer, "vary")]).toEqual([headerOf(bare, "cache-control"), headerOf(bare, "vary")]);
  } else {
    expect(cacheControl).toMatch(use === "created" ? /no-store/ : /private|no-store|no-cache/);
    expect(headerOf(answer, "vary")).toMatch(/\*|cookie/i);
  }
}

describe.each(answerServers.map((server) => [server.name, server] as const))("behind %s", (name, server) => {
  let app: Application;
  beforeAll(async () => {
    app = await startApplication(server);
  });
  afterAll(() => app.close());

  test.each(Object.keys(answerKinds))(
    "a client receives %s as the handler made it, with the added headers",
    async (kind) => {
      for (const [method, headers] of REQUESTS) {
        const compared = (use: Use) => !differencesOf(name, kind, method, use).some(({ hasOwnTest }) => hasOwnTest);
        if (!compared("bare")) continue;
        const [bare, ...answers] = await Promise.all(
          (["bare", ...USES.filter(compared)] as const).map(async (use) => ({
            use,
            answer: await attempt(app.request(use, kind, method, headers)),
          })),
        );
        if (bare === undefined) continue;
        for (const { use, answer } of answers) {
          const differences = differencesOf(name, kind, method, use);
          const context = `${method} ${JSON.stringify(headers)}, session ${use}`;
          expect.soft(seen(answer, differences), context).toEqual(seen(bare.answer, differences, true));
          expectAdded(answer, bare.answer, use);
        }
      }
    },
  );
});
