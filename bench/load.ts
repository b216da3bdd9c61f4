import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "./runner.ts";

/** One request, and the end of its only correct answer. */
export interface Question {
  readonly request: string;
  readonly answer: string;
}

/** The latencies in microseconds of the requests that were answered within a turn, and their number per second. */
export interface Load {
  readonly requests: number;
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
}

const STATUS = "HTTP/1.1 200";
/** No answer is longer. A longer one is not the expected one. */
const LONGEST = 4096;
/** How long a request may take, in milliseconds. */
const PATIENCE_MS = 10_000;

interface Connection {
  ask(question: Question): Promise<void>;
  close(): void;
}

async function open(port: number): Promise<Connection> {
  const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await new Promise<void>((ready, fail) => socket.once("connect", ready).once("error", fail));
  let text = "";
  let waiting: { expected: string; done(): void; fail(error: Error): void } | null = null;
  socket.setEncoding("latin1").setTimeout(PATIENCE_MS, () => socket.destroy(new Error("A request timed out")));
  socket.on("error", (error) => waiting?.fail(error));
  socket.on("data", (chunk: string) => {
    if (waiting === null) return;
    text += chunk;
    if (!text.startsWith(STATUS) || text.length > LONGEST) waiting.fail(new Error(`Wrong answer: ${text}`));
    if (!text.endsWith(waiting.expected)) return;
    const { done } = waiting;
    waiting = null;
    text = "";
    done();
  });
  return {
    ask: ({ request, answer }) =>
      new Promise((done, fail) => {
        waiting = { expected: answer, done, fail };
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}

/**
 * Sends requests for some milliseconds.
 *
 * @param rate Requests per second that arrive independently of the answers (an open loop); `null` for a closed loop, in
 *   which each connection sends its next request after an answer.
 */
export async function load(
  port: number,
  questions: readonly Question[],
  connections: number,
  ms: number,
  rate: number | null,
): Promise<Load> {
  const pool = await Promise.all(Array.from({ length: connections }, () => open(port)));
  const spent: number[] = [];
  let asked = 0;
  const start = performance.now();
  const end = start + ms;
  /** The time at which the next request is due. */
  let due = start;
  await Promise.all(
    pool.map(async (connection) => {
      for (;;) {
        let from = performance.now();
        if (rate !== null) {
          // The connections take the arrivals in turn. What has to wait for a connection counts from when it was due.
          from = due;
          due += 1000 / rate;
        }
        if (from >= end) break;
        const early = from - performance.now();
        // A timer may fire up to a millisecond early.
        if (early > 0) await sleep(Math.ceil(early) + 1);
        await connection.ask(questions[asked++ % questions.length] as Question);
        spent.push((performance.now() - from) * 1000);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const connection of pool) connection.close();
  return {
    requests: spent.length,
    rate: spent.length / seconds,
    p50: quantile(spent, 0.5),
    p99: quantile(spent, 0.99),
  };
}
