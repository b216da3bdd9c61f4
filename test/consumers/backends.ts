/** A backend for storage with transactions, and a wrapper of a backend. */

import { memoryBackend } from "zession";
import {
  type Access,
  checkAccess,
  type RunTransaction,
  type SessionBackend,
  type StoredRecord,
  sessionMethods,
} from "zession/backend";

const rows = new Map<string, StoredRecord>();

const transact: RunTransaction = async (key, now, step) => {
  const { answer, next } = step(rows.get(key) ?? null, now);
  if (next === null) rows.delete(key);
  else if (next !== undefined) rows.set(key, next);
  return answer;
};

export const own: SessionBackend = { ...memoryBackend(), ...sessionMethods(transact) };

/** Counts the accesses by key alone. */
export function counted(backend: SessionBackend): SessionBackend & { byKey: number } {
  const counting = {
    ...backend,
    byKey: 0,
    read: async (key: string, access: Access, request: Parameters<SessionBackend["read"]>[2]) => {
      if (access.verifier === null) counting.byKey++;
      return await backend.read(key, access, request);
    },
  };
  return counting;
}

const stop = own.notify?.({ ended: (id, cause) => id.concat(cause), hears: (all) => all });
stop?.();
(await own.left?.(["a"], Date.now()))?.map((milliseconds) => milliseconds.toFixed());
checkAccess({}, { verifier: null, previous: false, now: 0 }) satisfies unknown;
