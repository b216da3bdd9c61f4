import { expect, test, vi } from "vitest";
import { COVERS, DUE_MS, exploreAll, FRESH_MS, NAMES, type Name, OWN } from "../support/operations.ts";

vi.mock(import("../../src/base/step.ts"), async (original) => {
  const { withoutPauses } = await import("../support/instant-pauses.ts");
  return withoutPauses(await original());
});

/** A walk has many steps, so that only operations that change what it reads are explored beside it. */
const BESIDE_WALK: readonly Name[] = ["get", "move", "moveByOldVersion", "destroy"];

test.each(OWN)(
  "all invariants hold after every order of %s and another operation, with every single fault",
  {
    timeout: 600_000,
  },
  async (name) => {
    const others = name === "reindex" ? BESIDE_WALK : [...NAMES, ...OWN.filter((one) => one !== "reindex")];
    const due: readonly Name[] = ["get", "move", ...COVERS];
    const fresh = await exploreAll(
      others.map((other) => [name, other]),
      true,
      FRESH_MS,
    );
    const overdue = await exploreAll(
      due.map((other) => [name, other]),
      false,
      DUE_MS,
    );
    console.log(`${fresh + overdue} schedules of ${name} and another operation`);
    expect(fresh).toBeGreaterThan(1000);
  },
);
