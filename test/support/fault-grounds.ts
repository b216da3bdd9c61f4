import process from "node:process";
import { inspect } from "node:util";
import { createClient } from "redis";
import { afterAll, expect } from "vitest";
import { SessionBackendError, type SessionEvent } from "../../src/index.ts";
import { type ConnectedRedis, connectRedis, type RedisClient, redisBackend } from "../../src/redis/index.ts";
import { type BreakingConnection, connectThrough } from "./proxy.ts";
import { type Server, startServer } from "./redis-server.ts";
import { processOn, type Visits } from "./requests.ts";
import { until } from "./until.ts";

const TICK_MS = 20;

const adminOf = (url: string) => createClient({ url });
type Admin = ReturnType<typeof adminOf>;

/** The client under test, which can also send arbitrary commands. */
export interface FaultyClient extends ConnectedRedis {
  connect(): Promise<unknown>;
  sendCommand(args: readonly string[]): Promise<unknown>;
}

/** A server, an admin client that the fault does not affect, and a client behind a proxy. */
export interface Grounds {
  readonly server: Server;
  readonly admin: Admin;
  readonly proxy: BreakingConnection;
  readonly client: FaultyClient;
}

export interface GroundsOptions {
  /** Command-line arguments of the server. */
  readonly server?: readonly string[];
  /** Creates a client other than that of `connectRedis`. */
  client?(port: number): FaultyClient | Promise<FaultyClient>;
}

/** The fields of an error that tests check. */
export type Failure = Pick<SessionBackendError, "reason" | "outcome">;

/** Uncaught errors of this process. */
const crashes: unknown[] = [];
for (const event of ["uncaughtException", "unhandledRejection"]) process.on(event, (error) => crashes.push(error));
afterAll(() => expect(crashes).toEqual([]));

async function fitClient(port: number): Promise<FaultyClient> {
  return (await connectRedis(`redis://127.0.0.1:${port}`)) as FaultyClient;
}

/** Runs a test on its own server. */
export async function onGrounds(
  { server: options = [], client: make = fitClient }: GroundsOptions,
  play: (grounds: Grounds) => Promise<void>,
): Promise<void> {
  const server = await startServer(...options);
  const proxy = await connectThrough(server.port);
  const admin = adminOf(server.url);
  admin.on("error", () => {});
  let client: FaultyClient | undefined;
  try {
    await admin.connect();
    client = await make(proxy.port);
    await play({ server, admin, proxy, client });
  } finally {
    client?.destroy();
    admin.destroy();
    await proxy.stop();
    await server.stop("SIGKILL");
  }
}

export function storeOn(
  client: RedisClient,
  prefix: string,
  operationTimeoutMs: number,
  onEvent: (event: SessionEvent) => void = () => {},
): Visits {
  return processOn(redisBackend(client, { prefix }), Date.now, {
    operationTimeout: `${operationTimeoutMs}ms`,
    onEvent,
  });
}

/** Waits until the store can read this session again. */
export async function recovers(store: Visits, token: string): Promise<void> {
  await until("the store works again", () =>
    store.get(token).then(
      (session) => session !== null,
      () => false,
    ),
  );
}

export function expectFailure(error: unknown, expected: Partial<Failure>, what: string): void {
  expect(error, what).toBeInstanceOf(SessionBackendError);
  expect(error, what).toMatchObject(expected);
  // The address of the server is the only number.
  expect((error as Error).message.replaceAll(/127\.0\.0\.1:\d+/g, ""), what).not.toMatch(/127\.0\.0\.1|\d{4,}/);
}

/** Checks that an error, which may be logged, contains none of these secrets. */
export function expectNoSecrets(error: unknown, ...secrets: readonly string[]): void {
  const told = inspect(error, { depth: null, showHidden: true });
  for (const secret of secrets) expect(told).not.toContain(secret);
}

/** Starts counting the milliseconds for which this process was blocked. They do not belong to the operations. */
export function holdUps(): () => number {
  let [last, total] = [performance.now(), 0];
  const timer = setInterval(() => {
    const now = performance.now();
    total += Math.max(0, now - last - TICK_MS);
    last = now;
  }, TICK_MS);
  return () => {
    clearInterval(timer);
    return total;
  };
}
