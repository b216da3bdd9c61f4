/**
 * Which parts of a request still work during a failure, and what the caller is told.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { SessionEvent } from "../../src/index.ts";
import { connectRedis, redisBackend } from "../../src/redis/index.ts";
import { canRun, missingProgram } from "../support/availability.ts";
import { expectNoSecrets, type Grounds, onGrounds, recovers, storeOn } from "../support/fault-grounds.ts";
import { cookieJar, tokenOf } from "../support/http.ts";
import { follow } from "../support/own-servers.ts";
import { freePort, startServer } from "../support/redis-server.ts";
import { processOn, send, signIn, type Visitor } from "../support/requests.ts";
import { command } from "../support/topologies.ts";
import { until } from "../support/until.ts";

const PREFIX = "s:";
const TIMEOUT_MS = 3000;
const NOBODY = "1";

/** Ways to make a server reject writes. */
const refusals: Readonly<Record<string, (grounds: Grounds) => Promise<() => unknown>>> = {
  async READONLY({ server }) {
    await command(server, "REPLICAOF", "127.0.0.1", NOBODY);
    return () => command(server, "REPLICAOF", "NO", "ONE");
  },
  async NOREPLICAS({ admin }) {
    await admin.configSet("min-replicas-to-write", "1");
    return () => admin.configSet("min-replicas-to-write", "0");
  },
  async NOPERM({ admin, client }) {
    await admin.aclSetUser("app", ["on", ">hunter2", "~*", "+@all", "-pexpire"]);
    await client.sendCommand(["AUTH", "app", "hunter2"]);
    return () => admin.aclSetUser("app", ["+@all"]);
  },
};

describe("a touch that Redis rejects", () => {
  for (const [code, refuse] of Object.entries(refusals)) {
    for (const touchInterval of [0, 60]) {
      test.concurrent(`F-33 a request whose touch fails with ${code} still reads its session, without extending it (touchInterval ${touchInterval})`, async () => {
        await onGrounds({}, async (grounds) => {
          const { admin, client } = grounds;
          const events: SessionEvent[] = [];
          const { jar, session } = await signIn({ backend: redisBackend(admin, { prefix: PREFIX }), now: Date.now });
          const store = processOn(redisBackend(client, { prefix: PREFIX }), Date.now, {
            touchInterval,
            onEvent: (event) => events.push(event),
          });
          await admin.pExpire(PREFIX + session.id, 100_000);
          const restore = await refuse(grounds);
          try {
            for (let request = 0; request < 3; request++) {
              const { response, result } = await send(store, jar.request(), (visitor) => visitor.get());
              expect(response.status).toBe(200);
              expect(response.headers.getSetCookie()).toEqual([]);
              expect(result).toMatchObject({ id: session.id, data: session.data });
              expect(result?.lastAccessedAt).toEqual(session.lastAccessedAt);
              await until("the touch has failed", () => events.length === request + 1);
              expect(events.at(-1)).toMatchObject({
                type: "unavailable",
                id: session.id,
                error: { reason: "rejected" },
              });
              // The client may reconnect because of the rejection, which is not under test.
              await until("the client is connected", () => client.isReady !== false);
            }
            expect(events).toHaveLength(3);
            expect(await admin.pTTL(PREFIX + session.id)).toBeLessThanOrEqual(100_000);
          } finally {
            await restore();
          }
          await recovers(store, tokenOf(jar.cookie));
          await until("it is touched", async () => (await admin.pTTL(PREFIX + session.id)) > 100_000);
        });
      });
    }
  }

  test.concurrent("F-33 a session past its deadline or with a wrong secret is absent even if its touch is rejected", async () => {
    await onGrounds({}, async (grounds) => {
      const { admin, client } = grounds;
      const store = storeOn(client, PREFIX, TIMEOUT_MS);
      const { token, session } = await store.create({ userId: "42" });
      const other = await store.create({ userId: "43" });
      await admin.hSet(PREFIX + session.id, "session_deadline", String(Date.now() - 1));
      const restore = await (refusals["NOREPLICAS"] as (typeof refusals)[string])(grounds);
      try {
        expect(await store.get(token)).toBeNull();
        expect(await store.get(`${other.session.id}.${token.slice(23)}`)).toBeNull();
      } finally {
        await restore();
      }
    });
  });
});

describe("a write that Redis rejects", () => {
  test.concurrent("F-31 a handler whose write fails cannot send its success response: the client gets 503", async () => {
    await onGrounds({}, async (grounds) => {
      const store = storeOn(grounds.client, PREFIX, TIMEOUT_MS);
      const { jar, session } = await signIn({
        backend: redisBackend(grounds.admin, { prefix: PREFIX }),
        now: Date.now,
      });
      const restore = await (refusals["NOREPLICAS"] as (typeof refusals)[string])(grounds);
      try {
        const { response } = await send(store, jar.request(), async (visitor) => {
          await visitor.get();
          await visitor.update({ theme: "dark" });
        });
        expect(response.status).toBe(503);
        expect(response.headers.get("cache-control")).toBe("no-store");
      } finally {
        await restore();
      }
      expect((await store.peek(tokenOf(jar.cookie)))?.data).toEqual(session.data);
      // Nothing is written after the handler has returned, so no response can precede its write.
    });
  });

  test.concurrent("F-32 a failed logout keeps the cookie, and the logout can be repeated", async () => {
    await onGrounds({}, async (grounds) => {
      const store = storeOn(grounds.client, PREFIX, TIMEOUT_MS);
      const { jar } = await signIn({ backend: redisBackend(grounds.admin, { prefix: PREFIX }), now: Date.now });
      const restore = await (refusals["NOREPLICAS"] as (typeof refusals)[string])(grounds);
      const logOut = () => send(store, jar.request(), (visitor) => visitor.destroy());
      const logOutAnyhow = () => send(store, jar.request(), (visitor) => visitor.destroy().catch(() => "sorry"));
      try {
        for (let request = 0; request < 2; request++) {
          const { response } = await logOut();
          expect(response.status).toBe(503);
          expect(response.headers.getSetCookie()).toEqual([]);
        }
        const { response, result } = await logOutAnyhow();
        expect([response.status, result]).toEqual([200, "sorry"]);
        expect(response.headers.getSetCookie()).toEqual([]);
      } finally {
        await restore();
      }
      expect(jar.cookie).not.toBeNull();
      const { response, result } = await logOut();
      expect(result).toBe(true);
      expect(jar.receive(response) && jar.cookie).toBeNull();
    });
  });
});

describe("sessions that a failover or a backup restores", () => {
  test.concurrent("F-25 a logout, rotation or revocation that no replica confirmed is reported as a failure", async () => {
    await onGrounds({ server: ["--repl-diskless-sync-delay", "0"] }, async ({ server, admin, client }) => {
      const replica = await startServer();
      try {
        await follow(replica, server.port);
        const waitForReplicas = { count: 1, timeout: `${TIMEOUT_MS / 3}ms` } as const;
        const store = processOn(redisBackend(client, { prefix: PREFIX, waitForReplicas }), Date.now);
        const signedIn = () => signIn({ backend: redisBackend(admin, { prefix: PREFIX }), now: Date.now });
        const confirmed = await signedIn();
        expect((await send(store, confirmed.jar.request(), (visitor) => visitor.destroy())).result).toBe(true);

        const lost = await Promise.all([signedIn(), signedIn(), signedIn()]);
        const resume = replica.stall();
        try {
          const acts = [(visitor: Visitor) => visitor.destroy(), (visitor: Visitor) => visitor.rotate()];
          for (const [at, act] of acts.entries()) {
            const { response } = await send<unknown>(store, (lost[at] as (typeof lost)[number]).jar.request(), act);
            expect(response.status).toBe(503);
            expect(response.headers.getSetCookie()).toEqual([]);
          }
          const unconfirmed = store.revoke((lost[2] as (typeof lost)[number]).session.id);
          await expect(unconfirmed).rejects.toMatchObject({ reason: "timeout", outcome: "unknown" });
        } finally {
          resume();
        }
      } finally {
        await replica.stop("SIGKILL");
      }
    });
  });

  test.concurrent("F-27 a session restored from a backup is valid again, but not beyond its deadline", async () => {
    await onGrounds({}, async ({ admin, client }) => {
      const store = storeOn(client, PREFIX, TIMEOUT_MS);
      const { token, session } = await store.create({ userId: "42" }, { idleTimeout: 60, absoluteTimeout: 60 });
      const raw = await admin.hGetAll(PREFIX + session.id);
      expect(await store.destroy(token)).toBe(true);
      await admin.hSet(PREFIX + session.id, { ...raw });
      expect(await store.get(token)).toMatchObject({ id: session.id });
      expect(await admin.pTTL(PREFIX + session.id)).toBeLessThanOrEqual(60_000);
      expect(await store.destroy(token)).toBe(true);
      await admin.hSet(PREFIX + session.id, { ...raw, session_deadline: String(Date.now() - 1) });
      expect(await store.get(token)).toBeNull();
      expect(await admin.exists(PREFIX + session.id)).toBe(0);
    });
  });
});

test.concurrent("F-30 a server that lacks the needed commands is reported as rejecting them, not as unavailable", async () => {
  await onGrounds({ server: ["--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""] }, async (grounds) => {
    const store = storeOn(grounds.client, PREFIX, TIMEOUT_MS);
    const { response } = await send(store, cookieJar().request(), (visitor) => visitor.create({ userId: "42" }));
    expect(response.status).toBe(503);
    const failed = store.create({ userId: "42" });
    await expect(failed).rejects.toMatchObject({ reason: "rejected", outcome: "not-applied" });
    await expect(failed).rejects.toMatchObject({ cause: { message: expect.stringContaining("unknown command") } });
  });
});

describe("TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "zession-tls-"));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const made = canRun("tests of TLS connections", missingProgram(["openssl", "version"], "apt-get install openssl"));
  if (made) makeCertificate();

  function makeCertificate(): void {
    const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    const files = ["-keyout", key, "-out", certificate];
    execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...names, ...files], {
      stdio: "ignore",
    });
  }

  test.runIf(made)("F-20 F-29 rediss:// connects over TLS, and an untrusted certificate is rejected", async () => {
    const port = await freePort();
    const files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate];
    const server = await startServer("--tls-port", `${port}`, "--tls-auth-clients", "no", ...files);
    try {
      const ca = readFileSync(certificate, "utf8");
      const client = await connectRedis(`rediss://localhost:${port}`, { tls: { ca } });
      try {
        const store = storeOn(client, PREFIX, TIMEOUT_MS);
        const { token } = await store.create({ userId: "42" });
        await command(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        await recovers(store, token);
      } finally {
        client.destroy();
      }
      const wrong: Record<string, [string, object]> = {
        "an unknown authority": [`rediss://:hunter2@localhost:${port}`, {}],
        "another name": [`rediss://:hunter2@127.0.0.1:${port}`, { tls: { ca, servername: "elsewhere.example" } }],
        "no TLS at all": [`redis://:hunter2@127.0.0.1:${port}`, {}],
        "TLS where there is none": [`rediss://:hunter2@127.0.0.1:${server.port}`, { tls: { ca } }],
      };
      for (const [what, [address, options]] of Object.entries(wrong)) {
        const since = performance.now();
        const error = await connectRedis(address, { ...options, connectTimeout: "500ms" }).catch((reason) => reason);
        expect(error, what).toMatchObject({
          name: "SessionBackendError",
          reason: what === "no TLS at all" ? "unavailable" : "rejected",
          outcome: "not-applied",
        });
        expect(performance.now() - since, what).toBeLessThan(5000);
        expectNoSecrets(error, "hunter2");
      }
    } finally {
      await server.stop("SIGKILL");
      rmSync(folder, { recursive: true });
    }
  });
});
