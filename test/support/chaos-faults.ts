import process from "node:process";
import type { Server } from "./redis-server.ts";
import { command, isInStep } from "./topologies.ts";
import { until } from "./until.ts";

/** The actions by which a fault affects Redis. */
export interface Hands {
  /** Returns a random master. */
  master(): Promise<Server>;
  /** Starts a stopped server again, with the data that it had stored on disk. */
  restart(was: Server, ...options: string[]): Promise<Server>;
  /** Returns a random number of milliseconds. */
  between(least: number, most: number): number;
}

/** Resolves when the fault has been undone. May return a description. */
export type Fault = () => Promise<unknown>;

export const pause = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

/** Kills a server without a shutdown, as a power failure would, and keeps its folder. */
export async function killServer(server: Server): Promise<void> {
  const { process: child } = server;
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once("exit", done));
  process.kill(child.pid, "SIGKILL");
  await gone;
}

/** The least size of a command in the log. */
const COMMAND_BYTES = 50;
const REPLICATION_MS = 30_000;

/** Ignores the error of a command that ends the server. */
async function ignoring(attempt: Promise<unknown>): Promise<void> {
  await attempt.catch(() => {});
}

/** Faults of a server that keeps its role. */
export function serverFaults({ master, between }: Hands): Record<string, Fault> {
  return {
    async stall() {
      const go = (await master()).stall();
      await pause(between(200, 5000));
      go();
    },
    async "clients killed"() {
      await command(await master(), "CLIENT", "KILL", "TYPE", "normal");
    },
    async "scripts flushed"() {
      await command(await master(), "SCRIPT", "FLUSH");
    },
    async paused() {
      await command(await master(), "CLIENT", "PAUSE", "500", "ALL");
      await pause(500);
    },
    async busy() {
      const server = await master();
      await command(server, "CONFIG", "SET", "lua-time-limit", "50");
      const endless = ignoring(command(server, "EVAL", "while true do end", "0"));
      await pause(between(300, 2500));
      await command(server, "SCRIPT", "KILL");
      await endless;
    },
    async full() {
      const server = await master();
      await command(server, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1");
      await pause(between(500, 3000));
      await command(server, "CONFIG", "SET", "maxmemory", "0");
    },
  };
}

/** Faults of a server without replicas. */
export function singleFaults({ master, restart, between }: Hands): Record<string, Fault> {
  return {
    async killed() {
      const server = await master();
      await killServer(server);
      await pause(between(50, 3000));
      await restart(server);
    },
    async "shut down"() {
      const server = await master();
      const gone = new Promise((done) => server.process.once("exit", done));
      await ignoring(command(server, "SHUTDOWN"));
      await gone;
      await pause(between(50, 3000));
      await restart(server);
    },
    async loading() {
      const server = await master();
      await command(server, "BGREWRITEAOF");
      const log = async (): Promise<string> => String(await command(server, "INFO", "persistence"));
      await until("the log is written anew", async () => (await log()).includes("aof_rewrite_in_progress:0"));
      const keys = Number(await command(server, "DBSIZE"));
      const info = await log();
      await killServer(server);
      const bytes = (name: string): number => Number(new RegExp(`${name}:([0-9]+)`).exec(info)?.[1] ?? 0);
      // The delay applies to each key, and to each command logged since the rewrite.
      const items = keys + (bytes("aof_current_size") - bytes("aof_base_size")) / COMMAND_BYTES;
      const delay = Math.ceil((between(300, 2000) * 1000) / Math.max(items, 1));
      const loading = ["--key-load-delay", `${delay}`, "--loading-process-events-interval-bytes", "1024"];
      const again = await restart(server, ...loading);
      await command(again, "CONFIG", "SET", "key-load-delay", "0");
    },
    async "read only"() {
      const server = await master();
      await command(server, "REPLICAOF", "127.0.0.1", "1");
      await pause(between(500, 3000));
      await command(server, "REPLICAOF", "NO", "ONE");
    },
  };
}

/** Actions that can also promote a replica. */
export interface FailoverHands extends Hands {
  /** Requests a failover until it has begun, waits for its end and returns the new master. */
  failOver(master: Server, isGone: boolean): Promise<Server>;
  /** The command-line options with which a server follows that master. */
  follow(master: Server): string[];
  replicasOf(master: Server): Promise<readonly Server[]>;
}

/** These faults end when the new master has replicas again, as nothing is confirmed before. */
export function failoverFaults(hands: FailoverHands): Record<string, Fault> {
  const { master, restart, between, failOver, follow, replicasOf } = hands;
  async function followed(now: Server): Promise<void> {
    await until(
      "the replicas follow",
      async () => {
        const replicas = await replicasOf(now);
        const inStep = replicas.map((replica) => isInStep(now, replica).catch(() => false));
        return (await Promise.all(inStep)).every(Boolean);
      },
      REPLICATION_MS,
    );
  }
  return {
    async "failed over"() {
      await followed(await failOver(await master(), false));
    },
    async "killed and failed over"() {
      const was = await master();
      await killServer(was);
      await pause(between(50, 1500));
      const now = await failOver(was, true);
      await restart(was, ...follow(now));
      await followed(now);
    },
  };
}
