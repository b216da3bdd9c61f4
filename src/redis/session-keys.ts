import type { ReadRequest, SessionBackend } from "../backend.ts";
import { type Absence, type Access, checkAccess } from "../base/access.ts";
import { nullObject } from "../base/null-object.ts";
import { isSession, RESERVED_FIELDS, type StoredSession } from "../record.ts";
import { ask } from "./answers.ts";
import type { RedisClient } from "./client.ts";
import { codeOf } from "./error-codes.ts";
import type { Script } from "./lua.ts";
import type { RunScript } from "./replicas.ts";
import { recordFromReply, touchFromReply, zip } from "./replies.ts";
import { accessArgs, READ, TOUCH } from "./session-scripts.ts";

/** Runs scripts on the keys of sessions, and reads sessions. */
export interface SessionKeys {
  /**
   * Runs a script on a session's key and drops the cached copy of that key.
   *
   * @param otherwise The result if the key holds another type than a hash; the key is left as it is.
   */
  onSession(runs: RunScript, script: Script, key: string, args: string[], otherwise?: string | null): Promise<unknown>;
  readonly read: SessionBackend["read"];
  readonly touch: SessionBackend["touch"];
}

/** Creates the reads of a backend, with or without a client-side cache. */
export function sessionKeys(client: RedisClient, prefix: string, run: RunScript): SessionKeys {
  async function onSession(
    runs: RunScript,
    script: Script,
    key: string,
    args: string[],
    otherwise: string | null = "invalid",
  ): Promise<unknown> {
    try {
      return await runs(script, prefix + key, args);
    } catch (error) {
      return unreadable(error, otherwise);
    } finally {
      invalidate(key);
    }
  }

  /**
   * Drops the cached copy of a key. Redis sends the invalidation only after the reply to the write, so without this a
   * read in between would return the old session.
   */
  function invalidate(key: string): void {
    client.clientSideCache?.invalidate(prefix + key);
  }

  /** Reads a session with a plain command, without a script. */
  async function plain(key: string, fields: readonly string[] | null): Promise<StoredSession | "invalid"> {
    try {
      if (fields === null) {
        return ownFields(await ask(client, "not-applied", (from) => from.hGetAll(prefix + key), true));
      }
      const names = RESERVED_FIELDS.concat(fields);
      return zip(await ask(client, "not-applied", (from) => from.hmGet(prefix + key, names), true), fields);
    } catch (error) {
      return unreadable(error, "invalid");
    }
  }

  /** Reads a session with a script, by the server's clock. */
  async function runRead(key: string, access: Access, fields: ReadRequest["fields"]): Promise<StoredSession | Absence> {
    const args = [...accessArgs(access), ...(fields ?? [])];
    return recordFromReply(await onSession(run, READ, key, args), access, fields, []);
  }

  /**
   * Uses no script if possible: a plain read costs the server a fraction of that, and node-redis can answer it from its
   * client-side cache.
   */
  async function read(key: string, access: Access, request: ReadRequest): Promise<StoredSession | Absence> {
    const { fields, accepts } = request;
    const isNear = accepts !== undefined && client.clientSideCache !== undefined;
    if (!isNear) invalidate(key);
    const record = await plain(key, fields);
    // Whether the previous secret or a proof has expired, only the server's clock can tell.
    const found = record === "invalid" ? record : checkAccess(record, { ...access, previous: false, proof: null });
    if (found === "unproven") return await runRead(key, access, fields);
    if (record !== "invalid" && found === "open" && (!isNear || accepts(record))) return record;
    // The cached copy may be too old, for example from before a rotation. And if the session seems to have ended, only the
    // server's clock can tell. A missing session is not cached either, or made-up tokens would fill the cache.
    if (isNear) return await read(key, access, { fields });
    invalidate(key);
    if (record === "invalid" || !isSession(record)) return record === "invalid" ? record : null;
    return await runRead(key, access, fields);
  }

  return {
    onSession,
    read,
    touch: async (key, access) => touchFromReply(await onSession(run, TOUCH, key, accessArgs(access))),
  };
}

/** Returns `answer` if the key holds another type than a hash; rethrows every other error. */
function unreadable<Answer>(error: unknown, answer: Answer): Answer {
  if (codeOf((error as Error).cause) !== "WRONGTYPE") throw error;
  return answer;
}

/** Copies the fields into an object without a prototype, so that inherited properties do not pass for fields. */
function ownFields(hash: Readonly<Record<string, string>>): StoredSession {
  return Object.assign(nullObject(), hash);
}
