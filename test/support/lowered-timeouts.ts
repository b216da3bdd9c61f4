import { describe, expect, test } from "vitest";
import { counted, intercept } from "./backends.ts";
import { type MemberStore, memberStore } from "./members.ts";
import type { PolicyPlace } from "./policies.ts";
import { plant, rawOf } from "./stored.ts";

const HOUR_MS = 3_600_000;

/** Sessions that were created before the absolute timeout of their store was lowered. */
export function loweredTimeouts(open: () => PolicyPlace): void {
  const uses: Readonly<Record<string, (store: MemberStore, token: string) => Promise<unknown>>> = {
    get: (store, token) => store.get(token),
    peek: (store, token) => store.peek(token),
    update: (store, token) => store.update(token, { theme: "dark" }),
    "update of an indexed field": (store, token) => store.update(token, { userId: "43" }),
    "update with a function": (store, token) => store.update(token, () => ({ theme: "dark" })),
    increment: (store, token) => store.increment(token, "views"),
    take: (store, token) => store.take(token, "flash"),
    setIdleTimeout: (store, token) => store.setIdleTimeout(token, "10m"),
    rotate: (store, token) => store.rotate(token),
    "rotate with a patch": (store, token) => store.rotate(token, { patch: { theme: "dark" } }),
  };

  describe.each(["without", "with"])(
    "a session %s index entries, created before absoluteTimeout was lowered",
    (kind) => {
      const isIndexed = kind === "with";

      async function scene(absoluteTimeout: "none" | "2h") {
        const { backend, now } = open();
        const { calls, backend: counting } = counted(backend);
        const before = memberStore(backend, now, { absoluteTimeout }).store;
        const { store, events } = memberStore(counting, now, { absoluteTimeout: "1h" });
        const { token, session } = await before.create({ flash: "hi", ...(isIndexed ? { userId: "42" } : {}) });
        const latest = (at = session.createdAt) => new Date(at.getTime() + HOUR_MS);
        return { backend, now, calls, before, store, events, token, session, latest };
      }

      test.each(["none", "2h"] as const)(
        "gets the earlier deadline at its next use, not before (from %s)",
        async (from) => {
          for (const [name, use] of Object.entries(uses)) {
            const { store, before, token, session, latest } = await scene(from);
            expect((await before.peek(token))?.deadline, name).toEqual(session.deadline);
            const used = await use(store, token);
            expect(used, name).not.toBeNull();
            const present = name.startsWith("rotate") ? (used as { token: string }).token : token;
            expect((await before.peek(present))?.deadline, name).toEqual(latest());
            if (typeof used === "object" && used !== null && "deadline" in used)
              expect(used.deadline).toEqual(latest());
          }
        },
      );

      test("ends at its next use if the earlier deadline has passed, and the caller is told that it does not exist", async () => {
        for (const [name, use] of Object.entries(uses)) {
          const { store, before, backend, now, token, session } = await scene("2h");
          await plant(
            backend,
            token,
            { created_at: new Date(session.createdAt.getTime() - HOUR_MS).toISOString() },
            [],
            now(),
          );
          expect(await before.peek(token), name).not.toBeNull();
          expect(await use(store, token), name).toBeNull();
          expect(await before.peek(token), name).toBeNull();
        }
      });

      test("costs nothing once the deadline is the earlier one", async () => {
        const { store, calls, token } = await scene("2h");
        await store.get(token);
        expect(calls).toEqual(["read", "write"]);
        calls.length = 0;
        for (let use = 0; use < 3; use++) await store.get(token);
        expect(calls).toEqual(["read", "read", "read"]);
      });

      test("keeps an absolute timeout that create was given, and one that is shorter", async () => {
        const { store, before, token } = await scene("2h");
        for (const absoluteTimeout of ["none", "3h", "50m"] as const) {
          const { session, token } = await store.create({}, { absoluteTimeout });
          for (const each of [store, before]) expect((await each.get(token))?.deadline).toEqual(session.deadline);
        }
        const { deadline } = (await store.get(token))!;
        expect((await before.get(token))?.deadline).toEqual(deadline);
        const { backend, now } = open();
        const unlimited = memberStore(backend, now, { absoluteTimeout: "none" }).store;
        const made = await memberStore(backend, now, { absoluteTimeout: "1h" }).store.create({});
        expect((await unlimited.get(made.token))?.deadline).toEqual(made.session.deadline);
      });

      test("gets the deadline even if its index entries change at the same time", async () => {
        const { before, backend, now, token, latest } = await scene("2h");
        let isFirst = true;
        const racing = intercept(backend, async (method) => {
          if (method !== "write" || !isFirst) return;
          isFirst = false;
          await before.update(token, { userId: "other" });
        });
        const { store } = memberStore(racing, now, { absoluteTimeout: "1h" });
        const session = await store.get(token);
        expect(session).toMatchObject({ data: { userId: "other" }, deadline: latest() });
        expect(await rawOf(backend, token, now())).toMatchObject({
          session_absolute: expect.stringMatching(`^${latest().getTime()}/`),
        });
      });
    },
  );

  test.each(["yesterday", "0", "-5", ""])(
    "a session whose time of creation is %j keeps its deadline",
    async (created_at) => {
      const { backend, now } = open();
      const before = memberStore(backend, now, { absoluteTimeout: "2h" }).store;
      const { store } = memberStore(backend, now, { absoluteTimeout: "1h" });
      const { token, session } = await before.create({});
      await plant(backend, token, { created_at }, [], now());
      expect((await store.get(token))?.deadline).toEqual(session.deadline);
    },
  );
}
