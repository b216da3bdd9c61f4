import { describe, expect, test } from "vitest";
import * as z from "zod";
import { createSessionStore, type SessionEvent } from "../../src/index.ts";
import { intercept, keysOf } from "./backends.ts";
import { entered, memberStore } from "./members.ts";
import { until } from "./until.ts";
import type { VersionsGround } from "./versions.ts";

const state = z.object({ provider: z.string(), tries: z.int().default(0) });

/** Tests of tokens that are valid once, on every backend. */
export function consume(open: () => VersionsGround | Promise<VersionsGround>): void {
  async function scene() {
    const { backend, clock } = await open();
    const events: SessionEvent[] = [];
    const shared = { backend, now: clock.now, onEvent: (event: SessionEvent) => events.push(event) };
    return { backend, clock, events, shared, store: createSessionStore({ ...shared, schema: state }) };
  }

  describe("consume", () => {
    test("consume returns the session as it was last, and ends it", async () => {
      const { backend, events, store } = await scene();
      const { token, session } = await store.create({ provider: "example" });
      await store.increment(token, "tries");
      const last = await store.peek(token);
      events.length = 0;
      const consumed = await store.consume(token);
      expect(consumed).toEqual(last);
      expect(consumed?.data).toEqual({ provider: "example", tries: 1 });
      expect(Object.isFrozen(consumed?.data)).toBe(true);
      expect(events).toMatchObject([{ type: "destroyed", id: session.id }]);
      expect(await store.consume(token)).toBeNull();
      expect(await store.get(token)).toBeNull();
      expect(await keysOf(backend)).toEqual([]);
    });

    test("one of many concurrent calls gets the session", async () => {
      const { events, store } = await scene();
      for (let round = 0; round < 5; round++) {
        const { token, session } = await store.create({ provider: "example" });
        const answers = await Promise.all(Array.from({ length: 20 }, () => store.consume(token)));
        expect(answers.filter((answer) => answer !== null)).toEqual([session]);
      }
      expect(events.filter(({ type }) => type === "destroyed")).toHaveLength(5);
    });

    test("consume returns a change that was made after it read the session", async () => {
      const { shared, store } = await scene();
      const { token } = await store.create({ provider: "example" });
      const changing = intercept(shared.backend, async (method) => {
        if (method === "remove") await store.increment(token, "tries");
      });
      const other = createSessionStore({ ...shared, backend: changing, schema: state });
      expect((await other.consume(token))?.data.tries).toBe(1);
    });

    test("of concurrent calls of consume and destroy, one ends the session", async () => {
      const { events, store } = await scene();
      const { token } = await store.create({ provider: "example" });
      const [consumed, destroyed] = await Promise.all([store.consume(token), store.destroy(token)]);
      expect([consumed !== null, destroyed].filter(Boolean)).toHaveLength(1);
      expect(events.filter(({ type }) => type === "destroyed")).toHaveLength(1);
    });

    test("a wrong secret, a replaced secret, an expired session and a malformed token get nothing", async () => {
      const { clock, events, store } = await scene();
      const { token, session } = await store.create({ provider: "example" }, { idleTimeout: 60 });
      expect(await store.consume(`${token.slice(0, -1)}${token.endsWith("A") ? "E" : "A"}`)).toBeNull();
      for (const malformed of ["", "x", `${token} `, session.id]) expect(await store.consume(malformed)).toBeNull();
      const rotated = await store.rotate(token);
      expect(await store.consume(token)).toBeNull();
      expect(events.map(({ type }) => type)).toEqual(["created", "wrong-secret", "rotated", "reused"]);
      await clock.advance(61);
      expect(await store.consume(rotated?.token ?? "")).toBeNull();
    });

    test("a session whose data does not fit the schema stays, and consume rejects", async () => {
      const { events, shared, store } = await scene();
      const strict = createSessionStore({ ...shared, schema: z.object({ provider: z.literal("other") }) });
      const { token, session } = await store.create({ provider: "example" });
      events.length = 0;
      await expect(strict.consume(token)).rejects.toMatchObject({ origin: "stored" });
      expect(events).toMatchObject([{ type: "invalid", id: session.id }]);
      expect(await store.consume(token)).toEqual(session);
    });

    test("the session that was consumed leaves its indexes", async () => {
      const { backend, clock } = await scene();
      const { store } = memberStore(backend, clock.now);
      const { token } = await store.create({ userId: "andrew" });
      await store.consume(token);
      await until("the index is empty", async () => (await entered(backend, "user:andrew", clock.now())).length === 0);
    });

    test("consume works on a store with plainIds", async () => {
      const { shared } = await scene();
      const plain = createSessionStore({ ...shared, schema: state, plainIds: true });
      const { token, session } = await plain.create({ provider: "example" });
      expect(await plain.consume(token)).toEqual(session);
      expect(await plain.consume(token)).toBeNull();
    });
  });
}
