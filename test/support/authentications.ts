import { describe, expect, test } from "vitest";
import { isFresh } from "../../src/index.ts";
import type { MemberStore } from "./members.ts";
import { memberStore } from "./members.ts";
import type { PolicyPlace } from "./policies.ts";
import { rawOf } from "./stored.ts";

const DAY_MS = 86_400_000;
const AUTH_TIME = new Date("2025-03-04T05:06:07.890Z");

/** What `authenticated` of `create` and `rotate` stores. */
export function authentications(open: () => PolicyPlace): void {
  const ways: Readonly<Record<string, (store: MemberStore, authenticated?: true | Date) => Promise<string>>> = {
    create: async (store, authenticated) => (await store.create({}, { authenticated })).token,
    rotate: async (store, authenticated) => {
      const { token } = await store.create({});
      return (await store.rotate(token, { authenticated }))?.token as string;
    },
    "rotate with a patch": async (store, authenticated) => {
      const { token } = await store.create({});
      return (await store.rotate(token, { authenticated, patch: { userId: "42" } }))?.token as string;
    },
  };

  describe.each(Object.entries(ways))("authenticated of %s", (_, issue) => {
    function scene() {
      const { backend, now } = open();
      return { backend, now, ...memberStore(backend, now) };
    }

    test("a session is not authenticated without it, whatever else is done with it", async () => {
      const { store, backend, now } = scene();
      const token = await issue(store);
      await store.update(token, { userId: "42" });
      const session = await store.get(token);
      expect(session?.authenticatedAt).toBeNull();
      expect(session && isFresh(session, "30d", now())).toBe(false);
      expect(await rawOf(backend, token, now())).not.toHaveProperty("session_authenticated_at");
    });

    test("true sets authenticatedAt to the time of the backend's clock", async () => {
      const { store, now } = scene();
      const session = await store.get(await issue(store, true));
      expect(session && isFresh(session, "1m", now())).toBe(true);
      expect([session?.createdAt, session?.lastAccessedAt].some((at) => at && at >= session!.authenticatedAt!)).toBe(
        true,
      );
    });

    test("a Date is stored as given, also one before the session or within a day from now", async () => {
      const { store, backend, now } = scene();
      for (const date of [AUTH_TIME, new Date(now() + DAY_MS)]) {
        const token = await issue(store, date);
        expect((await store.peek(token))?.authenticatedAt).toEqual(date);
        expect(await rawOf(backend, token, now())).toMatchObject({ session_authenticated_at: date.toISOString() });
      }
    });

    test.each<[string, unknown, typeof TypeError, string]>([
      ["false", false, TypeError, "authenticated must be true or a Date, or left out: received false"],
      ["null", null, TypeError, "received null"],
      ["a number", 1_700_000_000, TypeError, "received number"],
      ["text", AUTH_TIME.toISOString(), TypeError, "received string"],
      ["an invalid date", new Date(Number.NaN), RangeError, "received an invalid date"],
      [
        "seconds taken for milliseconds",
        new Date(1_700_000_000),
        RangeError,
        "new Date(auth_time * 1000): received 1970-",
      ],
      ["microseconds", new Date(1_700_000_000_000_0), RangeError, "to a day from now"],
      ["a date two days from now", 2 * DAY_MS, RangeError, "to a day from now"],
    ])(
      "%s is rejected with an error that names the option, and nothing is changed",
      async (_, given, kind, message) => {
        const { store, now } = scene();
        const value = given === 2 * DAY_MS ? new Date(now() + 2 * DAY_MS) : given;
        const error = await issue(store, value as true).catch((thrown) => thrown);
        expect(error).toBeInstanceOf(kind);
        expect(error.message).toContain(message);
        for await (const { authenticatedAt, data } of store.scan()) {
          expect([authenticatedAt, data.userId]).toEqual([null, undefined]);
        }
      },
    );
  });

  test("a rotation without it keeps the time of the last authentication", async () => {
    const { backend, now } = open();
    const { store } = memberStore(backend, now);
    const { token } = await store.create({}, { authenticated: AUTH_TIME });
    const rotated = await store.rotate(token, { patch: { theme: "dark" } });
    expect(rotated?.session.authenticatedAt).toEqual(AUTH_TIME);
  });
}
