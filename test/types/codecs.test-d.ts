import { describe, expectTypeOf, test } from "vitest";
import * as z from "zod";
import * as mini from "zod/mini";
import { bigint, bytes, date, map, set, url } from "../../src/codecs/index.ts";
import { createSessionStore, type DataOf, memoryBackend, type NewDataOf, type NumberField } from "../../src/index.ts";

const backend = memoryBackend();
const store = createSessionStore({
  schema: z.object({
    since: date(),
    seen: z.optional(date()),
    balance: z._default(bigint(), 0n),
    roles: set(z.enum(["admin", "editor"])),
    visits: map(z.int(), z.array(z.object({ at: date() }))),
    key: z.nullable(bytes()),
    home: url(),
  }),
  backend,
});
type Data = DataOf<typeof store>;

describe("codecs", () => {
  test("the data of a codec has the decoded type, nested in other codecs as well", () => {
    expectTypeOf<Data["since"]>().toEqualTypeOf<Date>();
    expectTypeOf<Data["seen"]>().toEqualTypeOf<Date | undefined>();
    expectTypeOf<Data["balance"]>().toEqualTypeOf<bigint>();
    expectTypeOf<Data["roles"]>().toEqualTypeOf<Set<"admin" | "editor">>();
    expectTypeOf<Data["visits"]>().toEqualTypeOf<Map<number, { at: Date }[]>>();
    expectTypeOf<Data["key"]>().toEqualTypeOf<Uint8Array | null>();
    expectTypeOf<Data["home"]>().toEqualTypeOf<URL>();
  });

  test("create takes the decoded types, and a default may be left out", () => {
    expectTypeOf<NewDataOf<typeof store>["roles"]>().toEqualTypeOf<Set<"admin" | "editor">>();
    expectTypeOf<NewDataOf<typeof store>["balance"]>().toEqualTypeOf<bigint | undefined>();
    // @ts-expect-error The data is a Date, not its stored text.
    void store.update("", { since: "2026-04-02T12:34:56.789Z" });
  });

  test("no field of a codec can be incremented", () => {
    expectTypeOf<NumberField<Data>>().toEqualTypeOf<never>();
  });

  test("codecs fit zod/mini", () => {
    const small = createSessionStore({ schema: mini.object({ at: mini.optional(date()) }), backend });
    expectTypeOf<DataOf<typeof small>>().toEqualTypeOf<{ at?: Date | undefined }>();
  });
});
