import process from "node:process";
import { fileURLToPath } from "node:url";
import { createClient } from "redis";
import { startServer } from "../test/support/redis-server.ts";
import type { Contender, Turn } from "./runner.ts";
import { commandOf, startServing } from "./runtimes.ts";

/** Connects to the server in REDIS_URL, or starts one. */
export async function openRedis() {
  const own = process.env["REDIS_URL"] ? null : await startServer();
  const url = own?.url ?? process.env["REDIS_URL"] ?? "";
  const admin = await createClient({ url }).connect();
  const version = /redis_version:(\S+)/.exec(await admin.info("server"))?.[1] ?? "?";
  return {
    url,
    admin,
    version,
    async clear(prefix: string): Promise<void> {
      for await (const keys of admin.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
        if (keys.length > 0) await admin.unlink(keys);
      }
    },
    async close(): Promise<void> {
      admin.destroy();
      await own?.stop();
    },
  };
}

export type Redis = Awaited<ReturnType<typeof openRedis>>;

/** Starts a proxy, in its own process, that adds a network delay of 1 ms to a server. */
export async function openDistant(url: string): Promise<{ readonly url: string; close(): void }> {
  const script = fileURLToPath(import.meta.resolve("./delay.ts"));
  const { child, port } = await startServing([...commandOf("node", script), new URL(url).port]);
  return { url: `redis://127.0.0.1:${port}`, close: () => child.kill() };
}

/** The time that the server spends on an operation. */
export interface ServerCost {
  /** Microseconds inside commands, by INFO commandstats. */
  readonly commandMicros: number;
  /** Microseconds of processor time of the main thread, which includes reading, parsing and writing. */
  readonly cpuMicros: number;
}

/** Creates counters that add up the server time of each contender. */
export function serverCosts(admin: Redis["admin"]) {
  const spent = new Map<string, { calls: number; commands: number; cpu: number }>();

  async function cpuMicros(): Promise<number> {
    const info = await admin.info("cpu");
    const seconds = [...info.matchAll(/used_cpu_(?:sys|user)_main_thread:([0-9.]+)/g)];
    return seconds.reduce((sum, [, text]) => sum + Number(text) * 1e6, 0);
  }

  return {
    async watch({ name }: Contender, take: () => Promise<Turn>): Promise<Turn> {
      const sum = spent.get(name) ?? { calls: 0, commands: 0, cpu: 0 };
      spent.set(name, sum);
      await admin.configResetStat();
      const cpu = await cpuMicros();
      const turn = await take();
      sum.cpu += (await cpuMicros()) - cpu;
      sum.commands += commandMicros(await admin.info("commandstats"));
      sum.calls += turn.calls;
      return turn;
    },
    of(name: string): ServerCost {
      const { calls, commands, cpu } = spent.get(name) ?? { calls: 0, commands: 0, cpu: 0 };
      return { commandMicros: commands / calls, cpuMicros: cpu / calls };
    },
  };
}

/**
 * Returns the time of the commands that clients sent. Commands inside a script or a transaction are left out, because
 * EVALSHA and EXEC include their time.
 */
function commandMicros(stats: string): number {
  const found = [...stats.matchAll(/cmdstat_([^:]+):calls=\d+,usec=(\d+)/g)];
  const micros = new Map(found.map(([, name, text]) => [name as string, Number(text)]));
  const own = ["info", "config|resetstat", "ping"];
  const sent = micros.has("evalsha")
    ? ["evalsha"]
    : micros.has("exec")
      ? ["exec", "hgetall"]
      : [...micros.keys()].filter((name) => !own.includes(name));
  return sent.reduce((sum, name) => sum + (micros.get(name) ?? 0), 0);
}
