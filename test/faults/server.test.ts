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

/** Sets what a server can be set to while it runs, and gives what sets it back. */
async function configured({ admin }: Grounds, settings: Record<string, [during: string, after: string]>) {
  for (const [name, [value]] of Object.entries(settings)) await admin.configSet(name, value);
  return async () => {
    for (const [name, [, value]] of Object.entries(settings)) await admin.configSet(name, value);
  };
}

/** Waits for a reply of this code to a plain read. */
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

/** Keeps new connections out, and ends the old one. */
async function lockedOut(
  grounds: Grounds,
  set: (grounds: Grounds, isOut: boolean) => Promise<unknown>,
): Promise<() => unknown> {
  await set(grounds, true);
  await grounds.admin.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  await until("the client knows", () => grounds.client.isReady === false);
  return () => set(grounds, false);
}

/** Gives all slots to the one node of a cluster, or takes them away. */
async function served({ admin, server }: Grounds, how: string, state: string): Promise<void> {
  await admin.sendCommand(["CLUSTER", how, "0", "16383"]);
  await until(`the cluster's state is ${state}`, async () =>
    String(await command(server, "CLUSTER", "INFO")).includes(`cluster_state:${state}`),
  );
}

describe("a server that does not answer", () => {
  fault("F-04 stopped", { start: ({ server }) => server.stall(), expected: hangs, timeoutMs: SILENT_MS });
});

describe("a server that answers with an error", () => {
  fault("F-10 OOM: sessions are used and ended, and nothing new is stored", {
    start: (grounds) => configured(grounds, { maxmemory: ["1", "0"] }),
    expected: full,
  });

  fault("F-11 LOADING", {
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

  fault("F-12 READONLY", { start: replicaOfNobody, expected: readsOnly });

  fault("F-13 MASTERDOWN", {
    server: ["--replica-serve-stale-data", "no"],
    start: replicaOfNobody,
    expected: unavailable,
  });

  fault("F-14 NOSCRIPT", {
    async start({ admin }) {
      await admin.scriptFlush();
      return () => {};
    },
    expected: works,
  });

  fault("F-15 BUSY", {
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

  fault("F-16 MISCONF", {
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

  fault("F-16 NOREPLICAS", {
    start: (grounds) => configured(grounds, { "min-replicas-to-write": ["1", "0"] }),
    expected: readsOnly,
  });

  fault("F-17 NOAUTH: the server demands a password from the next connection on", {
    start: (grounds) =>
      lockedOut(grounds, ({ admin }, isOut) => admin.configSet("requirepass", isOut ? "hunter2" : "")),
    expected: unavailable,
  });

  fault("F-17 WRONGPASS: the password is another from the next connection on", {
    server: ["--user", "app", "on", ">hunter2", "~*", "+@all"],
    client: (port) => connectRedis(`redis://app:hunter2@127.0.0.1:${port}`) as Promise<FaultyClient>,
    start: (grounds) =>
      lockedOut(grounds, ({ admin }, isOut) => admin.aclSetUser("app", ["resetpass", isOut ? ">other" : ">hunter2"])),
    expected: unavailable,
  });

  fault("F-17 NOPERM", {
    async start({ admin, client }) {
      await admin.aclSetUser("app", ["on", ">hunter2", "~*", "+auth"]);
      await client.sendCommand(["AUTH", "app", "hunter2"]);
      return () => admin.aclSetUser("app", ["+@all"]);
    },
    expected: rejectsAll,
  });

  fault("F-17 NOPERM inside a script", {
    async start({ admin, client }) {
      await admin.aclSetUser("app", ["on", ">hunter2", "~*", "+@all", "-hset", "-hdel", "-del", "-pexpire"]);
      await client.sendCommand(["AUTH", "app", "hunter2"]);
      return () => admin.aclSetUser("app", ["+@all"]);
    },
    expected: { ...readsOnly, write: rejectsAll.write },
  });

  fault("F-28 as many clients as it takes", {
    start: (grounds) => lockedOut(grounds, ({ admin }, isOut) => admin.configSet("maxclients", isOut ? "1" : "1000")),
    expected: unavailable,
  });

  fault("F-18 CLUSTERDOWN", {
    server: ["--cluster-enabled", "yes", "--cluster-node-timeout", "200"],
    prepare: (grounds) => served(grounds, "ADDSLOTSRANGE", "ok"),
    async start(grounds) {
      await served(grounds, "DELSLOTSRANGE", "fail");
      return () => served(grounds, "ADDSLOTSRANGE", "ok");
    },
    expected: unavailable,
  });
});
