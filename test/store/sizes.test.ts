import { expect, test } from "vitest";
import { z } from "zod";
import { createSessionStore, memoryBackend } from "../../src/index.ts";
import { sizes } from "../support/sizes.ts";

sizes(() => memoryBackend());

test.each([0, -1, 1.5, Number.NaN, 1e12])("%d is rejected as a maximum size or number of index entries", (number) => {
  for (const name of ["maxBytes", "maxIndexEntries"]) {
    const options = { schema: z.object({}), backend: memoryBackend(), [name]: number };
    expect(() => createSessionStore(options)).toThrow(RangeError);
  }
});
