import type { Written } from "../backend.ts";
import { pause, type Step, withTimeout } from "../base/step.ts";
import type { ParsedToken } from "../base/token.ts";
import { SessionBackendError } from "../errors.ts";
import { expectation, indexEntries, reserved, type StoredSession } from "../record.ts";
import { INDEX_FIELDS } from "./extension.ts";
import type { Moves } from "./moves.ts";
import type { OpenRotations, Undecided } from "./open-rotations.ts";
import type { Target } from "./runner.ts";
import type { Edit, Storage, WriteReply } from "./storage.ts";

/** How long to try to undo a failed rotation, because its reply may be late or the connection may be lost. */
const ROLLBACK_MS = 30_000;
const MIN_PAUSE_MS = 250;
const MAX_PAUSE_MS = 2000;

/** Undoing is itself an access, and moves the session back to its index entries. */
const NOT_UNDONE: readonly string[] = [reserved.lastAccessedAt, ...INDEX_FIELDS];

/** A rotation whose new token the caller has not received yet. */
export interface OpenRotation {
  /**
   * Called when the rotation is sent, and again for each further attempt.
   *
   * @param presumed The change that it makes if it takes effect, as far as that is known.
   * @param stamped The names of the fields that receive the time of the backend's clock.
   */
  sent(reply: Promise<WriteReply>, presumed: Written, stamped: readonly string[]): void;
  /** Called if the caller gets the new token, or if the rotation made none. */
  close(): void;
  /**
   * Called if nobody gets the new token. Tries for at most 30 seconds to make the old token valid again. Never rejects.
   */
  rollBack(): Promise<void>;
}

/**
 * Follows a rotation from the moment it is sent, so that it can be undone.
 *
 * @param token The token that the rotation replaces.
 * @param rotated The new token.
 */
export function openRotation(
  rotations: OpenRotations,
  { read, write }: Storage,
  { move }: Moves,
  token: ParsedToken,
  rotated: ParsedToken,
): OpenRotation {
  let reply: Promise<WriteReply> | null = null;
  /** The change that the rotation made. Without a reply, the presumed change. */
  let change: Written = { before: {}, after: {} };
  let stamped: readonly string[] = [];
  let step: Step | null = null;
  let looking: Promise<boolean> | null = null;
  let rolling: Promise<void> | null = null;
  let end = (_isGivenUp: boolean): void => {};
  const givenUp = new Promise<boolean>((resolve) => {
    end = resolve;
  });

  /** Returns whether the rotation took effect; `unknown` if the reply was lost. */
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

  /** Undoes the rotation if it took effect. Returns whether it can no longer take effect. */
  async function undo(step: Step): Promise<boolean> {
    const happened = await step("reads", outcome);
    if (happened === false) return true;
    const target: Target = { ...rotated, isInternal: true, step };
    for (;;) {
      const now = await read(target);
      if (now === null) return happened === true;
      const { before } = change;
      // Without the reply, the times that the rotation wrote are unknown. Nobody has written others since.
      const after = happened === true ? change.after : { ...change.after, ...textsOf(now, stamped) };
      const isMoved = before[reserved.index] !== after[reserved.index];
      const edit = undoing({ before, after }, now);
      const written = isMoved
        ? await move(target, now, undoneEntries({ before, after }, now), edit, false)
        : await write(target, edit);
      if (written === null) return happened === true;
      if (written !== "changed") return true;
    }
  }

  function look(step: Step): Promise<boolean> {
    looking ??= undo(step).finally(() => {
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
      // Tries again even if nothing was found: the reply was lost, so the rotation may still arrive at the server.
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
    sent(replying, presumed, names) {
      if (reply === null) rotations.add(token, undecided);
      reply = replying;
      change = presumed;
      stamped = names;
    },
    close,
    rollBack() {
      if (reply === null) close();
      else {
        rolling ??= withTimeout("undo a rotation", ROLLBACK_MS, undefined, (ownStep) => {
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

/** Returns the fields that a record has. */
function textsOf(record: StoredSession, names: readonly string[]): StoredSession {
  const texts = expectation(record, names);
  return Object.fromEntries(Object.entries(texts).filter((entry): entry is [string, string] => entry[1] !== null));
}

/** Returns the present index entries without those that a write added, and with those that it removed. */
function undoneEntries({ before, after }: Written, now: StoredSession): string[] {
  const [old, written] = [indexEntries(before), indexEntries(after)];
  const kept = indexEntries(now).filter((entry) => old.includes(entry) || !written.includes(entry));
  return [...kept, ...old.filter((entry) => !written.includes(entry) && !kept.includes(entry))];
}

/**
 * Creates the change that undoes a write, provided that nobody has written to the same fields since.
 *
 * @param now The present record. Fields that no longer have the text of the write are left alone.
 */
function undoing({ before, after }: Written, now: StoredSession): Edit {
  const names = Object.keys({ ...before, ...after }).filter(
    (name) => !NOT_UNDONE.includes(name) && before[name] !== after[name] && after[name] === now[name],
  );
  const set = textsOf(before, names);
  return { set, remove: names.filter((name) => set[name] === undefined), expect: expectation(after, names) };
}
