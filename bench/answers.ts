/**
 * What it costs a server to add headers to an answer: CPU time per request, with the way of 0.1.0 beside it, which changed
 * the handler's own object. `node answers.ts [rounds] [requests] [server]`; ratios hold within one run only.
 */
import { Agent, createServer, get as httpGet } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { withHeaders } from "../src/http/answer.ts";
import type { AnswerHeader } from "../src/http/cache-headers.ts";
import { commandOf, type Runtime, startServing } from "./runtimes.ts";

const CACHING: readonly AnswerHeader[] = [
  ["Cache-Control", "private"],
  ["Vary", "Cookie"],
];
const COOKIE: readonly AnswerHeader[] = [
  ["Set-Cookie", `__Host-Http-sid=${"i".repeat(22)}.${"s".repeat(43)}; Path=/; Secure; HttpOnly; SameSite=Lax`],
  ["Cache-Control", "no-store"],
  ["Vary", "Cookie"],
];
const CHANGES: Readonly<Record<string, readonly AnswerHeader[]>> = { unused: [], caching: CACHING, cookie: COOKIE };

/** As in 0.1.0. */
function inPlace(answer: Response, changes: readonly AnswerHeader[]): Response {
  for (const [name, first, ...more] of changes) {
    if (first === undefined) answer.headers.delete(name);
    else answer.headers.set(name, first);
    for (const value of more) answer.headers.append(name, value);
  }
  return answer;
}

const BODIES: Readonly<Record<string, () => Response>> = {
  text: () => new Response("Hello, world"),
  html: () => new Response("<p>Hello</p>".repeat(50), { headers: { "content-type": "text/html" } }),
  json: () => Response.json({ hello: "world" }),
  null: () => new Response(null, { status: 204 }),
};
/** `/<body>/<place or copy>/<changes>`, or `/<body>` alone; `/cpu` answers the CPU time so far in microseconds. */
async function fetch(request: Request): Promise<Response> {
  const [, body = "", way, changes = ""] = new URL(request.url).pathname.split("/");
  if (body === "cpu") {
    const { user, system } = process.cpuUsage();
    return new Response(String(user + system));
  }
  const answer = BODIES[body]?.() ?? new Response(null, { status: 404 });
  if (way === undefined) return answer;
  // As the middleware does, which looks for session cookies that the handler set.
  answer.headers.getSetCookie();
  return await (way === "copy" ? withHeaders : inPlace)(answer, CHANGES[changes] ?? []);
}

async function serve(server: string): Promise<void> {
  const options = { port: 0, hostname: "127.0.0.1" };
  if (server === "bun") return console.log(Reflect.get(globalThis, "Bun").serve({ ...options, fetch }).port);
  if (server === "deno") {
    const { Deno } = globalThis as { Deno?: { serve(options: object, fetch: unknown): { addr: { port: number } } } };
    return console.log(Deno?.serve({ ...options, onListen() {} }, fetch).addr.port);
  }
  const listener = server === "node" ? plain : await honoListener(server);
  const http = createServer(listener).listen(0, "127.0.0.1", () => console.log((http.address() as AddressInfo).port));
}

async function honoListener(server: string): Promise<Parameters<typeof createServer>[1]> {
  // By address, as a package of the same name is installed for the other suites here.
  const folder = server === "hono 1" ? "@hono/node-server" : "hono-node-server-2";
  const { getRequestListener } = await import(
    new URL(`../node_modules/${folder}/dist/index.mjs`, import.meta.url).href
  );
  return getRequestListener(fetch);
}

const plain: Parameters<typeof createServer>[1] = async (incoming, outgoing) => {
  const answer = await fetch(new Request(`http://${incoming.headers.host}${incoming.url}`));
  for (const [name, value] of answer.headers)
    outgoing.setHeader(name, name === "set-cookie" ? answer.headers.getSetCookie() : value);
  outgoing.writeHead(answer.status);
  const reader = answer.body?.getReader();
  for (let next = await reader?.read(); next?.value; next = await reader?.read()) outgoing.write(next.value);
  outgoing.end();
};

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

function get(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    httpGet({ agent, host: "127.0.0.1", port, path }, (answer) => {
      let text = "";
      answer.setEncoding("latin1").on("data", (piece) => {
        text += piece;
      });
      answer.on("end", () => resolve(text));
    }).on("error", reject);
  });
}

/** Microseconds of the server's CPU time for each request. */
async function cost(port: number, path: string, requests: number): Promise<number> {
  const before = Number(await get(port, "/cpu"));
  await Promise.all(Array.from({ length: requests }, () => get(port, path)));
  return (Number(await get(port, "/cpu")) - before) / requests;
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const SERVERS: Readonly<Record<string, Runtime>> = {
  node: "node",
  "hono 1": "node",
  "hono 2": "node",
  bun: "bun",
  deno: "deno",
};

async function measure(server: string, runtime: Runtime, rounds: number, requests: number): Promise<void> {
  const { child, port } = await startServing([...commandOf(runtime, import.meta.filename), "serve", server]);
  for (const body of Object.keys(BODIES)) {
    const paths = [
      `/${body}`,
      ...Object.keys(CHANGES).flatMap((one) => [`/${body}/place/${one}`, `/${body}/copy/${one}`]),
    ];
    const costs = new Map(paths.map((path): [string, number[]] => [path, []]));
    for (let round = -1; round < rounds; round++) {
      for (let turn = 0; turn < paths.length; turn++) {
        const path = paths[(turn + Math.max(round, 0)) % paths.length] ?? "";
        const spent = await cost(port, path, requests);
        if (round >= 0) costs.get(path)?.push(spent);
      }
    }
    const row = Object.keys(CHANGES).map((one) => {
      const place = costs.get(`/${body}/place/${one}`) ?? [];
      const copy = costs.get(`/${body}/copy/${one}`) ?? [];
      const ratio = median(copy.map((spent, round) => spent / (place[round] ?? Number.NaN)));
      return `${one}: ${median(place).toFixed(1)} -> ${median(copy).toFixed(1)} us (x ${ratio.toFixed(2)})`;
    });
    console.log(`${server} ${body}, bare: ${median(costs.get(`/${body}`) ?? []).toFixed(1)} us; ${row.join("; ")}`);
  }
  child.kill();
}

const [first, second = "2000", only] = process.argv.slice(2);
if (first === "serve") {
  await serve(second);
} else {
  for (const [server, runtime] of Object.entries(SERVERS)) {
    if (only === undefined || only === server) await measure(server, runtime, Number(first ?? 7), Number(second));
  }
  agent.destroy();
}
