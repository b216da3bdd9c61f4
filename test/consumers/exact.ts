/** Only `exactOptionalPropertyTypes` can tell these apart. */
import type { SessionToken } from "zession";
import { store } from "./visits.ts";

export async function remove(token: SessionToken): Promise<void> {
  await store.update(token, { userId: undefined });
  // @ts-expect-error This field is not optional.
  await store.update(token, { views: undefined });
}
