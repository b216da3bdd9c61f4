import { pause, type Step, withTimeout } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionBackendError } from "../errors.ts";
import { reserved, type StoredSession } from "../record.ts";
import type { OpenRotations, Undecided } from "./open-rotations.ts";
import type { Target } from "./runner.ts";
import { type Edit, expectation, type Storage, type WriteReply, type Written } from "./storage.ts";

/** For a rotation that was given up: the reply may be late, or the connection away. */
const ROLLBACK_MS = 30_000;
const MIN_PAUSE_MS = 250;
const MAX_PAUSE_MS = 2000;

/** A rotation whose token may come to reach nobody. */
export interface OpenRotation {
  /** The rotation is sent, perhaps once more. `presumed` is what it changes if it happens, as far as that is known. */
  sent(reply: Promise<WriteReply>, presumed: Written): void;
  /** The new token was handed over, or there is none. */
  close(): void;
  /**
   * Nobody gets the new token: goes on until it is certain that the old one opens again, or that something else ended it,
   * but for 30 seconds at most. Never rejects.
   */
  rollBack(): Promise<void>;
}

/**
 * Watches over a rotation from the moment it is sent.
 *
 * @param token The token that it replaces.
 * @param rotated The new one.
 */
export function openRotation<T>(
  rotations: OpenRotations,
  { read, write }: Storage<T>,
  token: ParsedToken,
  rotated: ParsedToken,
): OpenRotation {
  let reply: Promise<WriteReply> | null = null;
  /** What the rotation changed or, as long as there is no reply, what is known of that. */
  let change: Written = { before: {}, after: {} };
  let step: Step | null = null;
  let looking: Promise<boolean> | null = null;
  let rolling: Promise<void> | null = null;
  let end = (_isGivenUp: boolean): void => {};
  const givenUp = new Promise<boolean>((resolve) => {
    end = resolve;
  });

  /** Whether it happened: `unknown` if the reply was lost. */
  async function outcome(): Promise<boolean | "unknown"> {
    try {
      const written = await reply;
      if (written === null || typeof written === "string") return false;
      change = written;
      return true;
    } catch (error) {
      return error instanceof SessionBackendError && error.outcome === "not-applied" ? false : "unknown";
    }
  }

  /** Takes the rotation back if it has happened. Answers whether it cannot happen any more. */
  async function takeBack(step: Step): Promise<boolean> {
    const happened = await step("reads", outcome);
    if (happened === false) return true;
    const target: Target = { ...rotated, step };
    let edit = undoing(change);
    for (;;) {
      const written = await write(target, edit);
      if (written === null) return happened === true;
      if (written !== "changed") return true;
      const now = await read(target, false);
      if (now === null) return happened === true;
      edit = undoing(change, now);
    }
  }

  function look(step: Step): Promise<boolean> {
    looking ??= takeBack(step).finally(() => {
      looking = null;
    });
    return looking;
  }

  async function persist(step: Step): Promise<void> {
    for (let pauseMs = MIN_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const isOver = await look(step).catch((error) => {
        if (!(error instanceof SessionBackendError)) throw error;
        return false;
      });
      if (isOver) return;
      // Also if nothing was found: after a reply that was lost the rotation itself may still be on its way.
      await step("reads", () => pause(pauseMs, false));
    }
  }

  const undecided: Undecided = {
    async decided() {
      if ((await outcome()) === false || !(await givenUp) || step === null) return;
      await look(step);
    },
  };

  function close(): void {
    end(false);
    rotations.delete(token, undecided);
  }

  return {
    sent(replying, presumed) {
      if (reply === null) rotations.add(token, undecided);
      reply = replying;
      change = presumed;
    },
    close,
    rollBack() {
      if (reply === null) close();
      else {
        rolling ??= withTimeout("take back a rotation", ROLLBACK_MS, undefined, (ownStep) => {
          step = ownStep;
          end(true);
          return persist(ownStep);
        })
          .catch(() => {})
          .finally(close);
      }
      return rolling ?? Promise.resolve();
    },
  };
}

/**
 * The change that takes back what a write changed, if nobody has written to these fields since.
 *
 * @param now Leaves alone what has another text here than the write gave it.
 */
function undoing({ before, after }: Written, now: StoredSession = after): Edit {
  const names = Object.keys({ ...before, ...after }).filter(
    // Every write is an access, this one as well.
    (name) => name !== reserved.lastAccessedAt && before[name] !== after[name] && after[name] === now[name],
  );
  const text = expectation(before, names);
  const set = Object.entries(text).filter((entry): entry is [string, string] => entry[1] !== null);
  const remove = names.filter((name) => text[name] === null);
  return { set: Object.fromEntries(set), remove, expect: expectation(after, names) };
}
