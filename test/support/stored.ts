import { inspect } from "node:util";
import { expect } from "vitest";
import { type SessionBackend, SessionDataError } from "../../src/index.ts";
import { idleSeconds, reserved } from "../../src/record.ts";

/** The stored record of the token's session. */
export async function rawOf(
  backend: SessionBackend,
  token: string,
  now = Date.now(),
): Promise<Readonly<Record<string, string>>> {
  const access = { verifier: null, previous: true, now };
  const record = await backend.read(token.slice(0, 22), access, { fields: null });
  if (record === null || typeof record === "string") throw new Error("There is no record");
  return record;
}

/** Stores a record with exactly these fields, also the ones that a backend writes itself, and invalid ones. */
export async function insertRecord(
  backend: SessionBackend,
  key: string,
  record: Readonly<Record<string, string>>,
  now: number,
): Promise<void> {
  const idle = { [reserved.idleTimeout]: String(idleSeconds(record) ?? 1800) };
  const inserted = await backend.insert(key, idle, {}, now);
  if (typeof inserted === "string") throw new Error(`Cannot insert the record: ${inserted}`);
  const remove = Object.keys(inserted).filter((name) => record[name] === undefined);
  const access = { verifier: null, previous: false, now };
  await backend.write(key, access, { set: record, remove, fields: [], touch: false });
}

/** Changes stored fields without the store. */
export async function plant(
  backend: SessionBackend,
  token: string,
  set: Record<string, string>,
  remove: string[] = [],
  now = Date.now(),
): Promise<void> {
  const access = { verifier: null, previous: true, now };
  await backend.write(token.slice(0, 22), access, { set, remove, fields: null });
}

export async function failureOf(promise: Promise<unknown>): Promise<SessionDataError> {
  const error = await promise.then(
    (value) => new Error(`Nothing failed: ${inspect(value)}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SessionDataError);
  return error as SessionDataError;
}
