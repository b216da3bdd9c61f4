import { inspect } from "node:util";
import { expect } from "vitest";
import { type SessionBackend, SessionDataError } from "../../src/index.ts";

/** The stored record of the token's session. */
export async function rawOf(backend: SessionBackend, token: string): Promise<Readonly<Record<string, string>>> {
  const access = { verifier: null, previous: true, now: Date.now() };
  const record = await backend.read(token.slice(0, 22), access, { touch: false, fields: null });
  if (record === null || typeof record === "string") throw new Error("There is no record");
  return record;
}

/** Changes stored fields without the store. */
export async function plant(
  backend: SessionBackend,
  token: string,
  set: Record<string, string>,
  remove: string[] = [],
): Promise<void> {
  const access = { verifier: null, previous: true, now: Date.now() };
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
