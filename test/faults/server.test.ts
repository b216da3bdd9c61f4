import { mkdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "vitest";
import { connectRedis } from "../../src/redis/index.ts";
import type { FaultyClient, Grounds } from "../support/fault-grounds.ts";
import { fault, full, hangs, readsOnly, rejectsAll, unavailable, works } from "../support/faults.ts";
import { command } from "../support/topologies.ts";
import { until } from "../support/until.ts";

const NOBODY = "1";
const SILENT_MS = 300;

/** Changes settings of the running server. Returns a function that restores them. */
async function configured({ admin }: Grounds, settings: Record<string, [during: string, after: string]>) {
  for (const [name, [value]] of Object.entries(settings)) await admin.configSet(name, value);
  return async () => {
    for (const [name, [, value]] of Object.entries(settings)) await admin.configSet(name, value);
  };
}

/** Waits until the server replies to a plain read with this error code. */
async function replies({ server }: Grounds, code: string): Promise<void> {
  await until(`the server says ${code}`, () =>
    command(server, "HGETALL", "nothing").then(
      () => false,
      (error) => String(error).includes(code),
    ),
  );
}

async function replicaOfNobody(grounds: Grounds): Promise<() => unknown> {
  await command(grounds.server, "REPLICAOF", "127.0.0.1", NOBODY);
  return () => command(grounds.server, "REPLICAOF", "NO", "ONE");
}

/** Keeps new connections out and closes the existing one. */
async function lockedOut(
  grounds: Grounds,
  set: (grounds: Grounds, isOut: boolean) => Promise<unknown>,
): Promise<() => unknown> {
  let isRefused = false;
  const client = grounds.client as FaultyClient & { on(name: "error", listener: (error: Error) => void): unknown };
  client.on("error", ({ message }) => {
    isRefused ||= /^(NOAUTH|WRONGPASS|ERR max number of clients)/.test(message);
  });
  await set(grounds, true);
  await grounds.admin.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  await until("the server has refused a new connection", () => isRefused);
  return () => set(grounds, false);
}

/** Assigns all slots to the only node of a cluster, or removes them. */
async function served({ admin, server }: Grounds, how: string, state: string): Promise<void> {
  await admin.sendCommand(["CLUSTER", how, "0", "16383"]);
  await until(`the cluster's state is ${state}`, async () =>
    String(await command(server, "CLUSTER", "INFO")).includes(`cluster_state:${state}`),
  );
}

describe("a server that does not reply", () => {
  fault("F-04 calls time out while the server is stopped", {
    start: ({ server }) => server.stall(),
    expected: hangs,
    timeoutMs: SILENT_MS,
  });
});

describe("a server that replies with an error", () => {
  fault("F-10 with OOM, sessions can be read and ended, and nothing new is stored", {
    start: (grounds) => configured(grounds, { maxmemory: ["1", "0"] }),
    expected: full,
  });

  fault("F-11 with LOADING, calls reject as unavailable", {
    server: ["--loading-process-events-interval-bytes", "1024"],
    async start(grounds) {
      const { admin, server } = grounds;
      await command(server, "DEBUG", "POPULATE", "2000", "load");
      await admin.configSet("key-load-delay", "20000");
      const loaded = command(server, "DEBUG", "RELOAD");
      await replies(grounds, "LOADING");
      return async () => {
        await admin.configSet("key-load-delay", "0");
        await loaded;
      };
    },
    expected: unavailable,
  });

  fault("F-12 with READONLY, sessions can be read and writes reject", { start: replicaOfNobody, expected: readsOnly });

  fault("F-13 with MASTERDOWN, calls reject as unavailable", {
    server: ["--replica-serve-stale-data", "no"],
    start: replicaOfNobody,
    expected: unavailable,
  });

  fault("F-14 with NOSCRIPT, calls succeed as the script is sent again", {
    async start({ admin }) {
      await admin.scriptFlush();
      return () => {};
    },
    expected: works,
  });

  fault("F-15 with BUSY, calls reject as unavailable", {
    server: ["--busy-reply-threshold", "50"],
    async start(grounds) {
      const script = command(grounds.server, "EVAL", "while true do end", "0").catch(() => {});
      await replies(grounds, "BUSY");
      return async () => {
        await command(grounds.server, "SCRIPT", "KILL");
        await script;
      };
    },
    expected: unavailable,
  });

  fault("F-16 with MISCONF, sessions can be read and writes reject", {
    async start(grounds) {
      const { admin, server } = grounds;
      const folder = join(String((await admin.configGet("dir"))["dir"]), "dump.rdb");
      await mkdir(folder);
      const restore = await configured(grounds, { save: ["3600 1000000", ""] });
      await admin.bgSave();
      const saved = (status: string) => async () =>
        String(await command(server, "INFO", "persistence")).includes(`rdb_last_bgsave_status:${status}`);
      await until("saving fails", saved("err"));
      return async () => {
        await rmdir(folder);
        await restore();
      };
    },
    expected: readsOnly,
  });

  fault("F-16 with NOREPLICAS, sessions can be read and writes reject", {
    start: (grounds) => configured(grounds, { "min-replicas-to-write": ["1", "0"] }),
    expected: readsOnly,
  });

  fault("F-17 with NOAUTH, every call rejects when a new connection needs a password", {
    start: (grounds) =>
      lockedOut(grounds, ({ admin }, isOut) => admin.configSet("requirepass", isOut ? "hunter2" : "")),
    expected: rejectsAll,
  });

  fault("F-17 with WRONGPASS, every call rejects when a new connection needs another password", {
    server: ["--user", "app", "on", ">hunter2", "~*", "+@all"],
    client: (port) => connectRedis(`redis://app:hunter2@127.0.0.1:${port}`) as Promise<FaultyClient>,
    start: (grounds) =>
      lockedOut(grounds, ({ admin }, isOut) => admin.aclSetUser("app", ["resetpass", isOut ? ">other" : ">hunter2"])),
    expected: rejectsAll,
  });

  fault("F-17 with NOPERM, every call rejects", {
    async start({ admin, client }) {
      await admin.aclSetUser("app", ["on", ">hunter2", "~*", "+auth"]);
      await client.sendCommand(["AUTH", "app", "hunter2"]);
      return () => admin.aclSetUser("app", ["+@all"]);
    },
    expected: rejectsAll,
  });

  fault("F-17 with NOPERM inside a script, sessions can be read and writes reject", {
    async start({ admin, client }) {
      await admin.aclSetUser("app", ["on", ">hunter2", "~*", "+@all", "-hset", "-hdel", "-del", "-pexpire"]);
      await client.sendCommand(["AUTH", "app", "hunter2"]);
      return () => admin.aclSetUser("app", ["+@all"]);
    },
    expected: { ...readsOnly, write: rejectsAll.write },
  });

  fault("F-28 with maxclients reached, calls reject as unavailable", {
    start: (grounds) => lockedOut(grounds, ({ admin }, isOut) => admin.configSet("maxclients", isOut ? "1" : "1000")),
    expected: unavailable,
  });

  fault("F-18 with CLUSTERDOWN, calls reject as unavailable", {
    server: ["--cluster-enabled", "yes", "--cluster-node-timeout", "200"],
    prepare: (grounds) => served(grounds, "ADDSLOTSRANGE", "ok"),
    async start(grounds) {
      await served(grounds, "DELSLOTSRANGE", "fail");
      return () => served(grounds, "ADDSLOTSRANGE", "ok");
    },
    expected: unavailable,
  });
});
